// Settings of the twin that runs CPU tensors: which chip it emulates, what launches are checked
// for, and whether they are traced.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "arch/chip.h"
#include "twin/launch.h"

namespace lab {

/// The chip that the twin emulates; Ascend910_9391 until set. Throws std::invalid_argument for
/// unknown names.
void SetTwinChip(const std::string& name);
const arch::Chip& TwinChip();

/// The sanitizer's mode: "off", "memory" or "full". Until set it is the value of the environment
/// variable ASCEND_PREFETCH_SANITIZE, or "off". Throws std::invalid_argument for anything else.
void SetSanitizeMode(const std::string& mode);
std::string SanitizeModeName();

/// LaunchConfig::schedule_seed of CPU launches. Until set it is the value of the environment
/// variable ASCEND_PREFETCH_SCHEDULE_SEED, or 0.
void SetScheduleSeed(uint64_t seed);
uint64_t ScheduleSeed();

/// LaunchConfig::dry of CPU launches; false until set.
void SetDry(bool dry);
bool IsDry();

/// Whether ops on CPU tensors run as separate kernels, one after the other, with which the fused
/// kernels are compared. Separate kernels prefetch nothing. False until set.
void SetSeparateKernels(bool separate);
bool SeparateKernels();

/// Logs the synchronisation calls and roundings that launches reach between StartCallLog and
/// TakeCallLog.
void StartCallLog();
twin::CallLog TakeCallLog();
/// Sets the calls that launches leave out or weaken; with an empty set, they run unchanged.
void SetMutation(twin::Mutation mutation);
/// Copies modes, seed, log and mutation into a launch.
void ApplySettings(twin::LaunchConfig& config);

/// Sets the handler that is called with a failed launch's error and must throw. Without a handler
/// the twin::Error itself is thrown. Must not be called while a launch may run.
void SetTwinErrorHandler(std::function<void(const twin::Error&)> handler);
void HandleTwinError(const twin::Error& error);

/// Between StartTracing and TakeTraces every launch appends a serialised trace
/// (twin/trace_format.h). A second StartTracing before TakeTraces throws std::logic_error.
void StartTracing();
std::vector<std::string> TakeTraces();

/// Whether launches are traced; AddTrace appends a launch's trace.
bool Tracing();
void AddTrace(std::string trace);

/// Between StartSdmaLog and TakeSdmaLog, what ops give to the SDMA engine, which the twin does not
/// have, is kept: (address, bytes) of each range. A second StartSdmaLog before TakeSdmaLog throws
/// std::logic_error.
void StartSdmaLog();
std::vector<std::pair<uint64_t, uint64_t>> TakeSdmaLog();
void AddToSdmaLog(uint64_t address, uint64_t bytes);

/// How much of the local buffers (UB, L1, L0) one launch used.
struct LaunchBuffers {
    std::string kernel;
    std::vector<twin::BufferUsage> buffers;
};

/// Between StartBufferUsage and TakeBufferUsage every launch, also a failed one, adds a
/// LaunchBuffers.
void StartBufferUsage();
std::vector<LaunchBuffers> TakeBufferUsage();
bool WatchingBufferUsage();
void AddBufferUsage(LaunchBuffers usage);

}  // namespace lab
