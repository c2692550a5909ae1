// The tensors of one kernel launch: their addresses for the kernel, their names and extents for a
// device that checks accesses, and the check that their memory is there and apart (ops/memory.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "ops/argument_name.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/memory.h"

namespace ops {

class LaunchTensors {
public:
    LaunchTensors(const ArgumentChecks& check, const Target& target)
        : memory_(check), described_(target.device.ChecksAccesses()) {}

    /// Address of an argument that the kernel may only read; 0 for an absent one. This and the next
    /// two throw where the tensor's storage is smaller than the tensor.
    uint64_t Read(const ArgumentName& name, const at::Tensor& tensor) {
        return AddArgument(name, tensor, CallMemory::Use::kRead);
    }
    uint64_t Read(const ArgumentName& name, const std::optional<at::Tensor>& tensor) {
        return tensor ? Read(name, *tensor) : 0;
    }
    /// Address of an argument that it may write.
    uint64_t Write(const ArgumentName& name, const at::Tensor& tensor) {
        return AddArgument(name, tensor, CallMemory::Use::kWrite);
    }
    /// A contiguous argument that it loads into L2 only: `bytes` bytes from `offset`.
    void Prefetch(const ArgumentName& name, const at::Tensor& tensor, uint64_t offset,
                  uint64_t bytes);
    void Prefetch(const ArgumentName& name, const at::Tensor& tensor) {
        Prefetch(name, tensor, 0, tensor.nbytes());
    }
    /// Once all arguments are there. ValueError where they share memory that they may not share.
    void CheckApart() const { memory_.CheckApart(); }

    /// Address of a fresh tensor: a result or the workspace, whose bytes mean nothing before the
    /// kernel has written them.
    uint64_t WriteFresh(const ArgumentName& name, const at::Tensor& tensor);

    /// What a launch says of them; nothing where the device does not ask.
    const npu::GmTensor* data() const { return tensors_.data(); }
    size_t size() const { return tensors_.size(); }

private:
    uint64_t AddArgument(const ArgumentName& name, const at::Tensor& tensor, CallMemory::Use use);
    void Describe(const ArgumentName& name, const at::Tensor& tensor, bool writable, bool fresh);

    CallMemory memory_;
    bool described_;
    std::deque<std::string> names_;  ///< where the tensors' names stay in place
    std::vector<npu::GmTensor> tensors_;
};

}  // namespace ops
