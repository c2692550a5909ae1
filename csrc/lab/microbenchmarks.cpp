#include "lab/microbenchmarks.h"

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "arch/dav_c220.h"
#include "arch/quoted.h"
#include "lab/kernels/copy_plan.h"
#include "lab/kernels/matmul_plan.h"
#include "lab/kernels/quant_matmul_plan.h"
#include "lab/kernels/quantise_plan.h"
#include "plan/plan_gemm.h"
#include "plan/plan_linear.h"
#include "plan/rounding.h"
#include "plan/units.h"
#include "twin/launch.h"

// The kernels' entry points, compiled for the host.
extern "C" void matmul_bf16(MatmulAddresses addresses, MatmulPlan plan);
extern "C" void matmul_fp16(MatmulAddresses addresses, MatmulPlan plan);
extern "C" void matmul_int8(MatmulAddresses addresses, MatmulPlan plan);
extern "C" void quant_matmul_bf16(QuantMatmulAddresses addresses, QuantMatmulPlan plan);
extern "C" void quantise_bf16(QuantiseAddresses addresses, QuantisePlan plan);
extern "C" void quantise_fp16(QuantiseAddresses addresses, QuantisePlan plan);
extern "C" void copy_gm_ub(CopyPlan plan);
extern "C" void copy_gm_l1(CopyPlan plan);

namespace lab {

namespace {

/// Elements of a row of which the quantise kernel's UB holds two, beside what the quantiser takes.
constexpr uint32_t kMaxLandedWidth = 32768;

/// Assigns addresses to tensors that are never accessed: they do not overlap, and each starts at an
/// L2 line.
class DryTensors {
public:
    uint64_t Add(const std::string& name, uint64_t bytes, bool writable) {
        const uint64_t address = next_;
        twin::GmTensor tensor;
        tensor.name = name;
        tensor.data = reinterpret_cast<void*>(address);
        tensor.bytes = bytes;
        tensor.writable = writable;
        tensor.present = false;
        tensors_.push_back(tensor);
        next_ += plan::RoundUp(bytes, plan::kGmAlignment);
        return address;
    }
    std::vector<twin::GmTensor> Take() { return std::move(tensors_); }

private:
    uint64_t next_ = uint64_t{1} << 40;
    std::vector<twin::GmTensor> tensors_;
};

std::string Run(const std::string& name, twin::KernelKind kind, const arch::Chip& chip,
                uint32_t cores, DryTensors& tensors, const std::function<void()>& body) {
    twin::Trace trace;
    twin::LaunchConfig config;
    config.name = name;
    config.chip = &chip;
    config.kind = kind;
    config.block_count = cores;
    config.tensors = tensors.Take();
    config.trace = &trace;
    config.dry = true;
    twin::Launch(config, body);
    return trace.Serialise();
}

struct NamedMatmul {
    const char* name;
    void (*kernel)(MatmulAddresses, MatmulPlan);
};

NamedMatmul MatmulKernel(ProductType type) {
    switch (type) {
        case ProductType::kInt8:
            return {"matmul_int8", &matmul_int8};
        case ProductType::kBf16:
            return {"matmul_bf16", &matmul_bf16};
        default:
            return {"matmul_fp16", &matmul_fp16};
    }
}

}  // namespace

ProductType FindProductType(const std::string& name) {
    if (name == "fp16") return ProductType::kFp16;
    if (name == "bf16") return ProductType::kBf16;
    if (name == "int8") return ProductType::kInt8;
    throw std::invalid_argument("matmul: 'dtype': expected fp16, bf16 or int8, got " +
                                arch::Quoted(name));
}

MatmulPlan PlanMatmul(const MatmulCase& shape, const arch::Chip& chip) {
    plan::GemmProblem problem;
    problem.name = "matmul";
    problem.m = shape.m;
    problem.n = shape.n;
    problem.k = shape.k;
    problem.cores = shape.cores == 0 ? chip.aic_count : shape.cores;
    problem.architecture = chip.architecture;
    problem.a_row_stride = shape.k;
    problem.c_row_stride = shape.n;
    problem.int8 = shape.type == ProductType::kInt8;
    if (problem.int8) {
        problem.layout = shape.nz ? plan::WeightLayout::kInOutNz : plan::WeightLayout::kInOut;
    } else {
        problem.layout = shape.nz ? plan::WeightLayout::kOutInNz : plan::WeightLayout::kOutIn;
    }
    problem.row_shares = plan::BestRowShares(problem);
    MatmulPlan plan{};
    plan.gemm = plan::PlanGemm(problem);
    plan.buffers = plan::PlanGemmBuffers({plan.gemm}, *chip.architecture);
    return plan;
}

std::string TraceMatmul(const MatmulCase& shape, const arch::Chip& chip) {
    const MatmulPlan plan = PlanMatmul(shape, chip);
    const auto& [name, kernel] = MatmulKernel(shape.type);
    const uint64_t in = plan.gemm.element_bytes;
    const uint64_t out = shape.type == ProductType::kInt8 ? sizeof(int32_t) : plan::kHalfBytes;
    DryTensors tensors;
    MatmulAddresses addresses{};
    addresses.a = tensors.Add("a", in * shape.m * shape.k, false);
    addresses.weight = tensors.Add("weight", in * shape.n * shape.k, false);
    addresses.c = tensors.Add("c", out * shape.m * shape.n, true);
    return Run(name, twin::KernelKind::kAicOnly, chip, shape.cores, tensors,
               [&, kernel = kernel] { kernel(addresses, plan); });
}

std::string TraceQuantMatmul(const MatmulCase& shape, const arch::Chip& chip) {
    const MatmulPlan matmul = PlanMatmul(shape, chip);
    const uint64_t m = shape.m;
    const auto format = plan::W8A8(plan::LayoutOf(matmul.gemm), plan::LinearScales::kDynamic);
    const QuantMatmulPlan plan{matmul.buffers, matmul.gemm, format};
    const uint64_t tiles =
        uint64_t{shape.cores == 0 ? chip.aic_count : shape.cores} * plan::kSumsRingSlots;
    DryTensors tensors;
    QuantMatmulAddresses addresses{};
    addresses.a = tensors.Add("a", m * shape.k, false);
    addresses.a_scales = tensors.Add("a_scales", m * plan::kBlockBytes, false);
    addresses.weight = tensors.Add("weight", uint64_t{shape.n} * shape.k, false);
    addresses.quant.dequant_scale = tensors.Add("dequant_scale", uint64_t{shape.n} * 4, false);
    addresses.sums =
        tensors.Add("sums", tiles * plan.gemm.tile_m * plan.gemm.tile_n * sizeof(int32_t), true);
    addresses.c = tensors.Add("c", m * shape.n * plan::kHalfBytes, true);
    return Run("quant_matmul_bf16", twin::KernelKind::kMixAic1Aiv2, chip, shape.cores, tensors,
               [&] { quant_matmul_bf16(addresses, plan); });
}

QuantisePlan PlanQuantise(const QuantiseCase& shape) {
    if (shape.rows == 0 || shape.width == 0 || shape.width % plan::kLanes != 0 ||
        shape.width > kMaxLandedWidth) {
        throw std::invalid_argument("quantise: expected rows of a multiple of 64 up to " +
                                    std::to_string(kMaxLandedWidth) + " elements, got " +
                                    std::to_string(shape.rows) + " rows of " +
                                    std::to_string(shape.width));
    }
    const bool whole = shape.width <= plan::kMaxQuantisedRow;
    return {shape.rows, shape.width, whole ? shape.width : plan::kMaxQuantisedPiece};
}

std::string TraceQuantise(const QuantiseCase& shape, const arch::Chip& chip) {
    const QuantisePlan plan = PlanQuantise(shape);
    const uint64_t elements = uint64_t{shape.rows} * shape.width;
    DryTensors tensors;
    QuantiseAddresses addresses{};
    addresses.source = tensors.Add("source", elements * plan::kHalfBytes, false);
    addresses.target = tensors.Add("target", elements, true);
    addresses.scales = tensors.Add("scales", uint64_t{shape.rows} * plan::kBlockBytes, true);
    return Run(shape.bf16 ? "quantise_bf16" : "quantise_fp16", twin::KernelKind::kAivOnly, chip,
               shape.cores, tensors,
               [&] { (shape.bf16 ? quantise_bf16 : quantise_fp16)(addresses, plan); });
}

CopyPlan PlanCopy(const CopyCase& shape, uint64_t address) {
    const bool whole = shape.slices > 0 && shape.repeats > 0 && shape.tile_rows > 0 &&
                       shape.tile_bytes > 0 && shape.tile_bytes % plan::kBlockBytes == 0 &&
                       shape.row_bytes % (uint64_t{shape.slices} * shape.tile_bytes) == 0;
    const uint64_t tile = uint64_t{shape.tile_rows} * shape.tile_bytes;
    const uint32_t room =
        shape.to_l1 ? arch::DavC220::kUsableL1Bytes : arch::DavC220::kUsableUbBytes;
    if (!whole || shape.rows == 0 || tile > room) {
        throw std::invalid_argument(
            "copy: expected tiles of whole 32-byte blocks that divide a slice of a row and fit " +
            std::to_string(room) + " bytes, got " + std::to_string(shape.tile_rows) + " rows of " +
            std::to_string(shape.tile_bytes) + " bytes");
    }
    CopyPlan plan{};
    plan.address = address;
    plan.rows = shape.rows;
    plan.row_bytes = shape.row_bytes;
    plan.tile_rows = shape.tile_rows;
    plan.tile_bytes = shape.tile_bytes;
    plan.slices = shape.slices;
    plan.repeats = shape.repeats;
    plan.slots = static_cast<uint32_t>(room / tile);
    return plan;
}

std::string TraceCopy(const CopyCase& shape, const arch::Chip& chip) {
    DryTensors tensors;
    const uint64_t bytes = uint64_t{shape.rows} * shape.row_bytes;
    const CopyPlan plan = PlanCopy(shape, tensors.Add("matrix", bytes, false));
    return Run(shape.to_l1 ? "copy_gm_l1" : "copy_gm_ub",
               shape.to_l1 ? twin::KernelKind::kAicOnly : twin::KernelKind::kAivOnly, chip,
               shape.cores, tensors, [&] { (shape.to_l1 ? copy_gm_l1 : copy_gm_ub)(plan); });
}

}  // namespace lab
