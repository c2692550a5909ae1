// Runs kernels on the host twin for CPU tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "twin/launch.h"

namespace ops {

/// A tensor as the twin sees it: name, address, extent including the holes of a strided tensor.
twin::GmTensor TwinInput(const std::string& name, const at::Tensor& tensor);
twin::GmTensor TwinOutput(const std::string& name, const at::Tensor& tensor);

/// Runs a kernel that was planned for `chip` on all its cores.
void RunOnTwin(const std::string& kernel, const arch::Chip& chip,
               std::vector<twin::GmTensor> tensors, const std::function<void()>& body);

/// Address of a tensor's data as a kernel argument; null for an undefined tensor.
uint8_t* KernelAddress(const at::Tensor& tensor);

}  // namespace ops
