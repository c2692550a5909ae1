#include "ops/twin_backend.h"

#include <utility>

#include "ops/twin_settings.h"

namespace ops {

void RunOnTwin(const TwinLaunch& launch, const arch::Chip& chip, LaunchTensors& tensors,
               const std::function<void()>& body) {
    twin::LaunchConfig config;
    config.name = launch.kernel;
    config.chip = &chip;
    config.kind = launch.kind;
    config.block_count = launch.block_count;
    config.tensors = tensors.Take();
    ApplySettings(config);
    twin::Trace trace;
    if (Tracing()) config.trace = &trace;
    LaunchBuffers usage{launch.kernel, {}};
    if (WatchingBufferUsage()) config.buffer_usage = &usage.buffers;
    try {
        twin::Launch(config, body);
    } catch (const twin::Error& error) {
        if (config.buffer_usage != nullptr) AddBufferUsage(std::move(usage));
        HandleTwinError(error);
        throw;
    }
    if (config.buffer_usage != nullptr) AddBufferUsage(std::move(usage));
    if (config.trace != nullptr) AddTrace(trace.Serialise());
}

}  // namespace ops
