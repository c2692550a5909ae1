// The host's device, which runs the ops' kernels for CPU tensors on the twin, with the settings of
// lab/twin_settings.h.
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
    // The twin has no SDMA engine: what it is given is logged where somebody asked for it.
    void Prefetch(const npu::MemoryRange* ranges, const at::Tensor* /*tensors*/,
                  size_t count) override;
    void JoinPrefetches() override {}
};

/// The twin of this process.
TwinDevice& TheTwin();

/// Runs several launches, one after the other, over the same tensors.
class TwinLaunches {
public:
    TwinLaunches(const arch::Chip& chip, const npu::KernelLaunch& launch);

    /// Runs a kernel on all cores of its types, or on `block_count` of them, under the name `label`
    /// in traces and reports. Memory that it writes counts as initialised for the next launch.
    void Run(const std::string& label, const npu::KernelLaunch& launch, uint32_t block_count = 0);

private:
    const arch::Chip& chip_;
    std::vector<twin::GmTensor> tensors_;
};

}  // namespace lab
