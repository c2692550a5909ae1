// mla_prolog: argument checks, Meta and the CPU (twin) implementation.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <sstream>
#include <tuple>
#include <unordered_set>

#include "ops/checks.h"
#include "ops/twin_backend.h"
#include "ops/twin_settings.h"
#include "plan/plan_mla_prolog.h"

// The device entry points as the host compiles them; parameters in the order of
// kernels/mla_prolog.cpp.
using MlaPrologKernel = void(uint8_t* hidden_states, uint8_t* qkv_a_weight,
                             uint8_t* q_a_norm_weight, uint8_t* q_a_norm_bias, uint8_t* q_b_weight,
                             uint8_t* w_uk, uint8_t* kv_a_norm_weight, uint8_t* cos, uint8_t* sin,
                             uint8_t* slot_mapping, uint8_t* kv_cache, uint8_t* rope_cache,
                             uint8_t* q_nope, uint8_t* q_rope, uint8_t* q_c, uint8_t* workspace,
                             MlaPrologPlan plan);
extern "C" MlaPrologKernel mla_prolog_bf16;
extern "C" MlaPrologKernel mla_prolog_fp16;

namespace ops {

namespace {

using Outputs = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

constexpr const char* kOp = "mla_prolog";
constexpr int64_t kStrip = plan::kStrip;
constexpr int64_t kLanes = 64;  // fp32 elements of one vector repeat

struct Arguments {
    const at::Tensor& hidden_states;
    const at::Tensor& qkv_a_weight;
    const at::Tensor& q_a_norm_weight;
    const at::Tensor& q_b_weight;
    const at::Tensor& w_uk;
    const at::Tensor& kv_a_norm_weight;
    const at::Tensor& cos;
    const at::Tensor& sin;
    const at::Tensor& slot_mapping;
    const at::Tensor& kv_cache;
    const at::Tensor& rope_cache;
    const std::optional<at::Tensor>& q_a_norm_bias;
    double eps;
    bool rope_interleaved;
    at::TensorList prefetch;
    std::optional<int64_t> prefetch_bytes;
};

/// Sizes read off the arguments; symbolic under torch.compile.
struct Dimensions {
    c10::SymInt tokens, hidden, q_lora, kv_lora, heads, nope;
    int64_t rope = plan::kRopeDim;
};

/// A Linear weight [out, in], or the same in FRACTAL_NZ: [in/16, out, 16].
void CheckWeight(const ArgumentChecks& check, const char* name, const at::Tensor& weight,
                 const c10::SymInt& out, const c10::SymInt& in, at::ScalarType dtype) {
    check.Rank(name, weight, {2, 3});
    if (weight.dim() == 2) {
        check.Dense(name, weight, {out, in}, {dtype});
    } else {
        check.Dense(name, weight, {in / kStrip, out, kStrip}, {dtype});
    }
}

/// [blocks, block size, 1, width]; dim 0 may be strided, rows are dense.
void CheckCache(const ArgumentChecks& check, const char* name, const at::Tensor& cache,
                const c10::SymInt& blocks, const c10::SymInt& block_size, const c10::SymInt& width,
                at::ScalarType dtype) {
    check.Device(name, cache);
    check.DType(name, cache, {dtype});
    check.Shape(name, cache, {blocks, block_size, 1, width});
    // The stride of a dimension of size 1 says nothing, as for contiguity.
    const bool dense_rows =
        cache.sym_stride(3) == 1 && (block_size <= 1 || cache.sym_stride(1) == width);
    const bool apart = blocks <= 1 || cache.sym_stride(0) >= block_size * width;
    if (dense_rows && apart) return;
    check.Require(false, name, "dense rows within a block (only dimension 0 may be strided)",
                  "strides " + ShapeText(cache.sym_strides()));
}

template <typename T>
std::string Text(const T& value) {
    std::ostringstream text;
    text << value;
    return text.str();
}

/// Sizes that the kernel, its fractals and the 16-bit stride fields of its loads can express.
void CheckSizes(const ArgumentChecks& check, const Arguments& args, const Dimensions& dims) {
    const auto strips = [](const c10::SymInt& size) { return size > 0 && size % kStrip == 0; };
    const auto rank = [](const c10::SymInt& size) {
        return size > 0 && size % kLanes == 0 && size <= plan::kMostLoraRank;
    };
    const std::string rank_text =
        "a multiple of 64 up to " + Text(plan::kMostLoraRank) + " elements";
    check.RequireValue(dims.tokens > 0 && dims.tokens <= plan::kMostTokens, "hidden_states",
                       "1 to " + Text(plan::kMostTokens) + " tokens", Text(dims.tokens));
    check.RequireValue(
        strips(dims.hidden) && dims.hidden <= plan::kMostStride, "hidden_states",
        "a hidden size that is a positive multiple of 16 up to " + Text(plan::kMostStride),
        Text(dims.hidden));
    check.RequireValue(rank(dims.q_lora), "q_a_norm_weight", rank_text, Text(dims.q_lora));
    check.RequireValue(rank(dims.kv_lora), "kv_a_norm_weight", rank_text, Text(dims.kv_lora));
    check.RequireValue(dims.heads > 0, "w_uk", "at least one head", Text(dims.heads));
    check.RequireValue(strips(dims.nope), "w_uk", "a nope size that is a positive multiple of 16",
                       Text(dims.nope));
    const c10::SymInt rows = dims.heads * (dims.nope + dims.rope);
    check.RequireValue(rows <= plan::kMostStride, "q_b_weight",
                       "at most " + Text(plan::kMostStride) + " rows", Text(rows));
    check.RequireValue(args.kv_cache.sym_size(1) > 0, "kv_cache", "blocks of at least one row",
                       ShapeText(args.kv_cache.sym_sizes()));
}

Dimensions CheckArguments(const Arguments& args) {
    const ArgumentChecks check(kOp, args.hidden_states.device());
    const auto dtype = args.hidden_states.scalar_type();
    check.DType("hidden_states", args.hidden_states, {at::kBFloat16, at::kHalf});
    check.Rank("hidden_states", args.hidden_states, {2});
    check.Rank("q_a_norm_weight", args.q_a_norm_weight, {1});
    check.Rank("kv_a_norm_weight", args.kv_a_norm_weight, {1});
    check.Rank("w_uk", args.w_uk, {3, 4});
    check.Rank("kv_cache", args.kv_cache, {4});

    Dimensions dims;
    dims.tokens = args.hidden_states.sym_size(0);
    dims.hidden = args.hidden_states.sym_size(1);
    dims.q_lora = args.q_a_norm_weight.sym_size(0);
    dims.kv_lora = args.kv_a_norm_weight.sym_size(0);
    dims.heads = args.w_uk.sym_size(0);
    dims.nope = args.w_uk.sym_size(args.w_uk.dim() - 2);

    check.Contiguous("hidden_states", args.hidden_states);
    CheckWeight(check, "qkv_a_weight", args.qkv_a_weight, dims.q_lora + dims.kv_lora + dims.rope,
                dims.hidden, dtype);
    check.Dense("q_a_norm_weight", args.q_a_norm_weight, {dims.q_lora}, {dtype});
    CheckWeight(check, "q_b_weight", args.q_b_weight, dims.heads * (dims.nope + dims.rope),
                dims.q_lora, dtype);
    if (args.w_uk.dim() == 3) {
        check.Dense("w_uk", args.w_uk, {dims.heads, dims.nope, dims.kv_lora}, {dtype});
    } else {
        check.Dense("w_uk", args.w_uk, {dims.heads, dims.kv_lora / kStrip, dims.nope, kStrip},
                    {dtype});
    }
    check.Dense("kv_a_norm_weight", args.kv_a_norm_weight, {dims.kv_lora}, {dtype});
    check.Dense("cos", args.cos, {dims.tokens, dims.rope}, {dtype, at::kFloat});
    check.Dense("sin", args.sin, {dims.tokens, dims.rope}, {args.cos.scalar_type()});
    check.Dense("slot_mapping", args.slot_mapping, {dims.tokens}, {at::kInt, at::kLong});
    const auto blocks = args.kv_cache.sym_size(0);
    const auto block_size = args.kv_cache.sym_size(1);
    CheckCache(check, "kv_cache", args.kv_cache, blocks, block_size, dims.kv_lora, dtype);
    CheckCache(check, "rope_cache", args.rope_cache, blocks, block_size, dims.rope, dtype);
    if (args.q_a_norm_bias)
        check.Dense("q_a_norm_bias", *args.q_a_norm_bias, {dims.q_lora}, {dtype});

    CheckSizes(check, args, dims);
    // The kernel computes in fp32: what it gets must be a positive normal number there.
    const auto eps = static_cast<float>(args.eps);
    check.RequireValue(std::isnormal(eps) && eps > 0, "eps", "a positive normal fp32 number",
                       Text(args.eps));
    check.RequireValue(args.prefetch.size() <= plan::kMostPrefetchRegions, "prefetch",
                       "at most " + std::to_string(plan::kMostPrefetchRegions) + " tensors",
                       std::to_string(args.prefetch.size()));
    for (size_t i = 0; i < args.prefetch.size(); ++i) {
        const std::string name = "prefetch[" + std::to_string(i) + "]";
        check.Device(name.c_str(), args.prefetch[i]);
        check.Contiguous(name.c_str(), args.prefetch[i]);
    }
    if (args.prefetch_bytes) {
        check.RequireValue(*args.prefetch_bytes >= 0, "prefetch_bytes", "0 or more bytes",
                           std::to_string(*args.prefetch_bytes));
    }
    return dims;
}

Outputs MakeOutputs(const Arguments& args, const Dimensions& dims) {
    const auto options = args.hidden_states.options();
    return {at::empty_symint({dims.tokens, dims.heads, dims.kv_lora}, options),
            at::empty_symint({dims.tokens, dims.heads, dims.rope}, options),
            at::empty_symint({dims.tokens, dims.q_lora}, options)};
}

uint32_t Concrete(const c10::SymInt& value) { return static_cast<uint32_t>(value.expect_int()); }

plan::MlaPrologProblem MakeProblem(const Arguments& args, const Dimensions& dims) {
    plan::MlaPrologProblem problem;
    problem.tokens = Concrete(dims.tokens);
    problem.hidden_size = Concrete(dims.hidden);
    problem.heads = Concrete(dims.heads);
    problem.q_lora_rank = Concrete(dims.q_lora);
    problem.kv_lora_rank = Concrete(dims.kv_lora);
    problem.nope_dim = Concrete(dims.nope);
    problem.rope_dim = static_cast<uint32_t>(dims.rope);
    problem.eps = static_cast<float>(args.eps);
    problem.rope_interleaved = args.rope_interleaved;
    problem.rope_table_float = args.cos.scalar_type() == at::kFloat;
    problem.has_q_a_bias = args.q_a_norm_bias.has_value();
    problem.slots_int64 = args.slot_mapping.scalar_type() == at::kLong;
    problem.cache_block_size = static_cast<uint32_t>(args.kv_cache.size(1));
    problem.kv_cache_stride = static_cast<uint64_t>(args.kv_cache.stride(0));
    problem.rope_cache_stride = static_cast<uint64_t>(args.rope_cache.stride(0));
    using plan::WeightLayout;
    problem.qkv_a_layout =
        args.qkv_a_weight.dim() == 2 ? WeightLayout::kOutIn : WeightLayout::kOutInNz;
    problem.q_b_layout = args.q_b_weight.dim() == 2 ? WeightLayout::kOutIn : WeightLayout::kOutInNz;
    problem.w_uk_layout = args.w_uk.dim() == 3 ? WeightLayout::kInOut : WeightLayout::kInOutNz;
    for (const at::Tensor& tensor : args.prefetch) {
        problem.prefetch.push_back({reinterpret_cast<uintptr_t>(tensor.data_ptr()),
                                    static_cast<uint64_t>(tensor.nbytes())});
    }
    if (args.prefetch_bytes) problem.prefetch_bytes = static_cast<uint64_t>(*args.prefetch_bytes);
    return problem;
}

MlaPrologPlan MakePlan(const Arguments& args, const Dimensions& dims, const arch::Chip& chip) {
    try {
        return plan::PlanMlaProlog(MakeProblem(args, dims), chip);
    } catch (const std::invalid_argument& error) {
        TORCH_CHECK_VALUE(false, "ascend_prefetch::", kOp, ": ", error.what());
    }
}

/// -1 skips a row; anything else has to name a row of the cache that no other token names.
void CheckSlots(const Arguments& args) {
    const int64_t rows = args.kv_cache.size(0) * args.kv_cache.size(1);
    const at::Tensor slots = args.slot_mapping.to(at::kLong);
    const auto values = slots.accessor<int64_t, 1>();
    const ArgumentChecks check(kOp, args.hidden_states.device());
    std::unordered_set<int64_t> seen;
    for (int64_t i = 0; i < values.size(0); ++i) {
        const int64_t slot = values[i];
        const std::string at_index = Text(slot) + " at index " + Text(i);
        check.RequireValue(slot >= -1 && slot < rows, "slot_mapping",
                           "-1 or a slot below " + Text(rows), at_index);
        check.RequireValue(slot < 0 || seen.insert(slot).second, "slot_mapping", "distinct slots",
                           at_index + " again");
    }
}

/// No byte is fetched twice: regions lie apart from each other and from the weights that the op
/// reads itself.
void CheckPrefetchApart(const Arguments& args) {
    struct Range {
        std::string name;
        uintptr_t begin;
        uintptr_t end;
    };
    std::vector<Range> ranges;
    const ArgumentChecks check(kOp, args.hidden_states.device());
    const auto add = [&](const std::string& name, const at::Tensor& tensor) {
        const auto begin = reinterpret_cast<uintptr_t>(tensor.data_ptr());
        ranges.push_back({name, begin, begin + tensor.nbytes()});
    };
    add("qkv_a_weight", args.qkv_a_weight);
    add("q_b_weight", args.q_b_weight);
    add("w_uk", args.w_uk);
    const size_t own = ranges.size();
    for (size_t i = 0; i < args.prefetch.size(); ++i)
        add("prefetch[" + Text(i) + "]", args.prefetch[i]);
    for (size_t i = own; i < ranges.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
            const bool apart = ranges[i].end <= ranges[j].begin || ranges[j].end <= ranges[i].begin;
            check.RequireValue(apart, ranges[i].name.c_str(), "bytes that nothing else fetches",
                               "memory shared with '" + ranges[j].name + "'");
        }
    }
}

Outputs RunOnCpu(const Arguments& args, const Dimensions& dims) {
    CheckSlots(args);
    CheckPrefetchApart(args);
    const arch::Chip& chip = TwinChip();
    const MlaPrologPlan plan = MakePlan(args, dims, chip);
    const Outputs outputs = MakeOutputs(args, dims);
    const auto& [q_nope, q_rope, q_c] = outputs;
    const at::Tensor workspace =
        at::empty({static_cast<int64_t>(plan::MlaPrologWorkspaceBytes(plan))},
                  args.hidden_states.options().dtype(at::kByte));
    const at::Tensor bias = args.q_a_norm_bias.value_or(at::Tensor());

    std::vector<twin::GmTensor> tensors = {TwinInput("hidden_states", args.hidden_states),
                                           TwinInput("qkv_a_weight", args.qkv_a_weight),
                                           TwinInput("q_a_norm_weight", args.q_a_norm_weight),
                                           TwinInput("q_b_weight", args.q_b_weight),
                                           TwinInput("w_uk", args.w_uk),
                                           TwinInput("kv_a_norm_weight", args.kv_a_norm_weight),
                                           TwinInput("cos", args.cos),
                                           TwinInput("sin", args.sin),
                                           TwinInput("slot_mapping", args.slot_mapping),
                                           TwinOutput("kv_cache", args.kv_cache),
                                           TwinOutput("rope_cache", args.rope_cache),
                                           TwinOutput("q_nope", q_nope),
                                           TwinOutput("q_rope", q_rope),
                                           TwinOutput("q_c", q_c),
                                           TwinOutput("workspace", workspace)};
    if (bias.defined()) tensors.push_back(TwinInput("q_a_norm_bias", bias));
    for (size_t i = 0; i < args.prefetch.size(); ++i) {
        tensors.push_back(TwinInput("prefetch[" + std::to_string(i) + "]", args.prefetch[i]));
    }
    const bool bf16 = args.hidden_states.scalar_type() == at::kBFloat16;
    MlaPrologKernel& kernel = bf16 ? mla_prolog_bf16 : mla_prolog_fp16;
    RunOnTwin(bf16 ? "mla_prolog_bf16" : "mla_prolog_fp16", chip, std::move(tensors), [&] {
        kernel(KernelAddress(args.hidden_states), KernelAddress(args.qkv_a_weight),
               KernelAddress(args.q_a_norm_weight), KernelAddress(bias),
               KernelAddress(args.q_b_weight), KernelAddress(args.w_uk),
               KernelAddress(args.kv_a_norm_weight), KernelAddress(args.cos),
               KernelAddress(args.sin), KernelAddress(args.slot_mapping),
               KernelAddress(args.kv_cache), KernelAddress(args.rope_cache), KernelAddress(q_nope),
               KernelAddress(q_rope), KernelAddress(q_c), KernelAddress(workspace), plan);
    });
    return outputs;
}

enum class Backend { kMeta, kTwin };

template <Backend kBackend>
Outputs MlaProlog(const at::Tensor& hidden_states, const at::Tensor& qkv_a_weight,
                  const at::Tensor& q_a_norm_weight, const at::Tensor& q_b_weight,
                  const at::Tensor& w_uk, const at::Tensor& kv_a_norm_weight, const at::Tensor& cos,
                  const at::Tensor& sin, const at::Tensor& slot_mapping, at::Tensor& kv_cache,
                  at::Tensor& rope_cache, const std::optional<at::Tensor>& q_a_norm_bias,
                  double eps, bool rope_interleaved,
                  const std::optional<std::vector<at::Tensor>>& prefetch,
                  std::optional<int64_t> prefetch_bytes) {
    const Arguments args = {hidden_states,
                            qkv_a_weight,
                            q_a_norm_weight,
                            q_b_weight,
                            w_uk,
                            kv_a_norm_weight,
                            cos,
                            sin,
                            slot_mapping,
                            kv_cache,
                            rope_cache,
                            q_a_norm_bias,
                            eps,
                            rope_interleaved,
                            prefetch ? at::TensorList(*prefetch) : at::TensorList(),
                            prefetch_bytes};
    const Dimensions dims = CheckArguments(args);
    if constexpr (kBackend == Backend::kMeta) {
        return MakeOutputs(args, dims);
    } else {
        return RunOnCpu(args, dims);
    }
}

}  // namespace

TORCH_LIBRARY_IMPL(ascend_prefetch, Meta, m) { m.impl("mla_prolog", &MlaProlog<Backend::kMeta>); }
TORCH_LIBRARY_IMPL(ascend_prefetch, CPU, m) { m.impl("mla_prolog", &MlaProlog<Backend::kTwin>); }

}  // namespace ops
