// The tensors of one kernel launch: their addresses for the kernel, their names and extents for the
// twin.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "twin/launch.h"

namespace ops {

class LaunchTensors {
public:
    /// Address of a tensor that the kernel may only read; 0 for an absent one.
    uint64_t Read(const std::string& name, const std::optional<at::Tensor>& tensor);
    /// Address of a tensor that it may write, and of a fresh one: a result or the workspace, whose
    /// bytes mean nothing before the kernel has written them.
    uint64_t Write(const std::string& name, const std::optional<at::Tensor>& tensor);
    uint64_t WriteFresh(const std::string& name, const at::Tensor& tensor);

    /// Tensors as the twin sees them: extents include the holes of strided ones. The next launch
    /// with them finds what this one wrote, so that nothing is fresh any more.
    std::vector<twin::GmTensor> Take();

private:
    uint64_t Add(const std::string& name, const std::optional<at::Tensor>& tensor, bool writable);

    std::vector<twin::GmTensor> tensors_;
};

}  // namespace ops
