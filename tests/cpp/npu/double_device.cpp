// A device that CPU tensors can be given to: ops go all the way to the double of ACL, whose record
// Python tests read. No kernel runs; results are what memory held.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "acl_double.h"
#include "npu/acl_device.h"

namespace {

bool stored_nz = false;
uintptr_t current = 1;
std::vector<std::pair<size_t, uintptr_t>> kept;  // how many tensors, for which stream

aclrtStream Stream(uintptr_t number) { return reinterpret_cast<aclrtStream>(number); }

/// Carries out at once what is enqueued.
class ImmediateHost : public npu::Host {
public:
    int8_t TensorType() const override { return 0; }  // c10::DeviceType::CPU
    aclrtStream CurrentStream() override { return Stream(current); }
    // Streams 1, 3, ... are main streams, and the next one is the side stream of each.
    aclrtStream SideStreamFor(aclrtStream main) override {
        return Stream(reinterpret_cast<uintptr_t>(main) + 1);
    }
    void Enqueue(const char*, std::function<void()> work) override { work(); }
    void KeepFor(const at::Tensor*, size_t count, aclrtStream stream) override {
        kept.emplace_back(count, reinterpret_cast<uintptr_t>(stream));
    }
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
    acl_double::NameStream(Stream(1), "main");
    acl_double::NameStream(Stream(2), "side");
    acl_double::NameStream(Stream(3), "other");
    acl_double::NameStream(Stream(4), "side of other");
    stored_nz = false;
    current = 1;
    kept.clear();
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

/// A line "<tensors> <stream>" for each time that memory was kept for a stream.
EXPORT const char* double_kept() {
    static std::string text;
    text.clear();
    for (const auto& [count, stream] : kept) {
        text += std::to_string(count) + " " + std::to_string(stream) + "\n";
    }
    return text.c_str();
}

EXPORT size_t double_event_count() { return acl_double::EventCount(); }
EXPORT void double_set_stream(uintptr_t number) { current = number; }
EXPORT int double_begin_capture() {
    return aclmdlRICaptureBegin(Stream(current), ACL_MODEL_RI_CAPTURE_MODE_THREAD_LOCAL);
}
EXPORT int double_end_capture(void** graph) { return aclmdlRICaptureEnd(Stream(current), graph); }
EXPORT int double_replay(void* graph) { return aclmdlRIExecuteAsync(graph, Stream(current)); }

EXPORT uint32_t double_block_count() { return acl_double::Launches().back().block_count; }
EXPORT int double_scheduling_mode() { return acl_double::Launches().back().scheduling_mode; }
EXPORT void double_set_stored_nz(bool nz) { stored_nz = nz; }
EXPORT void double_set_recording(bool recording) { acl_double::SetRecording(recording); }
EXPORT void double_fail_next(const char* function, int code, const char* message) {
    acl_double::FailNext(function, code, message);
}
