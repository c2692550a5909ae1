#include "ops/twin_backend.h"

#include <mutex>
#include <utility>

#include "ops/twin_settings.h"

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

twin::GmTensor TwinTensor(const std::string& name, const at::Tensor& tensor, bool writable) {
    int64_t elements = tensor.numel() == 0 ? 0 : 1;
    for (int64_t d = 0; d < tensor.dim(); ++d) elements += (tensor.size(d) - 1) * tensor.stride(d);
    if (tensor.numel() == 0) elements = 0;
    return {name, tensor.data_ptr(), static_cast<size_t>(elements) * tensor.element_size(),
            writable};
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
    settings.tracing = true;
    settings.traces.clear();
}

std::vector<std::string> TakeTraces() {
    TwinSettings& settings = Settings();
    const std::lock_guard<std::mutex> lock(settings.mutex);
    settings.tracing = false;
    return std::exchange(settings.traces, {});
}

twin::GmTensor TwinInput(const std::string& name, const at::Tensor& tensor) {
    return TwinTensor(name, tensor, false);
}

twin::GmTensor TwinOutput(const std::string& name, const at::Tensor& tensor) {
    return TwinTensor(name, tensor, true);
}

void RunOnTwin(const std::string& kernel, std::vector<twin::GmTensor> tensors,
               const std::function<void()>& body) {
    twin::LaunchConfig config;
    config.name = kernel;
    config.chip = &TwinChip();
    config.tensors = std::move(tensors);
    twin::Trace trace;
    TwinSettings& settings = Settings();
    {
        const std::lock_guard<std::mutex> lock(settings.mutex);
        if (settings.tracing) config.trace = &trace;
    }
    twin::Launch(config, body);
    if (config.trace == nullptr) return;
    const std::lock_guard<std::mutex> lock(settings.mutex);
    settings.traces.push_back(trace.Serialise());
}

uint8_t* KernelAddress(const at::Tensor& tensor) {
    return tensor.defined() ? static_cast<uint8_t*>(tensor.data_ptr()) : nullptr;
}

}  // namespace ops
