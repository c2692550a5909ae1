// o_proj: argument checks, the Meta kernel and the run on a device.
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "ops/arguments.h"
#include "ops/backend.h"
#include "ops/checks.h"
#include "ops/linear.h"
#include "ops/plan_log.h"
#include "ops/prefetch_request.h"
#include "ops/run_kernel.h"
#include "plan/o_proj_plan.h"
#include "plan/plan_o_proj.h"
#include "plan/units.h"

namespace ops {

namespace {

constexpr const char* kOp = "o_proj";
constexpr int64_t kStrip = plan::kStrip;
constexpr int64_t kLanes = plan::kLanes;
constexpr int64_t kMaxStride = plan::kMaxStride;

struct Arguments {
    at::Tensor attn_output;
    LinearArguments o_proj{"o_proj_weight", ""};
    OptionalTensor w_uv;
    OptionalTensor bias;
    PrefetchArguments prefetch;
};

template <typename Visit>
void VisitArguments(Arguments& args, Visit&& visit) {
    visit("attn_output", args.attn_output);
    VisitArguments(args.o_proj, visit);
    visit("w_uv", args.w_uv);
    visit("bias", args.bias);
    VisitArguments(args.prefetch, visit);
}

/// Sizes taken from the arguments; they are symbolic under torch.compile.
struct Dimensions {
    c10::SymInt tokens, heads, kv_lora, columns, hidden;  ///< columns: heads * v
    bool heads_outermost = false;                         ///< attn_output is [N, T, kv_lora] in GM
};

/// Whether a tensor [T, N, kv_lora] is the transpose of a contiguous [N, T, kv_lora]. If T or N is
/// 1, it is also contiguous.
bool IsHeadsOutermost(const at::Tensor& latent) {
    const auto strides = latent.sym_strides();
    const auto row = latent.sym_size(2);
    return strides[2] == 1 && strides[0] == row && strides[1] == latent.sym_size(0) * row;
}

void CheckUpProjection(const ArgumentChecks& check, const Arguments& args, Dimensions& dims,
                       at::ScalarType dtype) {
    const at::Tensor& w_uv = *args.w_uv;
    check.Rank("attn_output", args.attn_output, {3});
    check.Rank("w_uv", w_uv, {3, 4});
    dims.heads = args.attn_output.sym_size(1);
    dims.kv_lora = args.attn_output.sym_size(2);
    const auto value = w_uv.dim() == 3 ? w_uv.sym_size(2) : w_uv.sym_size(1) * kStrip;
    dims.columns = dims.heads * value;
    if (w_uv.dim() == 3) {
        check.Dense("w_uv", w_uv, {dims.heads, dims.kv_lora, value}, {dtype});
    } else {
        check.Dense("w_uv", w_uv, {dims.heads, value / kStrip, dims.kv_lora, kStrip}, {dtype});
    }
    const auto strips = [](const c10::SymInt& size) { return size > 0 && size % kStrip == 0; };
    check.RequireValue(dims.heads > 0, "attn_output", "at least one head", dims.heads);
    check.RequireValue(strips(dims.kv_lora), "attn_output",
                       "a latent size that is a positive multiple of 16", dims.kv_lora);
    check.RequireValue(strips(value), "w_uv", "a value size that is a positive multiple of 16",
                       value);
    check.RequireValue(dims.kv_lora <= kMaxStride && value <= kMaxStride, "w_uv",
                       Text("at most ", kMaxStride, " rows and columns"),
                       ShapeText({dims.kv_lora, value}));
}

Dimensions CheckArguments(const ArgumentChecks& check, const Arguments& args) {
    const auto dtype = args.attn_output.scalar_type();
    check.DType("attn_output", args.attn_output, {at::kBFloat16, at::kHalf});
    CheckForm(check, args.o_proj, dtype);
    Dimensions dims;
    dims.tokens = args.attn_output.dim() > 0 ? args.attn_output.sym_size(0) : c10::SymInt(0);
    if (args.w_uv) {
        CheckUpProjection(check, args, dims, dtype);
    } else {
        check.Rank("attn_output", args.attn_output, {2});
        dims.columns = args.attn_output.sym_size(1);
    }
    if (args.w_uv && !args.attn_output.is_contiguous()) {
        dims.heads_outermost = IsHeadsOutermost(args.attn_output);
        check.Require(dims.heads_outermost, "attn_output",
                      "a contiguous tensor, or the transpose of a contiguous [N, T, kv_lora]",
                      Text("strides ", ShapeText(args.attn_output.sym_strides())));
    } else {
        check.Contiguous("attn_output", args.attn_output);
    }
    check.RequireValue(dims.tokens > 0 && dims.tokens <= plan::kMaxTokens, "attn_output",
                       Text("1 to ", plan::kMaxTokens, " tokens"), dims.tokens);
    constexpr int64_t kMaxRow = plan::kMaxLeftStrideBytes / plan::kHalfBytes;
    const c10::SymInt row = !args.w_uv             ? dims.columns
                            : dims.heads_outermost ? dims.kv_lora
                                                   : dims.heads * dims.kv_lora;
    check.RequireValue(row > 0 && row <= kMaxRow && row % kStrip == 0, "attn_output",
                       Text("rows of a positive multiple of 16 up to ", kMaxRow, " elements"), row);
    dims.hidden = OutFeatures(args.o_proj);
    CheckLinear(check, args.o_proj, dims.hidden, dims.columns, dtype);
    check.RequireValue(dims.hidden > 0 && dims.hidden % kStrip == 0, "o_proj_weight",
                       "a hidden size that is a positive multiple of 16", dims.hidden);
    check.RequireValue(dims.hidden <= kMaxStride && dims.columns <= kMaxStride, "o_proj_weight",
                       Text("at most ", kMaxStride, " in and out features"),
                       ShapeText({dims.columns, dims.hidden}));
    if (args.bias) {
        check.Dense("bias", *args.bias, {dims.hidden}, {dtype, at::kFloat});
        check.RequireValue(dims.hidden % kLanes == 0, "bias",
                           "a hidden size that is a multiple of 64 with a bias", dims.hidden);
    }
    CheckPrefetch(check, args.prefetch);
    return dims;
}

at::Tensor MakeResult(const Arguments& args, const Dimensions& dims) {
    return at::empty_symint({dims.tokens, dims.hidden}, args.attn_output.options());
}

uint32_t Concrete(const c10::SymInt& value) { return static_cast<uint32_t>(value.expect_int()); }

plan::OProjProblem MakeProblem(const Arguments& args, const Dimensions& dims) {
    plan::OProjProblem problem;
    problem.tokens = Concrete(dims.tokens);
    problem.value_columns = Concrete(dims.columns);
    problem.hidden_size = Concrete(dims.hidden);
    if (args.w_uv) {
        problem.heads = Concrete(dims.heads);
        problem.kv_lora_rank = Concrete(dims.kv_lora);
        problem.heads_outermost = dims.heads_outermost;
        problem.w_uv = InOutLayout(*args.w_uv, 3);
    }
    problem.has_bias = args.bias.has_value();
    problem.bias_float = args.bias && args.bias->scalar_type() == at::kFloat;
    problem.o_proj = FormatOf(args.o_proj);
    return problem;
}

struct Plans {
    OProjPlan shape;
    OProjWarm warm;
};

Plans MakePlans(const Arguments& args, const Dimensions& dims, const arch::Chip& chip) {
    try {
        PlanLogger logger(kOp);
        const plan::OProjShapePlan shape = plan::CachedPlanOProj(MakeProblem(args, dims), chip);
        return {shape.kernel,
                plan::PlanOProjWarm(shape, chip, RequestOf(args.prefetch), logger.report())};
    } catch (const std::invalid_argument& error) {
        TORCH_CHECK_VALUE(false, "ascend_prefetch::", kOp, ": ", error.what());
    }
}

/// The name of the entry point in csrc/kernels.
const char* ChooseKernel(const Arguments& args) {
    const bool bf16 = args.attn_output.scalar_type() == at::kBFloat16;
    if (args.o_proj.quantised()) return bf16 ? "o_proj_bf16_w8a8" : "o_proj_fp16_w8a8";
    return bf16 ? "o_proj_bf16" : "o_proj_fp16";
}

at::Tensor Launch(const ArgumentChecks& check, const Arguments& args, const Dimensions& dims) {
    const Target target = TargetOf(kOp, args.attn_output.device());
    const c10::OptionalDeviceGuard guard(args.attn_output.device());
    LaunchTensors tensors(check, target);
    OProjAddresses addresses{};
    addresses.attn_output = tensors.Read("attn_output", args.attn_output);
    addresses.w_uv = tensors.Read("w_uv", args.w_uv);
    addresses.o_proj_weight = tensors.Read("o_proj_weight", args.o_proj.weight);
    addresses.quant = BindQuant(tensors, args.o_proj);
    addresses.bias = tensors.Read("bias", args.bias);
    BindPrefetch(tensors, args.prefetch);
    tensors.CheckApart();
    if (target.device.HostReads() && target.device.Computes()) {
        CheckQuantValues(check, args.o_proj);
    }
    const Plans plans = MakePlans(args, dims, target.chip);
    const at::Tensor result = MakeResult(args, dims);
    const at::Tensor workspace = at::empty({static_cast<int64_t>(plans.shape.workspace_bytes)},
                                           args.attn_output.options().dtype(at::kByte));
    addresses.out = tensors.WriteFresh("out", result);
    addresses.workspace = tensors.WriteFresh("workspace", workspace);

    RunOnAllCores(ChooseKernel(args), target, tensors, addresses, plans.shape, plans.warm);
    return result;
}

struct OProj {
    using Arguments = ops::Arguments;

    static constexpr const char* kName = kOp;

    static at::Tensor Run(const Arguments& args, Backend backend) {
        const ArgumentChecks check(kOp, args.attn_output);
        const Dimensions dims = CheckArguments(check, args);
        if (backend == Backend::kMeta) return MakeResult(args, dims);
        return Launch(check, args, dims);
    }
};

}  // namespace

TORCH_LIBRARY_IMPL(ascend_prefetch, Meta, m) { m.impl(kOp, KernelOf<OProj, Backend::kMeta>()); }
TORCH_LIBRARY_IMPL(ascend_prefetch, CPU, m) { m.impl(kOp, KernelOf<OProj, Backend::kRun>()); }
TORCH_LIBRARY_IMPL(ascend_prefetch, PrivateUse1, m) {
    m.impl(kOp, KernelOf<OProj, Backend::kRun>());
}

}  // namespace ops
