#include "ops/twin_settings.h"

#include <mutex>
#include <stdexcept>
#include <utility>

namespace ops {

namespace {

constexpr const char* kDefaultChip = "Ascend910_9391";

struct TwinSettings {
    std::mutex mutex;
    const arch::Chip* chip = &arch::FindChip(kDefaultChip);
    bool tracing = false;
    std::vector<std::string> traces;
};

TwinSettings& Settings() {
    static TwinSettings settings;
    return settings;
}

}  // namespace

void SetTwinChip(const std::string& name) {
    const arch::Chip& chip = arch::FindChip(name);
    TwinSettings& settings = Settings();
    const std::lock_guard<std::mutex> lock(settings.mutex);
    settings.chip = &chip;
}

const arch::Chip& TwinChip() {
    TwinSettings& settings = Settings();
    const std::lock_guard<std::mutex> lock(settings.mutex);
    return *settings.chip;
}

void StartTracing() {
    TwinSettings& settings = Settings();
    const std::lock_guard<std::mutex> lock(settings.mutex);
    if (settings.tracing) throw std::logic_error("launches are being traced already");
    settings.tracing = true;
}

std::vector<std::string> TakeTraces() {
    TwinSettings& settings = Settings();
    const std::lock_guard<std::mutex> lock(settings.mutex);
    settings.tracing = false;
    return std::exchange(settings.traces, {});
}

bool Tracing() {
    TwinSettings& settings = Settings();
    const std::lock_guard<std::mutex> lock(settings.mutex);
    return settings.tracing;
}

void AddTrace(std::string trace) {
    TwinSettings& settings = Settings();
    const std::lock_guard<std::mutex> lock(settings.mutex);
    if (settings.tracing) settings.traces.push_back(std::move(trace));
}

}  // namespace ops
