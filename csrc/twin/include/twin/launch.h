// Host side of the twin: launch a kernel over all cores of a chip.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "arch/chip.h"
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
    bool initialised = true;  ///< false: reading a byte before the kernel writes it is a mistake
    bool present = true;      ///< false: an address without memory behind it, for dry launches
};

/// A finished trace; see trace_format.h for the records.
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

/// The most that any core of a launch had allocated of a local buffer at once.
struct BufferUsage {
    const char* buffer;  ///< "UB", "L1", "L0A", "L0B", "L0C", "BT" (bias table), "FB" (fixpipe)
    uint32_t peak;       ///< bytes
    uint32_t capacity;   ///< bytes of one core; 0 when no core of the launch has the buffer
};

/// Core types a kernel starts (subset of Ascend C's KernelMetaType that launches here understand).
enum class KernelKind : uint8_t { kMixAic1Aiv2, kAicOnly, kAivOnly, kMixAiv1Aic0, kMixAic1Aiv0 };

/// What the launch looks for beside the rules that always hold. csrc/twin/README.md lists the
/// codes.
enum class SanitizeMode : uint8_t {
    kOff,
    kMemory,  ///< bytes used before they are written
    kFull     ///< and accesses that nothing orders
};

/// How a kernel is launched, and what of it is recorded, checked or changed.
struct LaunchConfig {
    std::string name;  ///< kernel name for reports
    const arch::Chip* chip = nullptr;
    KernelKind kind = KernelKind::kMixAic1Aiv2;
    uint32_t block_count =
        0;  ///< 0: one block per AIC (or AIV for vector-only kernels) of the chip
    std::vector<GmTensor> tensors;
    Trace* trace = nullptr;                            ///< filled when not null
    std::vector<BufferUsage>* buffer_usage = nullptr;  ///< likewise, a row for each buffer
    /// Only control flow: instructions are checked and traced, but move and compute nothing. For
    /// traces of kernels whose results nobody needs.
    bool dry = false;
    SanitizeMode sanitize = SanitizeMode::kOff;
    /// 0: every core runs until it waits, in a fixed order. Else cores take turns at random, and a
    /// core may also lose its turn at a cross-core set.
    uint64_t schedule_seed = 0;
    CallLog* calls = nullptr;  ///< filled with those that were reached
    const Mutation* mutation = nullptr;
    const Order* without = nullptr;  ///< this row of the ordering table does not hold
};

/// Runs `kernel` once on every core, on the calling thread; the interleaving is the same for every
/// launch with the same `schedule_seed`.
/// Throws twin::Error when the kernel breaks a rule, std::invalid_argument for a bad configuration.
void Launch(const LaunchConfig& config, const std::function<void()>& kernel);

}  // namespace twin
