#include "ops/twin_backend.h"

#include <utility>

#include "ops/twin_settings.h"

namespace ops {

namespace {

twin::GmTensor TwinTensor(const std::string& name, const at::Tensor& tensor, bool writable) {
    int64_t elements = tensor.numel() == 0 ? 0 : 1;
    for (int64_t d = 0; d < tensor.dim(); ++d) elements += (tensor.size(d) - 1) * tensor.stride(d);
    if (tensor.numel() == 0) elements = 0;
    return {name, tensor.data_ptr(), static_cast<size_t>(elements) * tensor.element_size(),
            writable};
}

}  // namespace

twin::GmTensor TwinInput(const std::string& name, const at::Tensor& tensor) {
    return TwinTensor(name, tensor, false);
}

twin::GmTensor TwinOutput(const std::string& name, const at::Tensor& tensor) {
    return TwinTensor(name, tensor, true);
}

void RunOnTwin(const std::string& kernel, const arch::Chip& chip,
               std::vector<twin::GmTensor> tensors, const std::function<void()>& body) {
    twin::LaunchConfig config;
    config.name = kernel;
    config.chip = &chip;
    config.tensors = std::move(tensors);
    twin::Trace trace;
    if (Tracing()) config.trace = &trace;
    twin::Launch(config, body);
    if (config.trace != nullptr) AddTrace(trace.Serialise());
}

uint8_t* KernelAddress(const at::Tensor& tensor) {
    return tensor.defined() ? static_cast<uint8_t*>(tensor.data_ptr()) : nullptr;
}

}  // namespace ops
