#include "ops/launch_tensors.h"

namespace ops {

uint64_t LaunchTensors::AddArgument(const ArgumentName& name, const at::Tensor& tensor,
                                    CallMemory::Use use) {
    if (!tensor.defined()) return 0;
    const uint64_t address = memory_.Add(name, tensor, use);
    Describe(name, tensor, use == CallMemory::Use::kWrite, false);
    return address;
}

void LaunchTensors::Prefetch(const ArgumentName& name, const at::Tensor& tensor, uint64_t offset,
                             uint64_t bytes) {
    memory_.AddPrefetch(name, tensor, offset, bytes);
    Describe(name, tensor, false, false);
}

uint64_t LaunchTensors::WriteFresh(const ArgumentName& name, const at::Tensor& tensor) {
    if (!tensor.defined()) return 0;
    Describe(name, tensor, true, true);
    return reinterpret_cast<uintptr_t>(tensor.data_ptr());
}

void LaunchTensors::Describe(const ArgumentName& name, const at::Tensor& tensor, bool writable,
                             bool fresh) {
    if (!described_) return;
    const auto bytes = static_cast<size_t>(ExtentOf(tensor).all) * tensor.element_size();
    tensors_.push_back(
        {names_.emplace_front(name.str()).c_str(), tensor.data_ptr(), bytes, writable, fresh});
}

}  // namespace ops
