#include "npu/kernel_file.h"

#include "npu/acl_call.h"

namespace npu {

aclrtFuncHandle KernelFile::Find(const char* name) {
    int32_t device = 0;
    ASCEND_PREFETCH_ACL(aclrtGetDevice, &device);
    const std::lock_guard<std::mutex> lock(mutex_);
    Loaded& loaded = devices_[device];
    if (const auto found = loaded.functions.find(name); found != loaded.functions.end()) {
        return found->second;
    }
    if (loaded.binary == nullptr) {
        ASCEND_PREFETCH_ACL(aclrtBinaryLoadFromFile, path_.c_str(), nullptr, &loaded.binary);
    }
    aclrtFuncHandle function = nullptr;
    ASCEND_PREFETCH_ACL(aclrtBinaryGetFunction, loaded.binary, name, &function);
    loaded.functions.emplace(name, function);
    return function;
}

}  // namespace npu
