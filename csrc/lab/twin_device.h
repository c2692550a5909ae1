// The host's device: CPU tensors run the ops' kernels on the twin, as lab/twin_settings.h has it
// set.
#pragma once

#include <string>
#include <vector>

#include "npu/device.h"
#include "twin/launch.h"

namespace lab {

class TwinDevice : public npu::Device {
public:
    int8_t TensorType() const override;
    const char* SocName() override;
    void Launch(const npu::KernelLaunch& launch) override;
    bool ChecksAccesses() const override { return true; }
    bool HostReads() const override { return true; }
    bool Computes() const override;
    bool IsStoredNz(const at::Tensor& /*tensor*/) override { return false; }
    // The twin has no copy engine beside the cores.
    void Prefetch(const npu::MemoryRange* /*ranges*/, const at::Tensor* /*tensors*/,
                  size_t /*count*/) override {}
    void JoinPrefetches() override {}
};

/// Launches over the same tensors, one after the other.
class TwinLaunches {
public:
    TwinLaunches(const arch::Chip& chip, const npu::KernelLaunch& launch);

    /// Runs a kernel over all cores of its types, or over `block_count` of them, under the name
    /// `label` in traces and reports. What it writes, the next launch finds written.
    void Run(const std::string& label, const npu::KernelLaunch& launch, uint32_t block_count = 0);

private:
    const arch::Chip& chip_;
    std::vector<twin::GmTensor> tensors_;
};

}  // namespace lab
