#include "plan/plan_o_proj.h"

#include <algorithm>
#include <string>
#include <vector>

#include "plan/idle_time.h"
#include "plan/plan_cache.h"
#include "plan/require.h"
#include "plan/rounding.h"
#include "plan/ub_bytes.h"
#include "plan/units.h"
#include "plan/workspace.h"

namespace plan {

namespace {

constexpr uint32_t kMaxStepColumns = 4096;  // in fp32 these are 16 KiB

void Check(const OProjProblem& problem) {
    Require(problem.tokens > 0 && problem.tokens <= kMaxTokens, "tokens",
            "1 to " + std::to_string(kMaxTokens), problem.tokens);
    Require(problem.hidden_size > 0, "hidden size", "at least 1", problem.hidden_size);
    if (Dynamic(problem.o_proj)) RequireQuantisedWidth("value columns", problem.value_columns);
    if (problem.kv_lora_rank == 0) return;
    Require(problem.heads > 0, "heads", "at least 1", problem.heads);
    Require(problem.value_columns % problem.heads == 0, "value columns",
            "a multiple of the " + std::to_string(problem.heads) + " heads", problem.value_columns);
}

PlanCache<OProjShapePlan>& Cache() {
    static PlanCache<OProjShapePlan> cache;
    return cache;
}

}  // namespace

uint32_t StepColumns(uint32_t columns, uint32_t tokens, uint32_t cores) {
    const uint64_t parts = std::max<uint64_t>(1, cores / tokens);
    const uint64_t part = RoundUp(CeilDiv(columns, parts), kLanes);
    return static_cast<uint32_t>(std::min<uint64_t>(part, kMaxStepColumns));
}

OProjShapePlan PlanOProj(const OProjProblem& problem, const arch::Chip& chip) {
    arch::RequireKernels(chip);
    Check(problem);
    OProjPlan plan{};
    const bool quantised = Quantised(problem.o_proj);
    plan.tokens = problem.tokens;
    plan.has_v_up = problem.kv_lora_rank > 0 ? 1 : 0;
    plan.has_epilogue = quantised || problem.has_bias ? 1 : 0;
    plan.bias_float = problem.bias_float ? 1 : 0;
    plan.vector_cores = chip.aiv_count;
    plan.step_columns = StepColumns(problem.hidden_size, problem.tokens, chip.aiv_count);
    plan.widest = plan.step_columns;
    if (quantised) plan.widest = std::max(plan.widest, kMaxStepColumns / 2);
    if (Dynamic(problem.o_proj))
        plan.widest = std::max(plan.widest, LeastPiece(problem.value_columns));
    plan.format = problem.o_proj;

    std::vector<GemmPlan> gemms;
    if (plan.has_v_up != 0) {
        GemmProblem v_up;
        v_up.name = "w_uv";
        v_up.m = problem.tokens;
        v_up.n = problem.value_columns / problem.heads;
        v_up.k = problem.kv_lora_rank;
        v_up.batches = problem.heads;
        v_up.cores = chip.aic_count;
        v_up.architecture = chip.architecture;
        const uint32_t latent = problem.kv_lora_rank;
        v_up.a_row_stride = problem.heads_outermost ? latent : problem.heads * latent;
        v_up.a_batch_stride = problem.heads_outermost ? problem.tokens * latent : latent;
        v_up.c_row_stride = problem.value_columns;
        v_up.c_batch_stride = v_up.n;
        v_up.layout = problem.w_uv;
        plan.v_up = PlanGemm(v_up);
        gemms.push_back(plan.v_up);
    }
    GemmProblem o_proj = TokenProduct("o_proj", problem.tokens, problem.hidden_size,
                                      problem.value_columns, problem.o_proj, chip);
    o_proj.c_sums = plan.has_epilogue != 0;
    plan.o_proj = PlanGemm(o_proj);
    gemms.push_back(plan.o_proj);
    plan.buffers = PlanGemmBuffers(gemms, *chip.architecture);

    const uint64_t tokens = problem.tokens;
    Workspace workspace;
    if (plan.has_v_up != 0) {
        plan.workspace_value = workspace.Take(tokens * problem.value_columns * kHalfBytes);
    }
    if (quantised) plan.workspace_input = workspace.Take(tokens * problem.value_columns);
    if (Dynamic(problem.o_proj)) plan.workspace_scales = workspace.Take(tokens * kBlockBytes);
    if (plan.has_epilogue != 0) {
        plan.workspace_sums = workspace.Take(tokens * problem.hidden_size * kFloatBytes);
    }
    plan.workspace_bytes = workspace.Bytes();

    const arch::TimingConstants& constants = arch::PlanningConstants(chip);
    return {plan,
            {TimeOProj(plan, constants, chip.aic_count), constants.hbm_rate,
             chip.architecture->usable_ub_bytes - OProjUb{plan.widest}.Total(quantised)}};
}

OProjShapePlan CachedPlanOProj(const OProjProblem& problem, const arch::Chip& chip) {
    const OProjProblem& p = problem;
    PlanKey key;
    key.Add(reinterpret_cast<uintptr_t>(&chip), p.tokens, p.heads, p.kv_lora_rank,
            p.heads_outermost, p.value_columns, p.hidden_size, p.has_bias, p.bias_float, p.w_uv);
    AddToKey(key, p.o_proj);
    return Cache().Find(key, [&] { return PlanOProj(problem, chip); });
}

uint64_t MadeOProjPlans() { return Cache().made(); }

OProjWarm PlanOProjWarm(const OProjShapePlan& shape, const arch::Chip& chip,
                        const PrefetchRequest& request, PlanReport* report) {
    const WarmSchedule schedule = PlanWarm(chip, shape.room, request, report);
    OProjWarm warm{};  // zeroes padding bytes too, since a launch passes them on
    warm.plan = schedule.warm;
    warm.while_o_proj = schedule.windows[0];
    return warm;
}

}  // namespace plan
