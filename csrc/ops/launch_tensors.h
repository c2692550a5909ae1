// The tensors of one kernel launch: their addresses for the kernel, their names and extents for the
// twin.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "ops/argument_name.h"
#include "ops/device.h"
#include "twin/launch.h"

namespace ops {

class LaunchTensors {
public:
    /// A device is told addresses alone.
    explicit LaunchTensors(const Target& target) : for_twin_(target.device == nullptr) {}

    /// Address of a tensor that the kernel may only read; 0 for an absent one.
    uint64_t Read(ArgumentName name, const at::Tensor& tensor) { return Add(name, tensor, kRead); }
    uint64_t Read(ArgumentName name, const std::optional<at::Tensor>& tensor) {
        return tensor ? Read(name, *tensor) : 0;
    }
    /// Address of a tensor that it may write, and of a fresh one: a result or the workspace, whose
    /// bytes mean nothing before the kernel has written them.
    uint64_t Write(ArgumentName name, const at::Tensor& tensor) {
        return Add(name, tensor, kWrite);
    }
    uint64_t WriteFresh(ArgumentName name, const at::Tensor& tensor) {
        return Add(name, tensor, kWriteFresh);
    }

    /// Tensors as the twin sees them: extents include the holes of strided ones. The next launch
    /// with them finds what this one wrote, so that nothing is fresh any more.
    std::vector<twin::GmTensor> Take();

private:
    enum Use { kRead, kWrite, kWriteFresh };

    uint64_t Add(const ArgumentName& name, const at::Tensor& tensor, Use use);

    bool for_twin_;
    std::vector<twin::GmTensor> tensors_;
};

}  // namespace ops
