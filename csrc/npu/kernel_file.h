// The file of device code, and the entry points in it.
#pragma once

#include <acl/acl.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace npu {

/// May be used by several threads: torch_npu has a queue, hence a thread, for each device.
class KernelFile {
public:
    /// An absolute path, which the runtime asks for; read when the first kernel is.
    explicit KernelFile(std::string path) : path_(std::move(path)) {}

    /// Entry point `name` for the current device; `name` has to outlive the object.
    aclrtFuncHandle Find(const char* name);

private:
    /// Of one device: the runtime copies a binary to the device that is current when it is loaded.
    struct Loaded {
        aclrtBinHandle binary = nullptr;
        std::unordered_map<const char*, aclrtFuncHandle> functions;  ///< by address of the name
    };

    std::string path_;
    std::mutex mutex_;
    std::unordered_map<int32_t, Loaded> devices_;
};

}  // namespace npu
