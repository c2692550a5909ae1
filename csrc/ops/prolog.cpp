#include "ops/prolog.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <cmath>
#include <utility>

#include "ops/cache.h"
#include "ops/checks.h"
#include "ops/plan_log.h"
#include "ops/run_kernel.h"
#include "plan/plan_prolog.h"
#include "plan/prolog_plan.h"
#include "plan/units.h"

namespace ops {

namespace {

constexpr int64_t kStrip = plan::kStrip;
constexpr int64_t kLanes = plan::kLanes;
constexpr int64_t kRope = plan::kRopeDim;

/// Sizes taken from the arguments; they are symbolic under torch.compile.
struct Dimensions {
    c10::SymInt tokens, hidden, q_lora, kv_lora, heads, nope;
    c10::SymInt indexer_heads, indexer_dim;
};

const IndexerArguments* Indexer(const PrologArguments& args) {
    return args.indexer && args.indexer->present() ? &*args.indexer : nullptr;
}

bool HasLatent(const PrologArguments& args) { return args.q_a_norm_weight.has_value(); }

/// Checks that the kernel, its fractals and the 16-bit stride fields of its loads can express the
/// sizes.
void CheckSizes(const ArgumentChecks& check, const PrologArguments& args, const Dimensions& dims) {
    const auto strips = [](const c10::SymInt& size) { return size > 0 && size % kStrip == 0; };
    const auto rank = [](const c10::SymInt& size, int64_t most) {
        return size > 0 && size % kLanes == 0 && size <= most;
    };
    const auto most_rank = static_cast<int64_t>(plan::kMaxLoraRank);
    const Text most_rank_text("a multiple of 64 up to ", most_rank, " elements");
    check.RequireValue(dims.tokens > 0 && dims.tokens <= plan::kMaxTokens, "hidden_states",
                       Text("1 to ", plan::kMaxTokens, " tokens"), dims.tokens);
    check.RequireValue(
        strips(dims.hidden) && dims.hidden <= plan::kMaxStride, "hidden_states",
        Text("a hidden size that is a positive multiple of 16 up to ", plan::kMaxStride),
        dims.hidden);
    if (HasLatent(args)) {
        check.RequireValue(rank(dims.q_lora, most_rank), "q_a_norm_weight", most_rank_text,
                           dims.q_lora);
    }
    check.RequireValue(rank(dims.kv_lora, most_rank), "kv_a_norm_weight", most_rank_text,
                       dims.kv_lora);
    check.RequireValue(dims.heads > 0, "w_uk", "at least one head", dims.heads);
    check.RequireValue(strips(dims.nope), "w_uk", "a nope size that is a positive multiple of 16",
                       dims.nope);
    check.RequireValue(!args.q_b.quantised() || rank(dims.nope, plan::kMaxInt8NopeDim), "w_uk",
                       Text("a nope size that is a multiple of 64 up to ", plan::kMaxInt8NopeDim,
                            " elements where q_b is int8"),
                       dims.nope);
    const c10::SymInt rows = dims.heads * (dims.nope + kRope);
    check.RequireValue(rows <= plan::kMaxStride, "q_b_weight",
                       Text("at most ", plan::kMaxStride, " rows"), rows);
    const c10::SymInt block_size = CacheBlockSize(args.kv_cache);
    check.RequireValue(block_size > 0 && block_size <= plan::kMaxCacheRows, "kv_cache",
                       Text("blocks of 1 to ", plan::kMaxCacheRows, " rows"), block_size);
}

/// The kernel computes in fp32, where eps must be a positive normal number.
void CheckEps(const ArgumentChecks& check, const char* name, double value) {
    const auto eps = static_cast<float>(value);
    check.RequireValue(std::isnormal(eps) && eps > 0, name, "a positive normal fp32 number", value);
}

LatentCacheArguments LatentCache(const PrologArguments& args) {
    return {args.kv_cache, args.rope_cache, args.kv_cache_scale};
}

/// Checks that all of an indexer's arguments are given, or none.
void CheckIndexerPresence(const ArgumentChecks& check, const IndexerArguments& indexer) {
    const std::pair<const char*, bool> needed[] = {
        {"indexer_cache", indexer.cache.has_value()},
        {"indexer_wk", indexer.wk.has_value()},
        {"indexer_k_norm_weight", indexer.k_norm_weight.has_value()},
        {"indexer_k_norm_bias", indexer.k_norm_bias.has_value()}};
    for (const auto& [name, given] : needed) {
        check.Require(
            given == indexer.present(), name,
            indexer.present() ? "a tensor beside 'indexer_wq_b'" : "None without 'indexer_wq_b'",
            given ? "a tensor" : "None");
    }
    if (indexer.present()) return;
    check.Require(!indexer.weights_proj.has_value(), "indexer_weights_proj",
                  "None without 'indexer_wq_b'", "a tensor");
    VisitQuant(indexer.wq_b, [&](const ArgumentName& name, const OptionalTensor& tensor) {
        check.Require(!tensor.has_value(), name, "None without 'indexer_wq_b'", "a tensor");
    });
}

void CheckIndexer(const ArgumentChecks& check, const PrologArguments& args,
                  const IndexerArguments& indexer, Dimensions& dims, at::ScalarType dtype) {
    check.Require(HasLatent(args), "indexer_wq_b", "None for models without a query latent",
                  "a tensor");
    CheckForm(check, indexer.wq_b, dtype);
    check.Rank("indexer_k_norm_weight", *indexer.k_norm_weight, {1});
    dims.indexer_dim = indexer.k_norm_weight->sym_size(0);
    const auto dim = dims.indexer_dim;
    check.RequireValue(
        dim > kRope && dim % kLanes == 0 && dim <= plan::kMaxIndexerHeadDim,
        "indexer_k_norm_weight",
        Text("a head size that is a multiple of 64 from 128 to ", plan::kMaxIndexerHeadDim), dim);
    const c10::SymInt columns = OutFeatures(indexer.wq_b);
    check.RequireValue(columns > 0 && columns % dim == 0, "indexer_wq_b",
                       Text("whole heads of ", dim, " features"), columns);
    check.RequireValue(columns <= plan::kMaxStride, "indexer_wq_b",
                       Text("at most ", plan::kMaxStride, " features"), columns);
    dims.indexer_heads = columns / dim;
    check.RequireValue(dims.indexer_heads % kStrip == 0, "indexer_wq_b",
                       "a number of heads that is a multiple of 16", dims.indexer_heads);
    CheckLinear(check, indexer.wq_b, columns, dims.q_lora, dtype);
    check.Rank("indexer_wk", *indexer.wk, {2, 3});
    const c10::SymInt wk_rows = indexer.wk->sym_size(indexer.wk->dim() == 2 ? 0 : 1);
    if (indexer.weights_proj) {
        check.Require(wk_rows != dim + dims.indexer_heads, "indexer_weights_proj",
                      "None beside an 'indexer_wk' that holds its rows", "a tensor");
        CheckWeight(check, "indexer_wk", *indexer.wk, dim, dims.hidden, dtype);
        CheckWeight(check, "indexer_weights_proj", *indexer.weights_proj, dims.indexer_heads,
                    dims.hidden, dtype);
    } else {
        check.Require(wk_rows != dim, "indexer_weights_proj",
                      Text("a tensor beside an 'indexer_wk' of ", dim, " rows"), "None");
        CheckWeight(check, "indexer_wk", *indexer.wk, dim + dims.indexer_heads, dims.hidden, dtype);
    }
    check.Dense("indexer_k_norm_weight", *indexer.k_norm_weight, {dim}, {dtype, at::kFloat});
    check.Dense("indexer_k_norm_bias", *indexer.k_norm_bias, {dim},
                {indexer.k_norm_weight->scalar_type()});
    CheckCache(check, "indexer_cache", *indexer.cache, args.kv_cache, dim, dtype);
    CheckEps(check, "indexer_eps", indexer.eps);
}

Dimensions CheckArguments(const ArgumentChecks& check, const PrologArguments& args) {
    const auto dtype = args.hidden_states.scalar_type();
    check.DType("hidden_states", args.hidden_states, {at::kBFloat16, at::kHalf});
    check.Rank("hidden_states", args.hidden_states, {2});
    if (HasLatent(args)) check.Rank("q_a_norm_weight", *args.q_a_norm_weight, {1});
    check.Rank("kv_a_norm_weight", args.kv_a_norm_weight, {1});
    check.Rank("w_uk", args.w_uk, {3, 4});
    check.Rank("kv_cache", args.kv_cache, {4});

    Dimensions dims;
    dims.tokens = args.hidden_states.sym_size(0);
    dims.hidden = args.hidden_states.sym_size(1);
    dims.q_lora = HasLatent(args) ? args.q_a_norm_weight->sym_size(0) : c10::SymInt(0);
    dims.kv_lora = args.kv_a_norm_weight.sym_size(0);
    dims.heads = args.w_uk.sym_size(0);
    dims.nope = args.w_uk.sym_size(args.w_uk.dim() - 2);

    check.Contiguous("hidden_states", args.hidden_states);
    CheckLinear(check, args.qkv_a, dims.q_lora + dims.kv_lora + kRope, dims.hidden, dtype);
    if (HasLatent(args)) {
        check.Dense("q_a_norm_weight", *args.q_a_norm_weight, {dims.q_lora}, {dtype});
    }
    CheckLinear(check, args.q_b, dims.heads * (dims.nope + kRope),
                HasLatent(args) ? dims.q_lora : dims.hidden, dtype);
    if (args.w_uk.dim() == 3) {
        check.Dense("w_uk", args.w_uk, {dims.heads, dims.nope, dims.kv_lora}, {dtype});
    } else {
        check.Dense("w_uk", args.w_uk, {dims.heads, dims.kv_lora / kStrip, dims.nope, kStrip},
                    {dtype});
    }
    check.Dense("kv_a_norm_weight", args.kv_a_norm_weight, {dims.kv_lora}, {dtype});
    check.Dense("cos", args.cos, {dims.tokens, kRope}, {dtype, at::kFloat});
    check.Dense("sin", args.sin, {dims.tokens, kRope}, {args.cos.scalar_type()});
    check.Dense("slot_mapping", args.slot_mapping, {dims.tokens}, {at::kInt, at::kLong});
    CheckLatentCache(check, LatentCache(args), dims.kv_lora, kRope, dtype);
    if (args.q_a_norm_bias) {
        check.Require(HasLatent(args), "q_a_norm_bias", "None without 'q_a_norm_weight'",
                      "a tensor");
        check.Dense("q_a_norm_bias", *args.q_a_norm_bias, {dims.q_lora}, {dtype});
    }
    if (args.kv_a_norm_bias) {
        check.Dense("kv_a_norm_bias", *args.kv_a_norm_bias, {dims.kv_lora}, {dtype});
    }
    CheckSizes(check, args, dims);
    CheckEps(check, "eps", args.eps);
    if (args.indexer) {
        CheckIndexerPresence(check, *args.indexer);
        if (args.indexer->present()) CheckIndexer(check, args, *args.indexer, dims, dtype);
    }
    CheckPrefetch(check, args.prefetch);
    return dims;
}

PrologResults MakeResults(const PrologArguments& args, const Dimensions& dims) {
    const auto options = args.hidden_states.options();
    const auto floats = options.dtype(at::kFloat);
    const auto q_nope = args.quantize_q_nope ? options.dtype(at::kChar) : options;
    PrologResults results;
    results.q_nope = at::empty_symint({dims.tokens, dims.heads, dims.kv_lora}, q_nope);
    results.q_rope = at::empty_symint({dims.tokens, dims.heads, kRope}, options);
    results.q_c = at::empty_symint({dims.tokens, dims.q_lora}, options);
    results.q_nope_scale = args.quantize_q_nope
                               ? at::empty_symint({dims.tokens, dims.heads}, floats)
                               : at::empty({0}, floats);
    if (Indexer(args) != nullptr) {
        results.indexer_q =
            at::empty_symint({dims.tokens, dims.indexer_heads, dims.indexer_dim}, options);
        results.indexer_weights = at::empty_symint({dims.tokens, dims.indexer_heads}, floats);
    } else if (args.indexer) {
        results.indexer_q = at::empty({0}, options);
        results.indexer_weights = at::empty({0}, floats);
    }
    return results;
}

uint32_t Concrete(const c10::SymInt& value) { return static_cast<uint32_t>(value.expect_int()); }

plan::IndexerProblem MakeIndexerProblem(const IndexerArguments& indexer, const Dimensions& dims) {
    plan::IndexerProblem problem;
    problem.heads = Concrete(dims.indexer_heads);
    problem.head_dim = Concrete(dims.indexer_dim);
    problem.eps = static_cast<float>(indexer.eps);
    problem.rope_interleaved = indexer.rope_interleaved;
    problem.norm_float = indexer.k_norm_weight->scalar_type() == at::kFloat;
    problem.fused = !indexer.weights_proj.has_value();
    problem.cache = MakeCachePlan(*indexer.cache, problem.head_dim);
    problem.wq_b = FormatOf(indexer.wq_b);
    problem.wk = OutInLayout(*indexer.wk);
    problem.weights_proj = OutInLayout(problem.fused ? *indexer.wk : *indexer.weights_proj);
    return problem;
}

plan::PrologProblem MakeProblem(const PrologArguments& args, const Dimensions& dims) {
    plan::PrologProblem problem;
    problem.tokens = Concrete(dims.tokens);
    problem.hidden_size = Concrete(dims.hidden);
    problem.heads = Concrete(dims.heads);
    problem.q_lora_rank = Concrete(dims.q_lora);
    problem.kv_lora_rank = Concrete(dims.kv_lora);
    problem.nope_dim = Concrete(dims.nope);
    problem.rope_dim = plan::kRopeDim;
    problem.eps = static_cast<float>(args.eps);
    problem.rope_interleaved = args.rope_interleaved;
    problem.rope_table_float = args.cos.scalar_type() == at::kFloat;
    problem.slots_int64 = args.slot_mapping.scalar_type() == at::kLong;
    problem.quantize_q_nope = args.quantize_q_nope;
    problem.latent_cache = MakeLatentCachePlan(LatentCache(args), problem.kv_lora_rank, kRope);
    problem.qkv_a = FormatOf(args.qkv_a);
    problem.q_b = FormatOf(args.q_b);
    problem.w_uk = InOutLayout(args.w_uk, 3);
    if (Indexer(args) != nullptr) problem.indexer = MakeIndexerProblem(*Indexer(args), dims);
    return problem;
}

struct Plans {
    PrologPlan shape;
    PrologWarm warm;
};

Plans MakePlans(const char* op, const PrologArguments& args, const Dimensions& dims,
                const arch::Chip& chip) {
    try {
        PlanLogger logger(op);
        const plan::PrologShapePlan shape = plan::CachedPlanProlog(MakeProblem(args, dims), chip);
        return {shape.kernel,
                plan::PlanPrologWarm(shape, chip, RequestOf(args.prefetch), logger.report())};
    } catch (const std::invalid_argument& error) {
        TORCH_CHECK_VALUE(false, "ascend_prefetch::", op, ": ", error.what());
    }
}

IndexerAddresses BindIndexer(LaunchTensors& tensors, const IndexerArguments& indexer) {
    IndexerAddresses addresses{};
    addresses.wq_b = tensors.Read("indexer_wq_b", indexer.wq_b.weight);
    addresses.wq_b_quant = BindQuant(tensors, indexer.wq_b);
    addresses.wk = tensors.Read("indexer_wk", indexer.wk);
    addresses.k_norm_weight = tensors.Read("indexer_k_norm_weight", indexer.k_norm_weight);
    addresses.k_norm_bias = tensors.Read("indexer_k_norm_bias", indexer.k_norm_bias);
    addresses.weights_proj = tensors.Read("indexer_weights_proj", indexer.weights_proj);
    if (addresses.weights_proj == 0) {
        // The rows of weights_proj follow those of wk in the fused weight; in NZ a row has 16
        // consecutive elements.
        const at::Tensor& wk = *indexer.wk;
        const int64_t row = IsNz(wk, 2) ? kStrip : wk.size(1);
        addresses.weights_proj =
            addresses.wk +
            static_cast<uint64_t>(indexer.k_norm_weight->size(0) * row) * wk.element_size();
    }
    addresses.cache = tensors.Write("indexer_cache", *indexer.cache);
    return addresses;
}

PrologAddresses BindArguments(LaunchTensors& tensors, const PrologArguments& args) {
    PrologAddresses addresses{};
    addresses.hidden_states = tensors.Read("hidden_states", args.hidden_states);
    addresses.qkv_a_weight = tensors.Read("qkv_a_weight", args.qkv_a.weight);
    addresses.qkv_a_quant = BindQuant(tensors, args.qkv_a);
    addresses.q_a_norm_weight = tensors.Read("q_a_norm_weight", args.q_a_norm_weight);
    addresses.q_a_norm_bias = tensors.Read("q_a_norm_bias", args.q_a_norm_bias);
    addresses.q_b_weight = tensors.Read("q_b_weight", args.q_b.weight);
    addresses.q_b_quant = BindQuant(tensors, args.q_b);
    addresses.w_uk = tensors.Read("w_uk", args.w_uk);
    addresses.kv_a_norm_weight = tensors.Read("kv_a_norm_weight", args.kv_a_norm_weight);
    addresses.kv_a_norm_bias = tensors.Read("kv_a_norm_bias", args.kv_a_norm_bias);
    addresses.cos = tensors.Read("cos", args.cos);
    addresses.sin = tensors.Read("sin", args.sin);
    addresses.slot_mapping = tensors.Read("slot_mapping", args.slot_mapping);
    addresses.kv_cache = tensors.Write("kv_cache", args.kv_cache);
    addresses.kv_cache_scale = tensors.Read("kv_cache_scale", args.kv_cache_scale);
    addresses.rope_cache =
        args.rope_cache
            ? tensors.Write("rope_cache", *args.rope_cache)
            : addresses.kv_cache + CacheColumnOffset(args.kv_cache, args.kv_a_norm_weight.size(0));
    if (Indexer(args) != nullptr) addresses.indexer = BindIndexer(tensors, *Indexer(args));
    BindPrefetch(tensors, args.prefetch);
    return addresses;
}

void BindResults(LaunchTensors& tensors, const PrologArguments& args, const PrologResults& results,
                 PrologAddresses& addresses) {
    addresses.q_nope = tensors.WriteFresh("q_nope", results.q_nope);
    addresses.q_nope_scale =
        args.quantize_q_nope ? tensors.WriteFresh("q_nope_scale", results.q_nope_scale) : 0;
    addresses.q_rope = tensors.WriteFresh("q_rope", results.q_rope);
    addresses.q_c = HasLatent(args) ? tensors.WriteFresh("q_c", results.q_c) : 0;
    if (Indexer(args) != nullptr) {
        addresses.indexer.q = tensors.WriteFresh("indexer_q", results.indexer_q);
        addresses.indexer.weights = tensors.WriteFresh("indexer_weights", results.indexer_weights);
    }
}

/// The name of the entry point in csrc/kernels.
const char* ChooseKernel(const PrologArguments& args, const PrologPlan& plan) {
    const bool quantised = plan::NeedsInt8(plan);
    const bool bf16 = args.hidden_states.scalar_type() == at::kBFloat16;
    if (!args.indexer) {
        if (quantised) {
            return bf16 ? "mla_prolog_bf16_w8a8" : "mla_prolog_fp16_w8a8";
        }
        return bf16 ? "mla_prolog_bf16" : "mla_prolog_fp16";
    }
    if (quantised) return bf16 ? "sfa_prolog_bf16_w8a8" : "sfa_prolog_fp16_w8a8";
    return bf16 ? "sfa_prolog_bf16" : "sfa_prolog_fp16";
}

/// Checks values inside tensors, where the host can read them.
void CheckValues(const ArgumentChecks& check, const PrologArguments& args,
                 const npu::Device& device) {
    if (!device.HostReads()) return;
    CheckSlots(check, args.slot_mapping, args.kv_cache);
    if (!device.Computes()) return;
    CheckQuantValues(check, args.qkv_a);
    CheckQuantValues(check, args.q_b);
    CheckScale(check, "kv_cache_scale", args.kv_cache_scale);
    if (Indexer(args) != nullptr) CheckQuantValues(check, Indexer(args)->wq_b);
}

PrologResults Run(const char* op, const ArgumentChecks& check, const PrologArguments& args,
                  const Dimensions& dims) {
    const Target target = TargetOf(op, args.hidden_states.device());
    const c10::OptionalDeviceGuard guard(args.hidden_states.device());
    LaunchTensors tensors(check, target);
    PrologAddresses addresses = BindArguments(tensors, args);
    tensors.CheckApart();
    CheckValues(check, args, target.device);
    const Plans plans = MakePlans(op, args, dims, target.chip);
    const PrologResults results = MakeResults(args, dims);
    const at::Tensor workspace = at::empty({static_cast<int64_t>(plans.shape.workspace_bytes)},
                                           args.hidden_states.options().dtype(at::kByte));
    BindResults(tensors, args, results, addresses);
    addresses.workspace = tensors.WriteFresh("workspace", workspace);
    RunOnAllCores(ChooseKernel(args, plans.shape), target, tensors, addresses, plans.shape,
                  plans.warm);
    return results;
}

}  // namespace

PrologResults RunProlog(const char* op, const PrologArguments& args, Backend backend) {
    const ArgumentChecks check(op, args.hidden_states);
    const Dimensions dims = CheckArguments(check, args);
    if (backend == Backend::kMeta) return MakeResults(args, dims);
    return Run(op, check, args, dims);
}

}  // namespace ops
