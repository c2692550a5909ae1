#include "npu/argument_block.h"

#include <cstring>

#include "npu/acl_call.h"

namespace npu {

namespace {

// Mode 0 starts a kernel as soon as one core is free, mode 1 when all of its cores are free
// (hicann/runtime docs/zh/api_ref/25-04_Structs.md, aclrtLaunchKernelAttrValue).
constexpr uint8_t kBatchMode = 1;

}  // namespace

ArgumentBlock::ArgumentBlock(const KernelLaunch& launch)
    : kernel_(launch.kernel),
      block_count_(launch.block_count),
      all_cores_wait_(launch.all_cores_wait) {
    size_t words = 0;
    arguments_.reserve(launch.argument_count);
    for (size_t i = 0; i < launch.argument_count; ++i) {
        const size_t bytes = launch.arguments[i].bytes;
        arguments_.push_back({words * sizeof(uint64_t), bytes});
        words += (bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t);
    }
    data_.resize(words);
    for (size_t i = 0; i < launch.argument_count; ++i) {
        std::memcpy(reinterpret_cast<char*>(data_.data()) + arguments_[i].offset,
                    launch.arguments[i].data, launch.arguments[i].bytes);
    }
}

void ArgumentBlock::Launch(aclrtFuncHandle function, aclrtStream stream) const {
    // The runtime owns the list, which is valid for one launch by this thread.
    aclrtArgsHandle list = nullptr;
    ASCEND_PREFETCH_ACL(aclrtKernelArgsInit, function, &list);
    char* data = const_cast<char*>(reinterpret_cast<const char*>(data_.data()));
    for (const Argument& argument : arguments_) {
        aclrtParamHandle parameter = nullptr;
        ASCEND_PREFETCH_ACL(aclrtKernelArgsAppend, list, data + argument.offset, argument.bytes,
                            &parameter);
    }
    ASCEND_PREFETCH_ACL(aclrtKernelArgsFinalize, list);
    aclrtLaunchKernelAttr attribute{ACL_RT_LAUNCH_KERNEL_ATTR_SCHEM_MODE, {}};
    attribute.value.schemMode = kBatchMode;
    aclrtLaunchKernelCfg config{};
    config.attrs = &attribute;
    config.numAttrs = 1;
    ASCEND_PREFETCH_ACL(aclrtLaunchKernelWithConfig, function, block_count_, stream,
                        all_cores_wait_ ? &config : nullptr, list, nullptr);
}

}  // namespace npu
