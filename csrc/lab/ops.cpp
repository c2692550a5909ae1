#include "lab/ops.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "lab/microbenchmarks.h"
#include "lab/twin_device.h"
#include "npu/device.h"

namespace lab {

namespace {

struct Npu {
    npu::Device* device = nullptr;
    const char* folder = nullptr;
};

Npu& TheNpu() {
    static Npu npu;
    return npu;
}

/// Where a call runs: on the twin for CPU tensors, on the NPU for NPU tensors.
struct Place {
    npu::Device& device;
    const char* folder;
    const arch::Chip& chip;
};

Place PlaceOf(const char* op, const at::Tensor& tensor) {
    const Npu& npu = TheNpu();
    const auto type = static_cast<int8_t>(tensor.device().type());
    if (npu.device != nullptr && npu.device->TensorType() == type) {
        return {*npu.device, npu.folder, arch::FindChip(npu.device->SocName())};
    }
    TORCH_CHECK(tensor.is_cpu(), "ascend_prefetch_lab::", op, ": no backend for tensors on ",
                tensor.device().str(), "; ascend_prefetch.backends() says why");
    return {TheTwin(), nullptr, arch::FindChip(TheTwin().SocName())};
}

void CheckMatrix(const char* op, const char* name, const at::Tensor& tensor, int64_t rank) {
    TORCH_CHECK(tensor.dim() == rank && tensor.is_contiguous(), "ascend_prefetch_lab::", op, ": '",
                name, "': expected ", rank, " dimensions, contiguous, got shape ", tensor.sizes(),
                " with strides ", tensor.strides());
}

uint32_t CheckCores(const char* op, std::optional<int64_t> cores, uint32_t all) {
    if (!cores) return all;
    TORCH_CHECK_VALUE(*cores >= 1 && *cores <= all, "ascend_prefetch_lab::", op,
                      ": 'cores': expected 1 to ", all, ", got ", *cores);
    return static_cast<uint32_t>(*cores);
}

npu::GmTensor Described(const char* name, const at::Tensor& tensor, bool written) {
    return {name, tensor.data_ptr(), tensor.nbytes(), written, written};
}

uint64_t Address(const at::Tensor& tensor) {
    return reinterpret_cast<uintptr_t>(tensor.data_ptr());
}

template <typename... Arguments>
void Launch(const char* kernel, const Place& place, uint32_t cores,
            const std::vector<npu::GmTensor>& tensors, const Arguments&... arguments) {
    const auto list = npu::ListArguments(arguments...);
    place.device.Launch({kernel, cores, false, list.data(), list.size(), tensors.data(),
                         tensors.size(), place.folder, place.chip.name});
}

at::Tensor Matmul(const at::Tensor& a, const at::Tensor& weight, std::optional<int64_t> cores) {
    constexpr const char* kOp = "matmul";
    const Place place = PlaceOf(kOp, a);
    const c10::OptionalDeviceGuard guard(a.device());
    const bool bf16 = a.scalar_type() == at::kBFloat16;
    TORCH_CHECK(bf16 || a.scalar_type() == at::kHalf, "ascend_prefetch_lab::", kOp,
                ": 'a': expected bfloat16 or float16, got ", a.scalar_type());
    TORCH_CHECK(weight.scalar_type() == a.scalar_type() && weight.device() == a.device(),
                "ascend_prefetch_lab::", kOp, ": 'weight': expected ", a.scalar_type(), " on ",
                a.device().str(), ", got ", weight.scalar_type(), " on ", weight.device().str());
    CheckMatrix(kOp, "a", a, 2);
    MatmulCase shape;
    shape.nz = weight.dim() == 3;
    CheckMatrix(kOp, "weight", weight, shape.nz ? 3 : 2);
    const int64_t n = weight.size(shape.nz ? 1 : 0);
    const int64_t k = a.size(1);
    TORCH_CHECK(shape.nz ? weight.size(0) * weight.size(2) == k && weight.size(2) == 16
                         : weight.size(1) == k,
                "ascend_prefetch_lab::", kOp, ": 'weight': expected [n, ", k, "] or [", k / 16,
                ", n, 16], got shape ", weight.sizes());
    shape.m = static_cast<uint32_t>(a.size(0));
    shape.n = static_cast<uint32_t>(n);
    shape.k = static_cast<uint32_t>(k);
    shape.type = bf16 ? ProductType::kBf16 : ProductType::kFp16;
    shape.cores = CheckCores(kOp, cores, place.chip.aic_count);
    MatmulPlan plan{};
    try {
        plan = PlanMatmul(shape, place.chip);
    } catch (const std::invalid_argument& error) {
        TORCH_CHECK_VALUE(false, "ascend_prefetch_lab::", error.what());
    }
    const at::Tensor c = at::empty({a.size(0), n}, a.options());
    Launch(bf16 ? "matmul_bf16" : "matmul_fp16", place, shape.cores,
           {Described("a", a, false), Described("weight", weight, false), Described("c", c, true)},
           MatmulAddresses{Address(a), Address(weight), Address(c)}, plan);
    return c;
}

void Copy(const at::Tensor& matrix, int64_t tile_rows, int64_t tile_bytes, int64_t slices,
          int64_t repeats, bool to_l1, std::optional<int64_t> cores) {
    constexpr const char* kOp = "copy";
    const Place place = PlaceOf(kOp, matrix);
    const c10::OptionalDeviceGuard guard(matrix.device());
    CheckMatrix(kOp, "matrix", matrix, 2);
    for (const auto& [name, value] : {std::pair{"tile_rows", tile_rows},
                                      {"tile_bytes", tile_bytes},
                                      {"slices", slices},
                                      {"repeats", repeats}}) {
        TORCH_CHECK_VALUE(value >= 1 && value <= UINT32_MAX, "ascend_prefetch_lab::", kOp, ": '",
                          name, "': expected 1 to ", UINT32_MAX, ", got ", value);
    }
    CopyCase shape;
    shape.rows = static_cast<uint32_t>(matrix.size(0));
    shape.row_bytes = static_cast<uint32_t>(matrix.size(1) * matrix.element_size());
    shape.tile_rows = static_cast<uint32_t>(tile_rows);
    shape.tile_bytes = static_cast<uint32_t>(tile_bytes);
    shape.slices = static_cast<uint32_t>(slices);
    shape.repeats = static_cast<uint32_t>(repeats);
    shape.to_l1 = to_l1;
    shape.cores = CheckCores(kOp, cores, to_l1 ? place.chip.aic_count : place.chip.aiv_count);
    CopyPlan plan{};
    try {
        plan = PlanCopy(shape, Address(matrix));
    } catch (const std::invalid_argument& error) {
        TORCH_CHECK_VALUE(false, "ascend_prefetch_lab::", error.what());
    }
    Launch(to_l1 ? "copy_gm_l1" : "copy_gm_ub", place, shape.cores,
           {Described("matrix", matrix, false)}, plan);
}

}  // namespace

void SetNpu(npu::Device* device, const std::string& folder) {
    // Folder names are never freed, because a launch that refers to one may still be in a queue.
    static std::mutex mutex;
    static std::unordered_set<std::string> folders;
    const std::lock_guard<std::mutex> lock(mutex);
    TheNpu() = {device, folders.insert(folder).first->c_str()};
}

}  // namespace lab

TORCH_LIBRARY(ascend_prefetch_lab, m) {
    m.def("matmul(Tensor a, Tensor weight, *, int? cores=None) -> Tensor");
    m.def(
        "copy(Tensor matrix, *, int tile_rows, int tile_bytes, int slices=1, int repeats=1, "
        "bool to_l1=False, int? cores=None) -> ()");
}
TORCH_LIBRARY_IMPL(ascend_prefetch_lab, CPU, m) {
    m.impl("matmul", &lab::Matmul);
    m.impl("copy", &lab::Copy);
}
TORCH_LIBRARY_IMPL(ascend_prefetch_lab, PrivateUse1, m) {
    m.impl("matmul", &lab::Matmul);
    m.impl("copy", &lab::Copy);
}
