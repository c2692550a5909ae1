// A device by ACL alone. What only the framework knows (its queue, streams, storage formats) comes
// from a Host.
#pragma once

#include <acl/acl.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "npu/device.h"
#include "npu/kernel_file.h"
#include "npu/side_stream.h"

namespace npu {

/// What a framework does for the device.
class Host {
public:
    virtual ~Host() = default;

    virtual int8_t TensorType() const = 0;
    /// The current stream. Work for it that has been enqueued may not have reached it yet.
    virtual aclrtStream CurrentStream() = 0;
    /// A stream of the current device that is not `other`; lives as long as the process.
    virtual aclrtStream SideStreamFor(aclrtStream other) = 0;
    /// Runs `work`, which issues work to the current stream, behind all that was enqueued before.
    /// `name` is what profilers of the host show.
    virtual void Enqueue(const char* name, std::function<void()> work) = 0;
    /// The memory of tensors is not given to anybody else before `stream` is done with what it has
    /// been given.
    virtual void KeepFor(const at::Tensor* tensors, size_t count, aclrtStream stream) = 0;
    virtual bool IsStoredNz(const at::Tensor& tensor) = 0;
};

/// The device that torch_npu uses, through ACL.
class AclDevice : public Device {
public:
    /// `kernel_folder` holds <chip family>.o; where it is relative, to the working directory of
    /// now: the runtime loads files by absolute paths only (aclrtBinaryLoadFromFile). The chip is
    /// looked up at the first use: asking for it starts CANN's runtime, which a process that only
    /// imports the package and forks must not. Until it is one that is known and has kernels there,
    /// SocName and Launch throw std::runtime_error, one line.
    AclDevice(std::unique_ptr<Host> host, const std::string& kernel_folder);

    int8_t TensorType() const override { return host_->TensorType(); }
    const char* SocName() override { return Found().soc_name.c_str(); }
    void Launch(const KernelLaunch& launch) override;
    bool IsStoredNz(const at::Tensor& tensor) override { return host_->IsStoredNz(tensor); }
    void Prefetch(const MemoryRange* ranges, const at::Tensor* tensors, size_t count) override;
    void JoinPrefetches() override;

private:
    struct Side {
        Side(aclrtStream main, aclrtStream stream) : stream(stream), work(main, stream) {}

        aclrtStream stream;
        SideStream work;
        bool pending = false;  ///< as the callers see it, ahead of the queue
    };

    struct Chip {
        explicit Chip(const std::string& kernel_folder);

        std::string soc_name;
        KernelFile kernels;
        std::unordered_map<std::string, KernelFile> others;  ///< by folder
    };

    Chip& Found();
    KernelFile& KernelsOf(const char* folder);

    std::unique_ptr<Host> host_;
    std::string kernel_folder_;
    std::once_flag looked_up_;
    std::unique_ptr<Chip> chip_;
    std::mutex mutex_;
    std::unordered_map<aclrtStream, std::unique_ptr<Side>> sides_;  ///< by main stream
};

}  // namespace npu
