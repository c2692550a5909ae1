// A device that CPU tensors can be given to: ops go all the way to the double of ACL, whose record
// Python tests read. No kernel runs; results are what memory held.
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "acl_double.h"
#include "npu/acl_device.h"

namespace {

bool stored_nz = false;

/// Carries out at once what is enqueued.
class ImmediateHost : public npu::Host {
public:
    int8_t TensorType() const override { return 0; }  // c10::DeviceType::CPU
    aclrtStream CurrentStream() override { return reinterpret_cast<aclrtStream>(uintptr_t{1}); }
    aclrtStream SideStreamFor(aclrtStream) override {
        acl_double::NameStream(reinterpret_cast<aclrtStream>(uintptr_t{2}), "side");
        return reinterpret_cast<aclrtStream>(uintptr_t{2});
    }
    void Enqueue(const char*, std::function<void()> work) override { work(); }
    void KeepFor(const at::Tensor*, size_t, aclrtStream) override {}
    bool IsStoredNz(const at::Tensor&) override { return stored_nz; }
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT npu::Device* ascend_prefetch_make_device() {
    return new npu::AclDevice(std::make_unique<ImmediateHost>(), ASCEND_PREFETCH_KERNEL_FOLDER);
}

// For ctypes.

EXPORT void double_reset() {
    acl_double::Reset();
    acl_double::NameStream(reinterpret_cast<aclrtStream>(uintptr_t{1}), "main");
    acl_double::NameStream(reinterpret_cast<aclrtStream>(uintptr_t{2}), "side");
    stored_nz = false;
}

/// A line for each call.
EXPORT const char* double_calls() {
    static std::string text;
    text.clear();
    for (const std::string& call : acl_double::Calls()) text += call + "\n";
    return text.c_str();
}

/// Of the last launch: the bytes of argument `index`; `size` tells how many.
EXPORT const char* double_argument(size_t index, size_t* size) {
    const auto& arguments = acl_double::Launches().back().arguments;
    *size = index < arguments.size() ? arguments[index].size() : 0;
    return *size == 0 ? nullptr : arguments[index].data();
}

EXPORT uint32_t double_block_count() { return acl_double::Launches().back().block_count; }
EXPORT int double_scheduling_mode() { return acl_double::Launches().back().scheduling_mode; }
EXPORT void double_set_stored_nz(bool nz) { stored_nz = nz; }
EXPORT void double_set_recording(bool recording) { acl_double::SetRecording(recording); }
EXPORT void double_fail_next(const char* function, int code, const char* message) {
    acl_double::FailNext(function, code, message);
}
