// Calls a kernel that is compiled for the host with the arguments of a launch.
#pragma once

#include <cstddef>
#include <utility>

#include "npu/kernel_launch.h"

namespace lab {

/// Whether a launch has exactly as many arguments as the kernel has parameters, of the same sizes.
template <typename... Arguments>
bool Fits(void (*)(Arguments...), const npu::KernelLaunch& launch) {
    if (launch.argument_count != sizeof...(Arguments)) return false;
    size_t index = 0;
    return ((launch.arguments[index++].bytes == sizeof(Arguments)) && ...);
}

template <typename... Arguments, size_t... kIndex>
void CallKernel(void (*kernel)(Arguments...), const npu::KernelLaunch& launch,
                std::index_sequence<kIndex...>) {
    kernel(*static_cast<const Arguments*>(launch.arguments[kIndex].data)...);
}

/// Calls `kernel` with the arguments of a launch for which Fits holds.
template <typename... Arguments>
void CallKernel(void (*kernel)(Arguments...), const npu::KernelLaunch& launch) {
    CallKernel(kernel, launch, std::index_sequence_for<Arguments...>());
}

}  // namespace lab
