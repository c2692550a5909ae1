// A device for CPU tensors that runs the kernels on CANN's CPU-debug library instead of the twin.
//
// It is written from the documentation and has never been run, because no machine with a toolkit
// was at hand.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/Device.h>

#include <stdexcept>

#include "lab/cpu_debug/kernel_runner.h"
#include "npu/device.h"

namespace {

// Cores are processes, so what they write is visible to others only in shared memory.
class SharedAllocator : public c10::Allocator {
public:
    c10::DataPtr allocate(size_t bytes) override {
        void* memory = bytes == 0 ? nullptr : cpu_debug::Allocate(bytes);
        if (memory == nullptr && bytes != 0) {
            throw std::runtime_error("GmAlloc: no memory for " + std::to_string(bytes) + " bytes");
        }
        return {memory, memory, &Delete, c10::Device(c10::DeviceType::CPU)};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &Delete; }
    void copy_data(void* to, const void* from, size_t bytes) const override {
        default_copy_data(to, from, bytes);
    }

private:
    static void Delete(void* memory) {
        if (memory != nullptr) cpu_debug::Free(memory);
    }
};

class CpuDebugDevice : public npu::Device {
public:
    int8_t TensorType() const override { return static_cast<int8_t>(c10::DeviceType::CPU); }
    const char* SocName() override { return ASCEND_PREFETCH_CPU_DEBUG_SOC; }
    void Launch(const npu::KernelLaunch& launch) override {
        if (const char* error = cpu_debug::Run(launch)) throw std::runtime_error(error);
    }
    bool IsStoredNz(const at::Tensor&) override { return false; }
    // The library models no L2, so there is nothing to prefetch into.
    void Prefetch(const npu::MemoryRange*, const at::Tensor*, size_t) override {}
    void JoinPrefetches() override {}
};

}  // namespace

/// Load this library before any tensor is made: earlier tensors are not in shared memory.
extern "C" __attribute__((visibility("default"))) npu::Device* ascend_prefetch_make_device() {
    static SharedAllocator allocator;
    static CpuDebugDevice device;
    c10::SetCPUAllocator(&allocator, /*priority=*/255);
    return &device;
}
