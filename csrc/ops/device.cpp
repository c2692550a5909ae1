#include "ops/device.h"

#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <string_view>

#include "ops/load_device.h"
#include "ops/plan_log.h"
#include "ops/planning_device.h"

namespace ops {

namespace {

// Both are set while the Python modules are imported, or by a test.
std::atomic<npu::Device*> loaded{nullptr};
std::atomic<npu::Device*> host{nullptr};

/// The chip of a SoC name; it remembers the last one, since every call of an op needs it.
const arch::Chip& ChipOf(const char* soc_name) {
    static thread_local const arch::Chip* last = nullptr;
    if (last == nullptr || std::string_view(last->name) != soc_name) {
        const arch::Chip& chip = arch::FindChip(soc_name);
        arch::RequireKernels(chip);
        last = &chip;
    }
    return *last;
}

}  // namespace

void LoadDevice(const std::string& path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(dlerror());
    void* make = dlsym(library, npu::kMakeDevice);
    if (make == nullptr) throw std::runtime_error(path + ": holds no device of ascend_prefetch");
    loaded = reinterpret_cast<npu::MakeDevice*>(make)();
}

void UnloadDevice() { loaded = nullptr; }

npu::Device* LoadedDevice() { return loaded; }

void SetHostDevice(npu::Device* device) { host = device; }

std::string DeviceChip() {
    npu::Device* device = loaded.load(std::memory_order_acquire);
    return device == nullptr ? "" : ChipOf(device->SocName()).name;
}

std::string HostChipName() { return HostChip().name; }

const arch::Chip& HostChip() {
    npu::Device* device = host.load(std::memory_order_acquire);
    return ChipOf(device == nullptr ? arch::kDefaultChip : device->SocName());
}

npu::Device* FindDevice(c10::DeviceType type) {
    npu::Device* device = loaded.load(std::memory_order_acquire);
    if (type == c10::DeviceType::CPU && OnlyPlans()) return &PlanningDevice();
    if (device != nullptr && device->TensorType() == static_cast<int8_t>(type)) return device;
    return type == c10::DeviceType::CPU ? host.load(std::memory_order_acquire) : nullptr;
}

Target TargetOf(const char* op, c10::Device device) {
    npu::Device* found = FindDevice(device.type());
    TORCH_CHECK(found != nullptr, "ascend_prefetch::", op, ": no backend for tensors on ",
                device.str(),
                "; ascend_prefetch.backends() says which this installation has and why");
    return {*found, ChipOf(found->SocName())};
}

bool IsNz(const at::Tensor& weight, int64_t rank) {
    if (weight.dim() != rank) return weight.dim() > rank;
    npu::Device* device = FindDevice(weight.device().type());
    return device != nullptr && device->IsStoredNz(weight);
}

}  // namespace ops
