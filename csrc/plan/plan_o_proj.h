// Plans the o_proj kernel for a shape and a chip.
#pragma once

#include <cstdint>

#include "arch/chip.h"
#include "plan/o_proj_plan.h"
#include "plan/plan_linear.h"
#include "plan/plan_warm.h"

namespace plan {

struct OProjProblem {
    uint32_t tokens = 0;
    uint32_t heads = 0;         ///< with W_UV
    uint32_t kv_lora_rank = 0;  ///< with W_UV; 0: the input is [tokens, value_columns]
    /// The input is [heads, tokens, kv_lora_rank] in memory, not [tokens, heads, kv_lora_rank].
    bool heads_outermost = false;
    uint32_t value_columns = 0;  ///< heads * v
    uint32_t hidden_size = 0;
    bool has_bias = false;
    bool bias_float = false;
    WeightLayout w_uv = WeightLayout::kInOut;
    LinearFormat o_proj{};
};

using OProjShapePlan = ShapePlan<OProjPlan>;

/// Throws std::invalid_argument naming the quantity, what is allowed and what came.
OProjShapePlan PlanOProj(const OProjProblem& problem, const arch::Chip& chip);

/// Like PlanOProj, but returns a cached plan where the same problem has been planned before.
OProjShapePlan CachedPlanOProj(const OProjProblem& problem, const arch::Chip& chip);

/// Number of plans that CachedPlanOProj has made since the process began.
uint64_t MadeOProjPlans();

/// What a call warms. If `report` is not null, what is prefetched and why is written to it. Throws
/// as PlanWarm does.
OProjWarm PlanOProjWarm(const OProjShapePlan& shape, const arch::Chip& chip,
                        const PrefetchRequest& request, PlanReport* report = nullptr);

}  // namespace plan
