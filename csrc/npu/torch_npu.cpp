// The Host implemented with torch_npu, in the only file that includes torch_npu. It is built into a
// library of its own, which the Python module loads once torch_npu is imported.
//
// The calls are those of op-plugin's examples/cpp_extension, "stream(false) with RunOpApiV2": work
// enters torch_npu's queue in order, and nothing waits for the stream. They are the same in
// torch_npu 2.9.0, 2.10.0 and 2.13.0.
#include <ATen/ATen.h>
#include <dlfcn.h>
#include <torch_npu/csrc/core/npu/NPUFormat.h>
#include <torch_npu/csrc/core/npu/NPUStream.h>
#include <torch_npu/csrc/framework/OpCommand.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "npu/acl_device.h"
#include "npu/pick_side_stream.h"

namespace npu {

namespace {

class TorchNpuHost : public Host {
public:
    int8_t TensorType() const override { return static_cast<int8_t>(at::kPrivateUse1); }

    aclrtStream CurrentStream() override { return c10_npu::getCurrentNPUStream().stream(false); }

    aclrtStream SideStreamFor(aclrtStream other) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        const c10_npu::NPUStream stream = PickSideStream(
            [] { return c10_npu::getNPUStreamFromPool(); },
            [&](const c10_npu::NPUStream& taken) { return taken.stream(false) == other; },
            [&](const c10_npu::NPUStream& taken) {
                return sides_.count(taken.stream(false)) != 0;
            });
        sides_.insert_or_assign(stream.stream(false), stream.unwrap());
        return stream.stream(false);
    }

    void Enqueue(const char* name, std::function<void()> work) override {
        // If `work` throws, torch_npu logs the error and a later call reports it.
        at_npu::native::OpCommand::RunOpApiV2(std::string("ascend_prefetch_") + name,
                                              [work = std::move(work)]() -> int {
                                                  work();
                                                  return 0;
                                              });
    }

    void KeepFor(const at::Tensor* tensors, size_t count, aclrtStream stream) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (size_t i = 0; i < count; ++i) tensors[i].record_stream(sides_.at(stream));
    }

    bool IsStoredNz(const at::Tensor& tensor) override {
        return at_npu::native::get_npu_format(tensor) == ACL_FORMAT_FRACTAL_NZ;
    }

private:
    std::mutex mutex_;
    std::unordered_map<aclrtStream, c10::Stream> sides_;
};

/// The folder "kernels" beside this library. The path is relative if the loader knows the library
/// by a relative path.
std::string KernelFolder() {
    Dl_info info{};
    dladdr(reinterpret_cast<void*>(&KernelFolder), &info);
    const std::filesystem::path path = info.dli_fname == nullptr ? "" : info.dli_fname;
    return path.parent_path() / "kernels";
}

}  // namespace

}  // namespace npu

extern "C" __attribute__((visibility("default"))) npu::Device* ascend_prefetch_make_device() {
    return new npu::AclDevice(std::make_unique<npu::TorchNpuHost>(), npu::KernelFolder());
}
