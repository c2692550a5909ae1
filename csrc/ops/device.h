// Finds the device that runs the kernels of a call.
#pragma once

#include <ATen/core/Tensor.h>

#include "arch/chip.h"
#include "npu/device.h"

namespace ops {

/// The device that runs tensors of this device type; null if there is none.
npu::Device* FindDevice(c10::DeviceType type);

/// The device that runs a call, and its chip.
struct Target {
    npu::Device& device;
    const arch::Chip& chip;
};

/// The target of a call whose tensors are on `device`. Throws RuntimeError if nothing runs such
/// tensors.
Target TargetOf(const char* op, c10::Device device);

/// The chip for which calls on CPU tensors are planned.
const arch::Chip& HostChip();

/// Whether a weight whose row-major form has `rank` dimensions is in FRACTAL_NZ: it has one
/// dimension more, or its device stores it in that format.
bool IsNz(const at::Tensor& weight, int64_t rank);

}  // namespace ops
