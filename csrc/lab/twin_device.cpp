#include "lab/twin_device.h"

#include <c10/core/DeviceType.h>

#include <utility>

#include "lab/kernel_entries.h"
#include "lab/separate_kernels.h"
#include "lab/twin_settings.h"

namespace lab {

TwinDevice& TheTwin() {
    static TwinDevice device;
    return device;
}

int8_t TwinDevice::TensorType() const { return static_cast<int8_t>(c10::DeviceType::CPU); }

const char* TwinDevice::SocName() { return TwinChip().name; }

bool TwinDevice::Computes() const { return !IsDry(); }

void TwinDevice::Launch(const npu::KernelLaunch& launch) {
    // Another thread may have changed the twin's chip since the launch was planned.
    const arch::Chip& chip =
        launch.soc_name == nullptr ? TwinChip() : arch::FindChip(launch.soc_name);
    TwinLaunches launches(chip, launch);
    if (SeparateKernels() && RunSeparately(launch, launches)) return;
    launches.Run(launch.kernel, launch, launch.block_count);
}

void TwinDevice::Prefetch(const npu::MemoryRange* ranges, const at::Tensor* /*tensors*/,
                          size_t count) {
    for (size_t i = 0; i < count; ++i) AddToSdmaLog(ranges[i].address, ranges[i].bytes);
}

TwinLaunches::TwinLaunches(const arch::Chip& chip, const npu::KernelLaunch& launch) : chip_(chip) {
    for (size_t i = 0; i < launch.tensor_count; ++i) {
        const npu::GmTensor& tensor = launch.tensors[i];
        tensors_.push_back(
            {tensor.name, tensor.data, tensor.bytes, tensor.writable, !tensor.fresh});
    }
}

void TwinLaunches::Run(const std::string& label, const npu::KernelLaunch& launch,
                       uint32_t block_count) {
    const KernelEntry& kernel = FindKernel(launch);
    twin::LaunchConfig config;
    config.name = label;
    config.chip = &chip_;
    config.kind = kernel.kind;
    config.block_count = block_count;
    config.tensors = tensors_;
    ApplySettings(config);
    twin::Trace trace;
    if (Tracing()) config.trace = &trace;
    LaunchBuffers usage{label, {}};
    if (WatchingBufferUsage()) config.buffer_usage = &usage.buffers;
    try {
        twin::Launch(config, [&] { kernel.call(launch); });
    } catch (const twin::Error& error) {
        if (config.buffer_usage != nullptr) AddBufferUsage(std::move(usage));
        HandleTwinError(error);
        throw;
    }
    if (config.buffer_usage != nullptr) AddBufferUsage(std::move(usage));
    if (config.trace != nullptr) AddTrace(trace.Serialise());
    for (twin::GmTensor& tensor : tensors_) tensor.initialised = true;
}

}  // namespace lab
