#include "ops/planning_device.h"

#include <c10/core/DeviceType.h>

#include "ops/device.h"

namespace ops {

namespace {

class Planning : public npu::Device {
public:
    int8_t TensorType() const override { return static_cast<int8_t>(c10::DeviceType::CPU); }
    const char* SocName() override { return HostChip().name; }
    void Launch(const npu::KernelLaunch& /*launch*/) override {}
    bool HostReads() const override { return true; }
    bool Computes() const override { return false; }
    bool IsStoredNz(const at::Tensor& /*tensor*/) override { return false; }
    void Prefetch(const npu::MemoryRange* /*ranges*/, const at::Tensor* /*tensors*/,
                  size_t /*count*/) override {}
    void JoinPrefetches() override {}
};

}  // namespace

npu::Device& PlanningDevice() {
    static Planning device;
    return device;
}

}  // namespace ops
