// A pair is a broken kernel and its corrected form. Private to the checks and to the tests of the
// twin.
//
// To add a pair, append it to the list of its group. `run.fixed()` tells whether to run the
// corrected form, so it switches the mistake off, and `run.Next()` goes directly above the line
// that the report has to name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel_operator.h"
#include "twin/launch.h"

namespace twin::checks {

/// Size of both GM tensors of every pair: "in", which is initialised, and "out".
constexpr size_t kGmBytes = 8192;

/// The launch of one form of a pair, as the kernel sees it.
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

    /// Marks the next line as the one that the report has to name. Cores overwrite each other's
    /// mark, but an error stops all of them, so the mark of the failing core is the last.
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
    bool fresh_output = false;  ///< "out" starts uninitialised
    bool in_place = false;      ///< "in" and "out" share the same memory
    SanitizeMode mode = SanitizeMode::kFull;
};

inline Setup Aiv() { return {KernelKind::kAivOnly}; }
inline Setup Aic() { return {KernelKind::kAicOnly}; }
/// Every block is an AIC with its two AIVs.
inline Setup Groups(uint32_t blocks = 1) { return {KernelKind::kMixAic1Aiv2, blocks}; }

struct Pair {
    const char* code;
    const char* name;
    std::vector<const char*> says;  ///< texts that the report has to contain
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

/// Whether the twin is in working order: the AIVs of a group copy 32 bytes from GM through UB to
/// GM.
bool TwinWorks();

}  // namespace twin::checks
