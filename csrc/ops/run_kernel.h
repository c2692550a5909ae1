// Runs a kernel: on the twin it is called, on a device launched by its name.
#pragma once

#include <type_traits>

#include "ops/device.h"
#include "ops/launch_tensors.h"
#include "ops/twin_backend.h"

namespace ops {

/// An entry point of csrc/kernels; its arguments are plain structs of csrc/plan.
template <typename... Arguments>
struct Kernel {
    const char* name;
    void (*run)(Arguments...);
    twin::KernelKind kind = twin::KernelKind::kMixAic1Aiv2;
    uint32_t block_count = 0;     ///< 0: all cores of the chip
    const char* label = nullptr;  ///< in traces of the twin; `name` by default
};

/// For ASCEND_PREFETCH_KERNEL.
template <typename... Arguments>
Kernel<Arguments...> NamedKernel(const char* name, void (*run)(Arguments...)) {
    return {name, run};
}

/// The kernel of an entry point: the twin calls it, a device finds it by the same name.
#define ASCEND_PREFETCH_KERNEL(entry) ::ops::NamedKernel(#entry, &entry)

/// Launches a kernel on the device or the twin.
template <typename... Arguments>
void RunKernel(const Kernel<Arguments...>& kernel, const Target& target, LaunchTensors& tensors,
               const std::common_type_t<Arguments>&... arguments) {
    static_assert((std::is_trivially_copyable_v<Arguments> && ...), "arguments go by value");
    if (target.device == nullptr) {
        const char* label = kernel.label == nullptr ? kernel.name : kernel.label;
        RunOnTwin({label, kernel.kind, kernel.block_count}, target.chip, tensors,
                  [&] { kernel.run(arguments...); });
        return;
    }
    const npu::KernelArgument list[] = {{&arguments, sizeof(arguments)}...};
    const arch::Chip& chip = target.chip;
    const uint32_t all =
        kernel.kind == twin::KernelKind::kAivOnly ? chip.aiv_count : chip.aic_count;
    // Kernels that use both types of cores synchronise all of them; the others need none but their
    // own.
    const bool all_cores_wait = kernel.kind == twin::KernelKind::kMixAic1Aiv2;
    target.device->Launch({kernel.name, kernel.block_count == 0 ? all : kernel.block_count,
                           all_cores_wait, list, sizeof...(arguments)});
}

}  // namespace ops
