#include "lab/twin_settings.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include "arch/quoted.h"

namespace lab {

namespace {

constexpr const char* kModeNames[] = {"off", "memory", "full"};

twin::SanitizeMode ParseMode(const std::string& source, const std::string& name) {
    for (int i = 0; i < 3; ++i) {
        if (name == kModeNames[i]) return static_cast<twin::SanitizeMode>(i);
    }
    throw std::invalid_argument(source + ": expected off, memory or full, got " +
                                arch::Quoted(name));
}

twin::SanitizeMode ModeOfEnvironment() {
    constexpr const char* kVariable = "ASCEND_PREFETCH_SANITIZE";
    const char* mode = std::getenv(kVariable);
    return mode == nullptr ? twin::SanitizeMode::kOff : ParseMode(kVariable, mode);
}

uint64_t ScheduleSeedOfEnvironment() {
    constexpr const char* kVariable = "ASCEND_PREFETCH_SCHEDULE_SEED";
    const char* text = std::getenv(kVariable);
    if (text == nullptr) return 0;
    uint64_t seed = 0;
    const char* end = text + std::strlen(text);
    const auto result = std::from_chars(text, end, seed);
    if (result.ec == std::errc{} && result.ptr == end) return seed;
    throw std::invalid_argument(std::string(kVariable) +
                                ": expected a number from 0 to 2^64 - 1, got '" + text + "'");
}

struct TwinSettings {
    std::mutex mutex;
    const arch::Chip* chip = &arch::FindChip(arch::kDefaultChip);
    twin::SanitizeMode sanitize = ModeOfEnvironment();
    uint64_t schedule_seed = ScheduleSeedOfEnvironment();
    std::optional<twin::CallLog> calls;
    twin::Mutation mutation;
    bool dry = false;
    bool separate_kernels = false;
    bool tracing = false;
    std::vector<std::string> traces;
    std::optional<std::vector<LaunchBuffers>> buffer_usage;
    std::optional<std::vector<std::pair<uint64_t, uint64_t>>> sdma;
};

/// Access to the settings; holds their lock as long as the object exists.
class Locked {
public:
    Locked() : settings_(Settings()), lock_(settings_.mutex) {}
    TwinSettings* operator->() { return &settings_; }

private:
    static TwinSettings& Settings() {
        static TwinSettings settings;
        return settings;
    }

    TwinSettings& settings_;
    const std::lock_guard<std::mutex> lock_;
};

/// The error handler is not a member of TwinSettings, whose constructor throws for an invalid
/// environment variable: the handler is set while the Python module is loaded, which must not fail.
std::function<void(const twin::Error&)>& ErrorHandler() {
    static std::function<void(const twin::Error&)> handler;
    return handler;
}

}  // namespace

void SetTwinChip(const std::string& name) {
    const arch::Chip& chip = arch::FindChip(name);
    Locked()->chip = &chip;
}

const arch::Chip& TwinChip() { return *Locked()->chip; }

void SetSanitizeMode(const std::string& mode) {
    const twin::SanitizeMode parsed = ParseMode("sanitize", mode);
    Locked()->sanitize = parsed;
}

std::string SanitizeModeName() { return kModeNames[static_cast<int>(Locked()->sanitize)]; }

void SetScheduleSeed(uint64_t seed) { Locked()->schedule_seed = seed; }

uint64_t ScheduleSeed() { return Locked()->schedule_seed; }

void SetDry(bool dry) { Locked()->dry = dry; }

bool IsDry() { return Locked()->dry; }

void SetSeparateKernels(bool separate) { Locked()->separate_kernels = separate; }

bool SeparateKernels() { return Locked()->separate_kernels; }

void StartCallLog() { Locked()->calls.emplace(); }

twin::CallLog TakeCallLog() {
    return std::exchange(Locked()->calls, std::nullopt).value_or(twin::CallLog{});
}

void SetMutation(twin::Mutation mutation) { Locked()->mutation = std::move(mutation); }

void ApplySettings(twin::LaunchConfig& config) {
    Locked settings;
    config.sanitize = settings->sanitize;
    config.schedule_seed = settings->schedule_seed;
    config.dry = settings->dry;
    if (settings->calls) config.calls = &*settings->calls;
    if (!settings->mutation.calls.empty()) config.mutation = &settings->mutation;
}

void SetTwinErrorHandler(std::function<void(const twin::Error&)> handler) {
    ErrorHandler() = std::move(handler);
}

void HandleTwinError(const twin::Error& error) {
    if (ErrorHandler()) ErrorHandler()(error);
}

void StartTracing() {
    Locked settings;
    if (settings->tracing) throw std::logic_error("launches are being traced already");
    settings->tracing = true;
}

std::vector<std::string> TakeTraces() {
    Locked settings;
    settings->tracing = false;
    return std::exchange(settings->traces, {});
}

bool Tracing() { return Locked()->tracing; }

void AddTrace(std::string trace) {
    Locked settings;
    if (settings->tracing) settings->traces.push_back(std::move(trace));
}

void StartSdmaLog() {
    Locked settings;
    if (settings->sdma) throw std::logic_error("the SDMA engine is being watched already");
    settings->sdma.emplace();
}

std::vector<std::pair<uint64_t, uint64_t>> TakeSdmaLog() {
    return std::exchange(Locked()->sdma, std::nullopt)
        .value_or(std::vector<std::pair<uint64_t, uint64_t>>());
}

void AddToSdmaLog(uint64_t address, uint64_t bytes) {
    Locked settings;
    if (settings->sdma) settings->sdma->emplace_back(address, bytes);
}

void StartBufferUsage() {
    Locked settings;
    if (settings->buffer_usage) throw std::logic_error("buffer usage is being watched already");
    settings->buffer_usage.emplace();
}

std::vector<LaunchBuffers> TakeBufferUsage() {
    return std::exchange(Locked()->buffer_usage, std::nullopt)
        .value_or(std::vector<LaunchBuffers>());
}

bool WatchingBufferUsage() { return Locked()->buffer_usage.has_value(); }

void AddBufferUsage(LaunchBuffers usage) {
    Locked settings;
    if (settings->buffer_usage) settings->buffer_usage->push_back(std::move(usage));
}

}  // namespace lab
