// Settings of the host twin behind CPU tensors: which chip it plays, what launches are checked for,
// and whether they are traced.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "twin/launch.h"

namespace lab {

/// The chip that CPU launches play; Ascend910_9391 until set. Throws std::invalid_argument for
/// unknown names.
void SetTwinChip(const std::string& name);
const arch::Chip& TwinChip();

/// "off", "memory" or "full"; until set what the environment variable ASCEND_PREFETCH_SANITIZE
/// says, or "off". Throws std::invalid_argument for anything else.
void SetSanitizeMode(const std::string& mode);
std::string SanitizeModeName();

/// LaunchConfig::schedule_seed of CPU launches; until set what the environment variable
/// ASCEND_PREFETCH_SCHEDULE_SEED says, or 0.
void SetScheduleSeed(uint64_t seed);
uint64_t ScheduleSeed();

/// LaunchConfig::dry of CPU launches; false until set.
void SetDry(bool dry);
bool IsDry();

/// CPU tensors run an op's mathematics as separate kernels, one after the other: what the fused
/// kernels are compared with. They prefetch nothing. False until set.
void SetSeparateKernels(bool separate);
bool SeparateKernels();

/// Synchronisation calls and roundings that launches reach between StartCallLog and TakeCallLog.
void StartCallLog();
twin::CallLog TakeCallLog();
/// Launches leave out, or weaken, these calls; none of them with an empty set.
void SetMutation(twin::Mutation mutation);
/// Puts modes, seed, log and mutation into a launch.
void ApplySettings(twin::LaunchConfig& config);

/// Is given what a launch reports, and throws in its place. Without one it is a twin::Error. Not to
/// be called while a launch may run.
void SetTwinErrorHandler(std::function<void(const twin::Error&)> handler);
void HandleTwinError(const twin::Error& error);

/// Between Start and Take every launch appends a serialised trace (twin/trace_format.h). A second
/// Start before Take throws std::logic_error.
void StartTracing();
std::vector<std::string> TakeTraces();

/// Whether launches are recorded, and where a trace goes.
bool Tracing();
void AddTrace(std::string trace);

/// What one launch took of the local buffers.
struct LaunchBuffers {
    std::string kernel;
    std::vector<twin::BufferUsage> buffers;
};

/// Between Start and Take every launch adds one of these, failed ones as well.
void StartBufferUsage();
std::vector<LaunchBuffers> TakeBufferUsage();
bool WatchingBufferUsage();
void AddBufferUsage(LaunchBuffers usage);

}  // namespace lab
