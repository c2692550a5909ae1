#include "plan/plan_o_proj.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "plan/cube_program.h"
#include "plan/idle_time.h"
#include "plan/plan_cache.h"
#include "plan/require.h"
#include "plan/rounding.h"
#include "plan/ub_bytes.h"
#include "plan/units.h"
#include "plan/workspace.h"

namespace plan {

namespace {

// Most columns of a step of the epilogue, whose instructions take 2,040, and most elements: in fp32
// 16 KiB, which two steps in flight take twice.
constexpr uint32_t kMaxStepColumns = 1024;
constexpr uint32_t kMaxStepElements = 4096;
// With up to so many tokens A in int8 leaves L1 room for a larger weight ring than the usual one of
// four tiles of 64 KiB, 6.3 MB on 24 cores.
constexpr uint32_t kFewTokens = 32;
constexpr uint32_t kSlotBytes[] = {64 * 1024, 72 * 1024, 80 * 1024, 100 * 1024};
// Cores take turns in loading A and loading weights, so HBM keeps working in about half of the time
// in which A is read from L2.
constexpr double kLeftShare = 0.5;
constexpr double kAsFast = 1.005;      // what the closed form does not tell apart
constexpr uint32_t kMaxRepeats = 255;  // of a vector instruction, one for each row of a step

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

/// The steps in which the vector cores of a cube core finish its columns: they deal out its rows,
/// or the columns of a single one.
void PlanEpilogue(OProjPlan& plan, const arch::Chip& chip) {
    const GemmPlan& gemm = plan.o_proj;
    const uint64_t vectors = chip.architecture->aiv_per_aic;
    const uint64_t shares = chip.aic_count / gemm.row_shares;
    const uint64_t row_tiles = CeilDiv(CeilDiv(gemm.m, gemm.tile_m), gemm.row_shares);
    const uint64_t rows = std::min<uint64_t>(row_tiles * gemm.tile_m, gemm.m);
    const uint64_t columns = CeilDiv(gemm.n / gemm.strip, shares) * gemm.strip;
    const uint64_t part = rows > 1 ? columns : CeilDiv(CeilDiv(columns, kStrip), vectors) * kStrip;
    plan.step_columns = static_cast<uint32_t>(std::min<uint64_t>(part, kMaxStepColumns));
    const uint64_t most = std::min(kMaxStepElements / plan.step_columns, kMaxRepeats);
    plan.step_rows = static_cast<uint32_t>(std::min(CeilDiv(rows, vectors), most));
}

/// Plans the products with slots of so many bytes in the weight ring, 0 for the usual ones.
void PlanProducts(OProjPlan& plan, const OProjProblem& problem, const arch::Chip& chip,
                  uint32_t slot_bytes) {
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
        v_up.weight_slot_bytes = slot_bytes;
        plan.v_up = PlanGemm(v_up);
        gemms.push_back(plan.v_up);
    }
    GemmProblem o_proj = TokenProduct("o_proj", problem.tokens, problem.hidden_size,
                                      problem.value_columns, problem.o_proj, chip);
    o_proj.c_sums = plan.has_epilogue != 0;
    o_proj.weight_slot_bytes = slot_bytes;
    plan.o_proj = PlanGemm(o_proj);
    gemms.push_back(plan.o_proj);
    plan.buffers = PlanGemmBuffers(gemms, *chip.architecture);
    plan.tiles_ahead = UINT32_MAX;
}

/// us in which a product's weight is loaded, and A in between. `share`: bytes of the weight that
/// the core with most of it has.
double LoadAll(const GemmPlan& gemm, double share, uint32_t cores,
               const arch::TimingConstants& constants) {
    const double hbm = static_cast<double>(WeightBytes(gemm)) *
                       WeightHbmFactor(constants, gemm, gemm.tile_n) / constants.hbm_rate;
    const double own = share / constants.cube_load_rate / constants.clock_mhz;
    const double depth = static_cast<double>(gemm.k) / gemm.depth_shares;
    const double columns = share / (depth * gemm.element_bytes);
    const bool once = gemm.batches == 1 && gemm.a_depth >= depth;
    const double reads = once ? 1 : std::ceil(columns / (gemm.batches > 1 ? gemm.n : gemm.tile_n));
    const double left = cores * reads * depth * gemm.m / gemm.row_shares * gemm.element_bytes;
    return std::max(hbm, own) + kLeftShare * left * constants.l2_cube_factor / constants.l2_rate;
}

/// Bytes of a product's weight that the core with most of it has.
double LargestShare(const GemmPlan& gemm, uint32_t cores) {
    const uint64_t strips = uint64_t{gemm.batches} * gemm.n / gemm.strip;
    const uint64_t most = CeilDiv(strips, cores / gemm.row_shares / gemm.depth_shares);
    return static_cast<double>(most * gemm.strip * gemm.k * gemm.element_bytes) / gemm.depth_shares;
}

/// us from the arrival of a weight's last tile until the sums are in L2, as far as rings differ.
double Drain(const GemmPlan& gemm, const arch::TimingConstants& constants) {
    const double tile = static_cast<double>(gemm.tile_n) * gemm.tile_k * gemm.element_bytes;
    const double rows = std::min(gemm.m, gemm.tile_m);
    const double sums = rows * gemm.tile_n * kFloatBytes;
    return (tile / constants.move_l0b_rate + sums / constants.fixpipe_rate) / constants.clock_mhz;
}

/// us until o_proj has been multiplied, less what does not differ between rings. `tiles`: most of
/// its weight's tiles of a core, of which plan.tiles_ahead are loaded by the time that the value is
/// ready, whose first piece comes next. `value_us`: when it is, less the drain of v-up.
double Multiplied(const OProjPlan& plan, uint32_t tiles, double value_us, uint32_t cores,
                  const arch::TimingConstants& constants) {
    const GemmPlan& gemm = plan.o_proj;
    const auto us = [&](double cycles) { return cycles / constants.clock_mhz; };
    const uint32_t rows = std::min(gemm.m, gemm.tile_m);
    const double left = static_cast<double>(rows) * gemm.a_depth * gemm.element_bytes;
    const double left_us = us(constants.cube_load_cycles) +
                           std::max(us(left / constants.cube_load_rate),
                                    left * cores * constants.l2_cube_factor / constants.l2_rate);
    const double share = LargestShare(gemm, cores);
    const double stream = LoadAll(gemm, share, cores, constants);
    const double ahead = std::min(1.0, static_cast<double>(plan.tiles_ahead) / tiles);
    const double before = constants.hbm_latency + us(constants.cube_load_cycles) +
                          LoadAll(plan.v_up, LargestShare(plan.v_up, cores), cores, constants);
    const double value = value_us + Drain(plan.v_up, constants);
    const double ready = std::max(value, before + ahead * stream) + left_us;
    const double fractals = share / kFractalBytes;
    const double work = us(std::max(share / constants.move_l0b_rate,
                                    fractals * CeilDiv(rows, kStrip) / constants.cube_efficiency));
    return ready + std::max(work, (1 - ahead) * stream) + Drain(gemm, constants);
}

/// While the value is quantised, the weight stream has to go on; but what has been loaded ahead by
/// then comes before the quantised value, and is multiplied behind it. How deep the tiles are, and
/// how many are loaded ahead, is what makes both come at the same time. Of rings that are as fast
/// at nominal constants the one is taken that is fastest where hand-overs take longest. Only this
/// differs between rings, so that the rest of the kernel is not looked at.
OProjPlan FastestRing(const OProjPlan& usual, const OProjProblem& problem, const arch::Chip& chip) {
    struct Ring {
        OProjPlan plan;
        double us;
        double high_us;
    };
    const arch::TimingConstants& nominal = arch::PlanningConstants(chip);
    const arch::TimingConstants& high = arch::PlanningConstants(chip, arch::Level::kHigh);
    const CubeProgram cubes = CubesOf(usual, chip.aic_count);
    const double value_us = TimeValue(usual, nominal, cubes) - Drain(usual.v_up, nominal);
    const double high_value_us = TimeValue(usual, high, cubes) - Drain(usual.v_up, high);
    std::vector<Ring> rings;
    double least = std::numeric_limits<double>::infinity();
    for (const uint32_t slot_bytes : kSlotBytes) {
        OProjPlan plan = usual;
        PlanProducts(plan, problem, chip, slot_bytes);
        const uint32_t tiles = MostTiles(plan.o_proj, chip.aic_count);
        for (plan.tiles_ahead = plan.buffers.b_slots; plan.tiles_ahead > 1; --plan.tiles_ahead) {
            rings.push_back({plan, Multiplied(plan, tiles, value_us, chip.aic_count, nominal),
                             Multiplied(plan, tiles, high_value_us, chip.aic_count, high)});
            least = std::min(least, rings.back().us);
        }
    }
    const Ring* best = nullptr;
    for (const Ring& ring : rings) {
        if (ring.us > kAsFast * least) continue;
        if (best == nullptr || ring.high_us < best->high_us) best = &ring;
    }
    return best->plan;
}

}  // namespace

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
    plan.value_shares = std::max(chip.aiv_count / problem.tokens, 1u);
    if (quantised) {
        // A whole row is read once; of a longer one its maximum is found first.
        plan.widest = problem.value_columns <= kMaxQuantisedRow
                          ? static_cast<uint32_t>(RoundUp(problem.value_columns, kLanes))
                          : std::max(kMaxQuantisedPiece, LeastPiece(problem.value_columns));
    }
    plan.format = problem.o_proj;

    PlanProducts(plan, problem, chip, 0);
    if (plan.has_epilogue != 0) PlanEpilogue(plan, chip);
    if (quantised && plan.has_v_up != 0 && problem.tokens <= kFewTokens)
        plan = FastestRing(plan, problem, chip);

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

    const CubeProgram cubes = CubesOf(plan, chip.aic_count);
    const auto time = [&](const arch::TimingConstants& constants) {
        return TimeOProj(plan, constants, cubes);
    };
    KernelTimes times = TimeAtAllLevels(chip, time);
    // Where no epilogue follows, all of the window is the end of the products.
    if (plan.has_epilogue == 0) times.windows.Shorten(1, kUnsureUs);
    return {plan,
            {times, arch::PlanningConstants(chip).hbm_rate,
             chip.architecture->usable_ub_bytes - OProjUb(plan).Total(quantised)}};
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
