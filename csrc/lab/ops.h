// The ops of torch.ops.ascend_prefetch_lab: kernels with which a chip is measured.
#pragma once

#include <string>

namespace npu {
class Device;
}

namespace lab {

/// Sets the device that runs NPU tensors from now on, with the device code in `folder`. With null,
/// no device runs them.
void SetNpu(npu::Device* device, const std::string& folder);

}  // namespace lab
