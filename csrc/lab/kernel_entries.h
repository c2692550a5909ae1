// Finds the kernels of csrc/kernels and csrc/lab/kernels, compiled for the host, by name.
#pragma once

#include "npu/kernel_launch.h"
#include "twin/launch.h"

namespace lab {

struct KernelEntry {
    const char* name;
    twin::KernelKind kind;
    bool (*fits)(const npu::KernelLaunch& launch);
    void (*call)(const npu::KernelLaunch& launch);
};

/// The kernel of a launch. Throws std::logic_error for an unknown name and for arguments whose
/// sizes are not those of the kernel's parameters.
const KernelEntry& FindKernel(const npu::KernelLaunch& launch);

}  // namespace lab
