// A broken kernel and its corrected form. Private to the checks and to the tests of the twin.
//
// To add one, append it to the list of its group: what `run.fixed()` switches is the mistake, and
// `run.Next()` stands right above the line that the report has to name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel_operator.h"
#include "twin/launch.h"

namespace twin::checks {

/// Both GM tensors of every pair: "in", which is initialised, and "out".
constexpr size_t kGmBytes = 8192;

/// What a kernel sees of its launch.
class Run {
public:
    Run(bool fixed, uint8_t* in, uint8_t* out) : fixed_(fixed), in_(in), out_(out) {}

    bool fixed() const { return fixed_; }

    template <typename T>
    AscendC::GlobalTensor<T> In() const {
        return Tensor<T>(in_);
    }
    template <typename T>
    AscendC::GlobalTensor<T> Out() const {
        return Tensor<T>(out_);
    }

    /// The report names the next line. What one core marks another one may mark over, but a report
    /// stops all of them at its own line.
    void Next(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        file_ = file;
        line_ = line + 1;
    }
    const char* file() const { return file_; }
    int line() const { return line_; }

private:
    template <typename T>
    static AscendC::GlobalTensor<T> Tensor(uint8_t* data) {
        AscendC::GlobalTensor<T> tensor;
        tensor.SetGlobalBuffer(reinterpret_cast<T*>(data));
        return tensor;
    }

    bool fixed_;
    uint8_t* in_;
    uint8_t* out_;
    const char* file_ = "";
    int line_ = 0;
};

struct Setup {
    KernelKind kind;
    uint32_t blocks = 1;
    bool fresh_output = false;  ///< nothing has written "out" yet
    bool in_place = false;      ///< "in" and "out" are one memory
    SanitizeMode mode = SanitizeMode::kFull;
};

inline Setup Aiv() { return {KernelKind::kAivOnly}; }
inline Setup Aic() { return {KernelKind::kAicOnly}; }
/// Every block an AIC and its two AIVs.
inline Setup Groups(uint32_t blocks = 1) { return {KernelKind::kMixAic1Aiv2, blocks}; }

struct Pair {
    const char* code;
    const char* name;
    std::vector<const char*> says;  ///< what the report contains
    Setup setup;
    void (*kernel)(Run& run);
};

std::vector<Pair> MemoryPairs();
std::vector<Pair> PipePairs();
std::vector<Pair> CorePairs();
std::vector<Pair> SyncPairs();
std::vector<Pair> ReusePairs();
std::vector<Pair> LifePairs();
std::vector<Pair> QueuePairs();
std::vector<Pair> ArgumentPairs();

/// A group passes 32 bytes from GM through UB to GM: the twin is in working order.
bool TwinWorks();

}  // namespace twin::checks
