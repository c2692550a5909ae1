// Runs a kernel: on the twin it is called, on a device launched by its name.
#pragma once

#include <string>
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

/// Kernels that use both types of cores synchronise all of them; the others need none but their
/// own.
inline npu::KernelLaunch DeviceLaunch(const char* name, twin::KernelKind kind, uint32_t block_count,
                                      const arch::Chip& chip) {
    const bool mixed = kind == twin::KernelKind::kMixAic1Aiv2;
    const uint32_t all = kind == twin::KernelKind::kAivOnly ? chip.aiv_count : chip.aic_count;
    return {name, block_count == 0 ? all : block_count, mixed, nullptr, 0};
}

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
    npu::KernelLaunch launch =
        DeviceLaunch(kernel.name, kernel.kind, kernel.block_count, target.chip);
    launch.arguments = list;
    launch.argument_count = sizeof...(arguments);
    target.device->Launch(launch);
}

}  // namespace ops
