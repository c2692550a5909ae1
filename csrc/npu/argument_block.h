// A launch with copies of its arguments, for a queue that executes it after the caller has
// returned.
#pragma once

#include <acl/acl.h>

#include <cstdint>
#include <vector>

#include "npu/kernel_launch.h"

namespace npu {

class ArgumentBlock {
public:
    explicit ArgumentBlock(const KernelLaunch& launch);

    /// Launches the kernel, whose entry point is `function`, with these arguments.
    void Launch(aclrtFuncHandle function, aclrtStream stream) const;

    const char* kernel() const { return kernel_; }

private:
    struct Argument {
        size_t offset, bytes;
    };

    const char* kernel_;
    uint32_t block_count_;
    bool all_cores_wait_;
    std::vector<uint64_t> data_;  ///< arguments at multiples of 8 bytes, as in the runtime's list
    std::vector<Argument> arguments_;
};

}  // namespace npu
