// A device that is implemented with ACL alone. What only the framework knows (its queue, streams
// and storage formats) it gets from a Host.
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

/// The services of a framework that the device needs.
class Host {
public:
    virtual ~Host() = default;

    virtual int8_t TensorType() const = 0;
    /// The current stream. Work that has been enqueued for it may not have reached it yet.
    virtual aclrtStream CurrentStream() = 0;
    /// A stream of the current device other than `other`; it exists until the process ends.
    virtual aclrtStream SideStreamFor(aclrtStream other) = 0;
    /// Runs `work`, which issues operations to the current stream, after everything that was
    /// enqueued before. `name` is the name that profilers of the host show.
    virtual void Enqueue(const char* name, std::function<void()> work) = 0;
    /// Keeps the memory of tensors from being reused before `stream` has finished everything issued
    /// to it so far.
    virtual void KeepFor(const at::Tensor* tensors, size_t count, aclrtStream stream) = 0;
    virtual bool IsStoredNz(const at::Tensor& tensor) = 0;
};

/// Runs kernels and prefetches on the NPU that torch_npu uses, through ACL.
class AclDevice : public Device {
public:
    /// `kernel_folder` holds <chip family>.o. A relative path is resolved against the working
    /// directory at once, because the runtime loads files by absolute paths only
    /// (aclrtBinaryLoadFromFile). The chip is looked up at the first use, because asking for it
    /// starts CANN's runtime, which must not happen in a process that only imports the package and
    /// then forks. SocName and Launch throw std::runtime_error, with one line of text, for an
    /// unknown chip and for one that has no kernels in the folder.
    AclDevice(std::unique_ptr<Host> host, const std::string& kernel_folder);

    int8_t TensorType() const override { return host_->TensorType(); }
    const char* SocName() override { return Found().soc_name.c_str(); }
    void Launch(const KernelLaunch& launch) override;
    void LaunchBeside(const KernelLaunch& launch, const at::Tensor* tensors, size_t count) override;
    bool IsStoredNz(const at::Tensor& tensor) override { return host_->IsStoredNz(tensor); }
    void Prefetch(const MemoryRange* ranges, const at::Tensor* tensors, size_t count) override;
    void JoinPrefetches() override;

private:
    struct Side {
        Side(aclrtStream main, aclrtStream stream) : stream(stream), work(main, stream) {}

        aclrtStream stream;
        SideStream work;
        bool pending = false;  ///< in the order of the calls, which run ahead of the queue
    };

    struct Chip {
        explicit Chip(const std::string& kernel_folder);

        std::string soc_name;
        KernelFile kernels;
        std::unordered_map<std::string, KernelFile> others;  ///< by folder
    };

    Chip& Found();
    KernelFile& KernelsOf(const char* folder);
    /// The side stream of the current stream; mutex_ is held.
    Side& CurrentSide();

    std::unique_ptr<Host> host_;
    std::string kernel_folder_;
    std::once_flag looked_up_;
    std::unique_ptr<Chip> chip_;
    std::mutex mutex_;
    std::unordered_map<aclrtStream, std::unique_ptr<Side>> sides_;  ///< by main stream
};

}  // namespace npu
