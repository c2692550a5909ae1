// A kernel that the host has compiled, called with the arguments of a launch.
#pragma once

#include <cstddef>
#include <utility>

#include "npu/kernel_launch.h"

namespace lab {

/// Whether a launch has an argument of the size of each parameter, and no more.
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

/// Calls `kernel` with arguments that fit.
template <typename... Arguments>
void CallKernel(void (*kernel)(Arguments...), const npu::KernelLaunch& launch) {
    CallKernel(kernel, launch, std::index_sequence_for<Arguments...>());
}

}  // namespace lab
