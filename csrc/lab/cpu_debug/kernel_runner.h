// Kernels on CANN's CPU-debug library (tikicpulib): every core is a process of its own.
//
// The library is built with the old ABI of libstdc++ (its CMake targets define
// _GLIBCXX_USE_CXX11_ABI=0), torch with the new one: nothing of the standard library crosses here.
#pragma once

#include <cstddef>

#include "npu/kernel_launch.h"

namespace cpu_debug {

/// Memory that all cores share, for every byte that a kernel writes; null when there is none left.
void* Allocate(size_t bytes);
void Free(void* memory);

/// Runs a kernel to its end. Returns null, or what went wrong; the text stays until the next run.
const char* Run(const npu::KernelLaunch& launch);

}  // namespace cpu_debug
