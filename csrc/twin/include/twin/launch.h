// Host side of the twin: launches a kernel on all cores of a chip.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "arch/dav_c220.h"
#include "twin/error.h"
#include "twin/mutation.h"
#include "twin/ordering.h"
#include "twin/trace_format.h"

namespace twin {

/// A GM tensor that the kernel may touch. Any access outside all registered tensors is an error, as
/// is a write to one that is not writable.
struct GmTensor {
    std::string name;
    void* data = nullptr;
    size_t bytes = 0;
    bool writable = false;
    bool initialised = true;  ///< false: reading a byte before the kernel writes it is an error
    bool present = true;      ///< false: the address has no memory, which dry launches allow
};

/// The trace of a finished launch; see trace_format.h for the records.
struct Trace {
    std::string kernel;
    std::string chip;
    uint32_t aic_count = 0;
    std::vector<std::vector<TraceRecord>> cores;  ///< AIC cores first, then AIV
    std::vector<GmTensor> tensors;
    std::vector<std::string> sites;  ///< "file:line"

    /// The serialised form described in trace_format.h.
    std::string Serialise() const;
};

/// Peak allocation of a local buffer: the maximum over all cores of a launch.
struct BufferUsage {
    const char* buffer;  ///< "UB", "L1", "L0A", "L0B", "L0C", "BT" (bias table), "FB" (fixpipe)
    uint32_t peak;       ///< bytes
    uint32_t capacity;   ///< bytes of one core; 0 when no core of the launch has the buffer
};

/// The core types that a kernel runs on: the values of Ascend C's KernelMetaType that the twin can
/// launch.
enum class KernelKind : uint8_t { kMixAic1Aiv2, kAicOnly, kAivOnly, kMixAiv1Aic0, kMixAic1Aiv0 };

/// What a launch checks in addition to the rules that are always checked. csrc/twin/README.md lists
/// the codes.
enum class SanitizeMode : uint8_t {
    kOff,
    kMemory,  ///< that no bytes are used before they are written
    kFull     ///< also that conflicting accesses are ordered
};

/// How a kernel is launched, and what the launch records, checks or changes.
struct LaunchConfig {
    std::string name;  ///< kernel name for reports
    const arch::Chip* chip = nullptr;
    KernelKind kind = KernelKind::kMixAic1Aiv2;
    /// 0 means one block per AIC of the chip, or per AIV for kernels without AIC.
    uint32_t block_count = 0;
    std::vector<GmTensor> tensors;
    Trace* trace = nullptr;                            ///< filled if not null
    std::vector<BufferUsage>* buffer_usage = nullptr;  ///< filled if not null, a row per buffer
    /// Runs control flow only: instructions are checked and traced, but neither move nor compute
    /// anything. For traces of kernels whose results are not needed.
    bool dry = false;
    SanitizeMode sanitize = SanitizeMode::kOff;
    /// 0: every core runs until it waits, in a fixed order. Otherwise cores take turns at random,
    /// and a core may also lose its turn at a cross-core set.
    uint64_t schedule_seed = 0;
    CallLog* calls = nullptr;  ///< if not null, the calls that the launch reaches are added
    const Mutation* mutation = nullptr;  ///< if not null, the calls that the launch changes
    const Order* without = nullptr;      ///< if not null, the launch ignores this row of kOrdering
};

/// Runs `kernel` once on every core, on the calling thread. The interleaving of the cores is the
/// same for every launch with the same `schedule_seed`.
/// Throws twin::Error when the kernel breaks a rule, std::invalid_argument for a bad configuration.
void Launch(const LaunchConfig& config, const std::function<void()>& kernel);

}  // namespace twin
