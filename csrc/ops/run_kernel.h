// Launches a kernel on the device of a call.
#pragma once

#include "ops/device.h"
#include "ops/launch_tensors.h"

namespace ops {

/// The cores that a launch takes.
struct LaunchCores {
    uint32_t block_count;  ///< AIC cores of a kernel that uses both types, else cores of its type
    bool all_wait;         ///< whether the kernel synchronises all its cores
};

/// Hands `launch` the launch of `kernel`, the name of an entry point in csrc/kernels; its arguments
/// are plain structs of csrc/plan.
template <typename Launch, typename... Arguments>
void WithLaunch(const Launch& launch, const char* kernel, const Target& target, LaunchCores cores,
                const LaunchTensors& tensors, const Arguments&... arguments) {
    const auto list = npu::ListArguments(arguments...);
    launch(npu::KernelLaunch{kernel, cores.block_count, cores.all_wait, list.data(), list.size(),
                             tensors.data(), tensors.size(), nullptr, target.chip.name});
}

/// Launches a kernel on the current stream.
template <typename... Arguments>
void RunKernel(const char* kernel, const Target& target, LaunchCores cores,
               const LaunchTensors& tensors, const Arguments&... arguments) {
    WithLaunch([&](const npu::KernelLaunch& launch) { target.device.Launch(launch); }, kernel,
               target, cores, tensors, arguments...);
}

/// Launches `kernel` on all cores of both types; it synchronises all of them.
template <typename... Arguments>
void RunOnAllCores(const char* kernel, const Target& target, const LaunchTensors& tensors,
                   const Arguments&... arguments) {
    RunKernel(kernel, target, {target.chip.aic_count, true}, tensors, arguments...);
}

}  // namespace ops
