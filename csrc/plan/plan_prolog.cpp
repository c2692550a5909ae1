#include "plan/plan_prolog.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "plan/idle_time.h"
#include "plan/plan_cache.h"
#include "plan/plan_phases.h"
#include "plan/require.h"
#include "plan/rounding.h"
#include "plan/ub_bytes.h"
#include "plan/units.h"
#include "plan/workspace.h"

namespace plan {

namespace {

// The rope columns of 16 heads are one step of 4 KiB in fp32; 128 heads and 16 tokens make 128
// steps for 48 cores.
constexpr uint32_t kRopeHeads = 16;
// Maximum elements of a step that processes whole heads: as wide as the latents of known models.
constexpr uint32_t kStepElements = 2048;
// Of windows of W8A8 layers, which lie between hand-overs and are short, and of those of many
// tokens such a share is relied on, less kUnsureUs: the cores do not get there at once. With it
// replays of known models pay less than 1 % for what they prefetch, at low, nominal and high
// constants.
constexpr double kSureShareOfInt8 = 0.8;
constexpr double kSureShareOfManyTokens = 0.3;
constexpr uint32_t kFewTokens = 16;
// Times as many elements of the depth shares of an int8 product.
constexpr uint32_t kMaxInt8Shares = 3;
// Tokens of a tile that are rotated in one step.
constexpr uint32_t kTileTokens = 8;
// What a whole row of hidden states leaves of UB at least: landing pads for two loads of weights.
constexpr uint32_t kLandingBytes = 32 * 1024;

void AddToKey(PlanKey& key, const CachePlan& cache) {
    key.Add(cache.block_stride, cache.block_size, cache.row_stride, cache.layout, cache.type);
}

void RequireRank(const std::string& quantity, uint32_t rank, uint32_t most) {
    Require(rank > 0 && rank % kLanes == 0 && rank <= most, quantity,
            "a multiple of 64 up to " + std::to_string(most), rank);
}

/// Whether the hidden states are quantised dynamically, with one scale per token.
bool ScalesHiddenPerToken(const PrologProblem& problem) {
    return Dynamic(problem.qkv_a) || (problem.q_lora_rank == 0 && Dynamic(problem.q_b));
}

void Check(const PrologProblem& problem) {
    Require(problem.tokens > 0 && problem.tokens <= kMaxTokens, "tokens",
            "1 to " + std::to_string(kMaxTokens), problem.tokens);
    Require(problem.heads > 0, "heads", "at least 1", problem.heads);
    Require(problem.rope_dim == kRopeDim, "rope dimension", std::to_string(kRopeDim),
            problem.rope_dim);
    const uint32_t block_size = problem.latent_cache.latent.block_size;
    Require(block_size > 0 && block_size <= kMaxCacheRows, "cache block size",
            "1 to " + std::to_string(kMaxCacheRows), block_size);
    if (problem.q_lora_rank > 0) RequireRank("q_lora_rank", problem.q_lora_rank, kMaxLoraRank);
    RequireRank("kv_lora_rank", problem.kv_lora_rank, kMaxLoraRank);
    if (ScalesHiddenPerToken(problem)) RequireQuantisedWidth("hidden size", problem.hidden_size);
    if (Quantised(problem.q_b))
        RequireRank("nope size with an int8 q_b", problem.nope_dim, kMaxInt8NopeDim);
    if (problem.indexer.heads > 0) {
        Require(problem.q_lora_rank > 0, "q_lora_rank", "a query latent for the indexer", 0);
        RequireRank("indexer head size", problem.indexer.head_dim, kMaxIndexerHeadDim);
    }
}

/// HeadsPlan::step: how many rows of 64 rotated columns a vector core has room for.
uint32_t HeadsPerStep(uint32_t heads, bool quantised) {
    return quantised ? kTileTokens : std::min(kRopeHeads, heads);
}

/// Splits the K dimension of a product whose sums vector cores read anyway, a row of at most `row`
/// elements at a time. The strips of int8 products are wide, so that it may take more shares of
/// them to come out even.
void DealOutDepth(GemmProblem& gemm, uint32_t row) {
    uint32_t elements = kStepElements;
    if (gemm.int8) elements = row > kStepElements ? 0 : kMaxInt8Shares * kStepElements;
    gemm.depth_shares = BestDepthShares(gemm, 1 + elements / row);
    gemm.c_share_stride = gemm.m * gemm.c_row_stride;
}

/// A product whose columns are heads. Those of an int8 one are rotated beside the cube core that
/// makes them, which therefore makes all 64 of a head.
GemmProblem HeadsProduct(prolog::Product product, uint32_t tokens, uint32_t n, uint32_t k,
                         const LinearFormat& format, const arch::Chip& chip) {
    GemmProblem gemm = TokenProduct(NameOf(product), tokens, n, k, format, chip);
    if (gemm.int8) gemm.column_unit = kRopeDim;
    return gemm;
}

void PlanIndexer(PrologPlan& plan, const PrologProblem& problem, const arch::Chip& chip,
                 Workspace& workspace) {
    const IndexerProblem& from = problem.indexer;
    IndexerPlan& indexer = plan.indexer;
    const uint32_t columns = from.heads * from.head_dim;
    const bool quantised = Quantised(from.wq_b);
    indexer.heads = {from.heads, from.head_dim, 0, HeadsPerStep(from.heads, quantised)};
    indexer.eps = from.eps;
    indexer.rope_interleaved = from.rope_interleaved ? 1 : 0;
    indexer.norm_float = from.norm_float ? 1 : 0;
    indexer.cache = from.cache;
    indexer.wq_b_format = from.wq_b;

    const uint32_t fused_rows = from.fused ? from.head_dim + from.heads : 0;
    GemmProblem wk = TokenProduct(NameOf(prolog::kIndexerK), problem.tokens, from.head_dim,
                                  problem.hidden_size, Plain(from.wk), chip);
    wk.stored_n = fused_rows;
    wk.c_sums = true;
    DealOutDepth(wk, from.head_dim);
    GemmOf(plan, prolog::kIndexerK) = PlanGemm(wk);
    GemmProblem weights = TokenProduct(NameOf(prolog::kIndexerWeights), problem.tokens, from.heads,
                                       problem.hidden_size, Plain(from.weights_proj), chip);
    weights.stored_n = fused_rows;
    weights.c_sums = true;
    GemmOf(plan, prolog::kIndexerWeights) = PlanGemm(weights);
    GemmOf(plan, prolog::kIndexerQuery) = PlanGemm(HeadsProduct(
        prolog::kIndexerQuery, problem.tokens, columns, problem.q_lora_rank, from.wq_b, chip));

    const uint64_t tokens = problem.tokens;
    indexer.workspace_k = workspace.Take(
        tokens * from.head_dim * GemmOf(plan, prolog::kIndexerK).depth_shares * kFloatBytes);
    if (quantised) {
        indexer.workspace_sums = workspace.Take(tokens * columns * kFloatBytes);
        indexer.workspace_q_c = workspace.Take(tokens * problem.q_lora_rank);
    }
    if (Dynamic(from.wq_b)) indexer.workspace_scales = workspace.Take(tokens * kBlockBytes);
}

void PlanWorkspace(PrologPlan& plan, const PrologProblem& problem, Workspace& workspace) {
    const uint64_t tokens = problem.tokens;
    const GemmPlan& qkv_a = GemmOf(plan, prolog::kQkvA);
    const GemmPlan& q_b = GemmOf(plan, prolog::kQueryB);
    const uint32_t shares =
        std::max(qkv_a.depth_shares, GemmOf(plan, prolog::kQueryA).depth_shares);
    workspace.Take(tokens * qkv_a.c_row_stride * shares * kFloatBytes);
    plan.workspace_query = workspace.Take(tokens * q_b.n * kHalfBytes);
    if (Quantised(problem.qkv_a)) plan.workspace_hidden = workspace.Take(tokens * qkv_a.k);
    if (Dynamic(problem.qkv_a)) plan.workspace_hidden_scales = workspace.Take(tokens * kBlockBytes);
    if (Quantised(problem.q_b)) {
        plan.workspace_query_sums = workspace.Take(tokens * q_b.n * kFloatBytes);
        plan.workspace_q_b_input = workspace.Take(tokens * q_b.k);
    }
    if (Dynamic(problem.q_b)) plan.workspace_q_b_scales = workspace.Take(tokens * kBlockBytes);
    if (problem.quantize_q_nope) {
        plan.workspace_q_nope =
            workspace.Take(tokens * problem.heads * problem.kv_lora_rank * kHalfBytes);
    }
}

/// Number of elements of the widest row or step in UB.
uint32_t Widest(const PrologPlan& plan, const PrologProblem& problem) {
    const uint32_t widest =
        std::max({problem.q_lora_rank, problem.kv_lora_rank + problem.rope_dim,
                  plan.heads.step * kRopeDim, plan.indexer.heads.step * kRopeDim});
    const uint32_t piece = ScalesHiddenPerToken(problem) ? LeastPiece(problem.hidden_size) : 0;
    return std::max(widest, piece);
}

/// Number of elements of the row that the quantiser of the hidden states holds in UB: all of them
/// where that leaves room for the rest, so that it reads them once.
uint32_t WidestInput(PrologPlan plan, const PrologProblem& problem, const arch::Chip& chip) {
    const uint32_t hidden = problem.hidden_size;
    const bool quantises = plan.steps[prolog::kQuantiseHidden].present != 0;
    if (!quantises || hidden <= plan.widest || hidden > kMaxQuantisedRow) return plan.widest;
    plan.widest_input = hidden;
    const uint32_t ub_bytes = PrologUb(plan).Total(true, problem.indexer.heads > 0);
    return ub_bytes + kLandingBytes <= chip.architecture->usable_ub_bytes ? hidden : plan.widest;
}

uint32_t WidestShares(const PrologPlan& plan) {
    const uint32_t rest = plan.kv_lora_rank + kRopeDim;
    const PrologProduct& query = plan.products[prolog::kQueryA];
    const uint32_t latents = Has(query) ? rest : std::max(plan.q_lora_rank, rest);
    uint32_t widest = latents * (GemmOf(plan, prolog::kQkvA).depth_shares - 1);
    if (Has(query)) widest = std::max(widest, plan.q_lora_rank * (query.gemm.depth_shares - 1));
    const PrologProduct& key = plan.products[prolog::kIndexerK];
    if (Has(key)) widest = std::max(widest, key.gemm.n * (key.gemm.depth_shares - 1));
    return widest;
}

PlanCache<PrologShapePlan>& Cache() {
    static PlanCache<PrologShapePlan> cache;
    return cache;
}

}  // namespace

PrologShapePlan PlanProlog(const PrologProblem& problem, const arch::Chip& chip) {
    arch::RequireKernels(chip);
    Check(problem);
    const bool has_latent = problem.q_lora_rank > 0;
    const uint32_t head_dim = problem.nope_dim + problem.rope_dim;

    PrologPlan plan{};
    plan.tokens = problem.tokens;
    plan.q_lora_rank = problem.q_lora_rank;
    plan.kv_lora_rank = problem.kv_lora_rank;
    plan.eps = problem.eps;
    plan.rope_interleaved = problem.rope_interleaved ? 1 : 0;
    plan.rope_table_float = problem.rope_table_float ? 1 : 0;
    plan.slot_bytes = problem.slots_int64 ? 8 : 4;
    plan.vector_cores = chip.aiv_count;
    plan.rows_per_core = static_cast<uint32_t>(CeilDiv(problem.tokens, chip.aiv_count));
    plan.input_shares = std::max(chip.aiv_count / problem.tokens, 1u);
    plan.quantize_q_nope = problem.quantize_q_nope ? 1 : 0;
    plan.heads = {problem.heads, head_dim, problem.nope_dim,
                  HeadsPerStep(problem.heads, Quantised(problem.q_b))};
    // Member by member: padding bytes stay zero, as a launch passes them on.
    plan.latent_cache.latent = problem.latent_cache.latent;
    plan.latent_cache.rope = problem.latent_cache.rope;
    plan.latent_cache.joint = problem.latent_cache.joint;
    plan.qkv_a_format = problem.qkv_a;
    plan.q_b_format = problem.q_b;

    // Where the query latent comes first, the weight is that of two products.
    const uint32_t rest = problem.kv_lora_rank + problem.rope_dim;
    const auto latents = [&](uint32_t columns, uint32_t row) {
        GemmProblem part = TokenProduct(NameOf(prolog::kQkvA), problem.tokens, columns,
                                        problem.hidden_size, problem.qkv_a, chip);
        part.c_sums = true;
        part.stored_n = part.c_row_stride = problem.q_lora_rank + rest;
        DealOutDepth(part, row);
        return PlanGemm(part);
    };
    if (has_latent && Quantised(problem.qkv_a)) {
        GemmOf(plan, prolog::kQueryA) = latents(problem.q_lora_rank, problem.q_lora_rank);
        GemmOf(plan, prolog::kQkvA) = latents(rest, rest);
    } else {
        GemmOf(plan, prolog::kQkvA) =
            latents(problem.q_lora_rank + rest, std::max(problem.q_lora_rank, rest));
    }
    GemmOf(plan, prolog::kQueryB) = PlanGemm(
        HeadsProduct(prolog::kQueryB, problem.tokens, problem.heads * head_dim,
                     has_latent ? problem.q_lora_rank : problem.hidden_size, problem.q_b, chip));
    GemmProblem absorb;
    absorb.name = NameOf(prolog::kAbsorb);
    absorb.m = problem.tokens;
    absorb.n = problem.kv_lora_rank;
    absorb.k = problem.nope_dim;
    absorb.batches = problem.heads;
    absorb.cores = chip.aic_count;
    absorb.architecture = chip.architecture;
    absorb.a_row_stride = problem.heads * head_dim;
    absorb.a_batch_stride = head_dim;
    absorb.c_row_stride = problem.heads * problem.kv_lora_rank;
    absorb.c_batch_stride = problem.kv_lora_rank;
    absorb.layout = problem.w_uk;
    GemmOf(plan, prolog::kAbsorb) = PlanGemm(absorb);

    Workspace workspace;
    PlanWorkspace(plan, problem, workspace);
    if (problem.indexer.heads > 0) PlanIndexer(plan, problem, chip, workspace);
    plan.workspace_bytes = workspace.Bytes();
    PlanPhases(plan);
    std::vector<GemmPlan> gemms;
    for (const PrologProduct& product : plan.products) {
        if (Has(product)) gemms.push_back(product.gemm);
    }
    plan.buffers = PlanGemmBuffers(gemms, *chip.architecture);

    plan.widest = Widest(plan, problem);
    plan.widest_shares = WidestShares(plan);
    plan.widest_input = WidestInput(plan, problem, chip);
    const uint64_t ub_bytes = PrologUb(plan).Total(NeedsInt8(plan), problem.indexer.heads > 0);
    // Single limits allow each of these widths; some combinations of the widest do not fit.
    const uint32_t usable_ub_bytes = chip.architecture->usable_ub_bytes;
    Require(ub_bytes <= usable_ub_bytes, "latents and heads of this layer",
            "widths that take at most " + std::to_string(usable_ub_bytes) +
                " bytes of a vector core's UB together",
            ub_bytes);
    const CubeProgram cubes = CubesOf(plan, chip.aic_count);
    const auto time = [&](const arch::TimingConstants& constants) {
        return TimeProlog(plan, constants, cubes);
    };
    const arch::TimingConstants& nominal = arch::PlanningConstants(chip);
    KernelTimes times{};
    if (NeedsInt8(plan)) {
        times = TimeAtAllLevels(chip, time);
        times.windows.Shorten(kSureShareOfInt8, kSureShareOfInt8 * kUnsureUs);
    } else {
        times = time(nominal);
        const bool many = plan.tokens > kFewTokens;
        times.windows.Shorten(many ? kSureShareOfManyTokens : 1, many ? 0 : kUnsureUs);
    }
    return {plan, {times, nominal.hbm_rate, usable_ub_bytes - ub_bytes}};
}

bool NeedsInt8(const PrologPlan& plan) {
    return Quantised(plan.qkv_a_format) || Quantised(plan.q_b_format) ||
           Quantised(plan.indexer.wq_b_format) || plan.quantize_q_nope != 0 ||
           HoldsInt8(plan.latent_cache.latent);
}

PrologShapePlan CachedPlanProlog(const PrologProblem& problem, const arch::Chip& chip) {
    const PrologProblem& p = problem;
    PlanKey key;
    key.Add(reinterpret_cast<uintptr_t>(&chip), p.tokens, p.hidden_size, p.heads, p.q_lora_rank,
            p.kv_lora_rank, p.nope_dim, p.rope_dim, p.eps, p.rope_interleaved, p.rope_table_float,
            p.slots_int64, p.quantize_q_nope, p.latent_cache.joint, p.w_uk);
    for (const CachePlan& rows : {p.latent_cache.latent, p.latent_cache.rope, p.indexer.cache}) {
        AddToKey(key, rows);
    }
    for (const LinearFormat& format : {p.qkv_a, p.q_b, p.indexer.wq_b}) AddToKey(key, format);
    const IndexerProblem& i = p.indexer;
    key.Add(i.heads, i.head_dim, i.eps, i.rope_interleaved, i.norm_float, i.fused, i.wk,
            i.weights_proj);
    return Cache().Find(key, [&] { return PlanProlog(problem, chip); });
}

uint64_t MadePrologPlans() { return Cache().made(); }

PrologWarm PlanPrologWarm(const PrologShapePlan& shape, const arch::Chip& chip,
                          const PrefetchRequest& request, PlanReport* report) {
    const WarmSchedule schedule = PlanWarm(chip, shape.room, request, report);
    PrologWarm warm{};  // zeroes padding bytes too, since a launch passes them on
    warm.plan = schedule.warm;
    std::copy(schedule.windows.begin(), schedule.windows.end(), warm.windows);
    return warm;
}

}  // namespace plan
