#include "ops/launch_tensors.h"

namespace ops {

std::vector<twin::GmTensor> LaunchTensors::Take() {
    std::vector<twin::GmTensor> taken = tensors_;
    for (twin::GmTensor& tensor : tensors_) tensor.initialised = true;
    return taken;
}

uint64_t LaunchTensors::Add(const ArgumentName& name, const at::Tensor& tensor, Use use) {
    if (!tensor.defined()) return 0;
    void* data = tensor.data_ptr();
    if (for_twin_) {
        int64_t elements = tensor.numel() == 0 ? 0 : 1;
        for (int64_t d = 0; d < tensor.dim() && elements > 0; ++d) {
            elements += (tensor.size(d) - 1) * tensor.stride(d);
        }
        tensors_.push_back({name.str(), data, static_cast<size_t>(elements) * tensor.element_size(),
                            use != kRead, use != kWriteFresh});
    }
    return reinterpret_cast<uintptr_t>(data);
}

}  // namespace ops
