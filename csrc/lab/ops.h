// The ops of torch.ops.ascend_prefetch_lab: kernels that a chip is measured with.
#pragma once

#include <string>

namespace npu {
class Device;
}

namespace lab {

/// NPU tensors go to this device from now on, with the device code in `folder`; null: to none.
void SetNpu(npu::Device* device, const std::string& folder);

}  // namespace lab
