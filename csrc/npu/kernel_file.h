// A file of device code, and the entry points in it.
#pragma once

#include <acl/acl.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace npu {

/// This class is thread-safe, because torch_npu has a queue, and so a thread, for each device.
class KernelFile {
public:
    /// `path` is absolute, as the runtime requires; the file is read when the first kernel is used.
    explicit KernelFile(std::string path) : path_(std::move(path)) {}

    /// The entry point `name` for the current device; `name` has to outlive this object.
    aclrtFuncHandle Find(const char* name);

private:
    /// The file as loaded for one device: the runtime copies a binary to the device that is current
    /// when it is loaded.
    struct Loaded {
        aclrtBinHandle binary = nullptr;
        std::unordered_map<const char*, aclrtFuncHandle> functions;  ///< key: address of the name
    };

    std::string path_;
    std::mutex mutex_;
    std::unordered_map<int32_t, Loaded> devices_;
};

}  // namespace npu
