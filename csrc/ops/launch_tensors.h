// The tensors of one kernel launch: their addresses for the kernel, their names and extents for a
// device that checks accesses, and the check that their memory exists and does not overlap
// (ops/memory.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <forward_list>
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

    /// Address of an argument that the kernel may only read; 0 for an absent one. Read, Write and
    /// Prefetch throw RuntimeError if the tensor's storage is smaller than the tensor.
    uint64_t Read(const ArgumentName& name, const at::Tensor& tensor) {
        return AddArgument(name, tensor, CallMemory::Use::kRead);
    }
    uint64_t Read(const ArgumentName& name, const std::optional<at::Tensor>& tensor) {
        return tensor ? Read(name, *tensor) : 0;
    }
    /// Address of an argument that the kernel may write.
    uint64_t Write(const ArgumentName& name, const at::Tensor& tensor) {
        return AddArgument(name, tensor, CallMemory::Use::kWrite);
    }
    /// Adds a contiguous argument of which the kernel only loads `bytes` bytes from `offset` into
    /// L2.
    void Prefetch(const ArgumentName& name, const at::Tensor& tensor, uint64_t offset,
                  uint64_t bytes);
    void Prefetch(const ArgumentName& name, const at::Tensor& tensor) {
        Prefetch(name, tensor, 0, tensor.nbytes());
    }
    /// To be called once all arguments are added. ValueError if two of them share memory that must
    /// not be shared.
    void CheckApart() const { memory_.CheckApart(); }

    /// Address of a fresh tensor: a result or the workspace, whose bytes are undefined until the
    /// kernel has written them.
    uint64_t WriteFresh(const ArgumentName& name, const at::Tensor& tensor);

    /// The descriptions of the tensors for a launch; empty unless the device checks accesses.
    const npu::GmTensor* data() const { return tensors_.data(); }
    size_t size() const { return tensors_.size(); }

private:
    uint64_t AddArgument(const ArgumentName& name, const at::Tensor& tensor, CallMemory::Use use);
    void Describe(const ArgumentName& name, const at::Tensor& tensor, bool writable, bool fresh);

    CallMemory memory_;
    bool described_;
    std::forward_list<std::string>
        names_;  ///< a deque, so that the addresses of the names stay valid
    std::vector<npu::GmTensor> tensors_;
};

}  // namespace ops
