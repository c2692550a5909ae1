// Runs kernels on CANN's CPU-debug library (tikicpulib), in which every core is a process.
//
// The library is built with the old ABI of libstdc++ (its CMake targets define
// _GLIBCXX_USE_CXX11_ABI=0), torch with the new one, so no types of the standard library are passed
// through this interface.
#pragma once

#include <cstddef>

#include "npu/kernel_launch.h"

namespace cpu_debug {

/// Allocates memory that all cores share; a kernel may write to no other memory. Returns null if
/// there is none left.
void* Allocate(size_t bytes);
void Free(void* memory);

/// Runs a kernel until it ends. Returns null, or an error text that is valid until the next run.
const char* Run(const npu::KernelLaunch& launch);

}  // namespace cpu_debug
