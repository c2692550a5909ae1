// What runs the kernels of a call.
#pragma once

#include <ATen/core/Tensor.h>

#include "arch/chip.h"
#include "npu/device.h"

namespace ops {

/// The device for tensors of this type; null where there is none.
npu::Device* FindDevice(c10::DeviceType type);

/// Where a call runs.
struct Target {
    npu::Device& device;
    const arch::Chip& chip;
};

/// What runs a call whose tensors are on `device`. Throws where there is nothing.
Target TargetOf(const char* op, c10::Device device);

/// The chip of calls without a device: what CPU tensors are planned for.
const arch::Chip& HostChip();

/// Whether a weight whose matrices have `rank` dimensions is in FRACTAL_NZ: by a dimension more, or
/// by the storage format of a device.
bool IsNz(const at::Tensor& weight, int64_t rank);

}  // namespace ops
