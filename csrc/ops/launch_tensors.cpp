#include "ops/launch_tensors.h"

namespace ops {

uint64_t LaunchTensors::Read(const std::string& name, const std::optional<at::Tensor>& tensor) {
    return Add(name, tensor, false);
}

uint64_t LaunchTensors::Write(const std::string& name, const std::optional<at::Tensor>& tensor) {
    return Add(name, tensor, true);
}

uint64_t LaunchTensors::WriteFresh(const std::string& name, const at::Tensor& tensor) {
    const uint64_t address = Add(name, tensor, true);
    if (address != 0) tensors_.back().initialised = false;
    return address;
}

std::vector<twin::GmTensor> LaunchTensors::Take() {
    std::vector<twin::GmTensor> taken = tensors_;
    for (twin::GmTensor& tensor : tensors_) tensor.initialised = true;
    return taken;
}

uint64_t LaunchTensors::Add(const std::string& name, const std::optional<at::Tensor>& tensor,
                            bool writable) {
    if (!tensor || !tensor->defined()) return 0;
    int64_t elements = tensor->numel() == 0 ? 0 : 1;
    for (int64_t d = 0; d < tensor->dim() && elements > 0; ++d) {
        elements += (tensor->size(d) - 1) * tensor->stride(d);
    }
    tensors_.push_back({name, tensor->data_ptr(),
                        static_cast<size_t>(elements) * tensor->element_size(), writable});
    return reinterpret_cast<uintptr_t>(tensor->data_ptr());
}

}  // namespace ops
