// Plans the mla_prolog and sfa_prolog kernels for a shape and a chip.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "arch/chip.h"
#include "plan/plan_linear.h"
#include "plan/plan_warm.h"
#include "plan/prolog_plan.h"
#include "plan/units.h"

namespace plan {

struct IndexerProblem {
    uint32_t heads = 0;  ///< 0: the layer has no indexer
    uint32_t head_dim = 0;
    float eps = 1e-6f;
    bool rope_interleaved = false;
    bool norm_float = false;
    bool fused = false;  ///< wk and weights_proj are rows of one weight
    CachePlan cache{};
    LinearFormat wq_b{};
    WeightLayout wk = WeightLayout::kOutIn;
    WeightLayout weights_proj = WeightLayout::kOutIn;
};

/// Everything on which the plan of a prolog depends.
struct PrologProblem {
    uint32_t tokens = 0;
    uint32_t hidden_size = 0;
    uint32_t heads = 0;
    uint32_t q_lora_rank = 0;  ///< 0: queries come straight from the hidden states
    uint32_t kv_lora_rank = 0;
    uint32_t nope_dim = 0;
    uint32_t rope_dim = 0;
    float eps = 1e-6f;
    bool rope_interleaved = true;
    bool rope_table_float = false;
    bool slots_int64 = false;
    bool quantize_q_nope = false;
    LatentCachePlan latent_cache{};
    LinearFormat qkv_a{};
    LinearFormat q_b{};
    WeightLayout w_uk = WeightLayout::kInOut;
    IndexerProblem indexer;
};

/// Limits of the ops, which their argument checks quote.
constexpr uint32_t kMaxLoraRank = 4096;
/// A head of an int8 q_b, rope included, is one row in UB; the limit keeps it no longer than a
/// latent with its rope.
constexpr uint32_t kMaxInt8NopeDim = kMaxLoraRank;
constexpr uint32_t kMaxIndexerHeadDim = 512;
constexpr uint32_t kMaxCacheRows = 1024;  // per block

using PrologShapePlan = ShapePlan<PrologPlan>;

/// Throws std::invalid_argument that names the quantity, the allowed values and the actual one.
PrologShapePlan PlanProlog(const PrologProblem& problem, const arch::Chip& chip);

/// Whether the kernel has to be one that quantises and dequantises ("..._w8a8").
bool NeedsInt8(const PrologPlan& plan);

/// Like PlanProlog, but returns a cached plan where the same problem has been planned before.
PrologShapePlan CachedPlanProlog(const PrologProblem& problem, const arch::Chip& chip);

/// Number of plans that CachedPlanProlog has made since the process began.
uint64_t MadePrologPlans();

/// What a call warms. If `report` is not null, what is prefetched and why is written to it. Throws
/// as PlanWarm does.
PrologWarm PlanPrologWarm(const PrologShapePlan& shape, const arch::Chip& chip,
                          const PrefetchRequest& request, PlanReport* report = nullptr);

}  // namespace plan
