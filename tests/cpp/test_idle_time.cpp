// The closed form of a kernel's time, a constant at a time: everything else takes no time, and what
// is left is counted by hand from the shapes and the kernels' steps.
#include "plan/idle_time.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "arch/chip.h"
#include "check.h"
#include "plan/plan_o_proj.h"
#include "plan/plan_phases.h"
#include "plan/plan_prolog.h"
#include "plan_problems.h"

namespace {

using arch::TimingConstants;

constexpr double kNoTime = 1e30;                                       // as a rate
const arch::Chip& Chip() { return arch::FindChip("Ascend910_9391"); }  // 24 cube cores, 48 vector

/// With which everything takes no time; a cycle is a us.
TimingConstants Free() {
    TimingConstants c{};
    c.clock_mhz = 1;
    c.l2_cube_factor = c.nd2nz_factor = c.nz_factor = 1;
    for (double TimingConstants::* rate :
         {&TimingConstants::hbm_rate, &TimingConstants::l2_rate, &TimingConstants::cube_load_rate,
          &TimingConstants::vector_load_rate, &TimingConstants::store_rate,
          &TimingConstants::fixpipe_rate, &TimingConstants::move_l0a_rate,
          &TimingConstants::move_l0b_rate, &TimingConstants::cube_efficiency}) {
        c.*rate = kNoTime;
    }
    return c;
}

TimingConstants Only(double TimingConstants::* member) {
    TimingConstants constants = Free();
    constants.*member = 1;
    return constants;
}

constexpr LinearFormat kStatic =
    plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);
constexpr LinearFormat kDynamic =
    plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);

/// DeepSeek-V3 on one of 16 ranks, 100 tokens: three rows, and three steps of 8 heads, for the
/// vector core that has most.
plan::PrologProblem Prolog(const LinearFormat& format = {}) {
    plan::PrologProblem problem = DeepSeekV3(100, 16);
    problem.qkv_a = problem.q_b = format;
    return problem;
}

/// The same of its o_proj: two parts of the columns.
plan::OProjProblem OProj(const LinearFormat& format = {}) {
    plan::OProjProblem problem;
    problem.tokens = 100;
    problem.hidden_size = 7168;
    problem.heads = 8;
    problem.kv_lora_rank = 512;
    problem.value_columns = 1024;
    problem.o_proj = format;
    return problem;
}

plan::KernelTimes Time(const plan::PrologProblem& problem, const TimingConstants& constants) {
    const PrologPlan plan = plan::PlanProlog(problem, Chip()).kernel;
    return plan::TimeProlog(plan, constants, plan::CubesOf(plan, Chip().aic_count));
}

plan::KernelTimes Time(const plan::OProjProblem& problem, const TimingConstants& constants) {
    const OProjPlan plan = plan::PlanOProj(problem, Chip()).kernel;
    return plan::TimeOProj(plan, constants, plan::CubesOf(plan, Chip().aic_count));
}

template <typename Problem>
void CheckTime(const Problem& problem, double TimingConstants::* member, double expected) {
    const double us = Time(problem, Only(member)).us;
    CHECK(std::abs(us - expected) <= 1e-9 * expected + 1e-12);
    if (std::abs(us - expected) > 1e-9 * expected + 1e-12) CHECK_EQ(us, expected);
}

void CheckWindows(const plan::KernelTimes& times, const std::vector<double>& expected) {
    CHECK_EQ(times.windows.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
        CHECK_EQ(times.windows[i].idle.nominal_us, expected[i]);
}

/// Rows of a tile in L0C or L1.
double TileRows(const GemmPlan& gemm) { return std::min(gemm.m, gemm.tile_m); }

/// Elements of the weight of the core that has most, in a product that shares columns alone.
double MostElements(const GemmPlan& gemm) {
    const uint32_t strips = gemm.batches * gemm.n / gemm.strip;
    return 1.0 * ((strips + 23) / 24) * gemm.strip * gemm.k;
}

}  // namespace

// qkv_a, to the vector cores and back, q_b, to the vector cores; two hops each way that a hand-over
// takes to be seen, but W_UK, which awaits the cube cores alone.
TEST(hops_between_cores) {
    const TimingConstants hops = Only(&TimingConstants::cross_core_us);
    plan::PrologProblem problem = Prolog();
    CHECK_EQ(Time(problem, hops).us, 6.0);
    // L1 has no room for all of q_b and W_UK: the last weight is loaded when q_b's product begins,
    // and what the vector cores load is due a hop later.
    CheckWindows(Time(problem, hops), {6 - 4 - 1, 0});
    // Hidden states first, and W_UK behind the dequantised query, for which vector cores wait a
    // hop: for the cube core beside them alone. Three tiles of q_b and two of W_UK are one more
    // than L1 holds before q_b begins.
    CHECK_EQ(Time(Prolog(kStatic), hops).us, 9.0);
    CheckWindows(Time(Prolog(kStatic), hops), {0, 2});
    problem.q_b = kStatic;
    CHECK_EQ(Time(problem, hops).us, 7.0);
    problem.q_lora_rank = 0;
    // The latents behind the quantised hidden states, q_b when all cube cores have met a hop later.
    CHECK_EQ(Time(problem, hops).us, 6.0);
    CheckWindows(Time(problem, hops), {0, 2});
    problem.q_b = {};
    // q_b a hop behind the latents. W_UK, of which L1 has room for all, comes when it begins.
    CHECK_EQ(Time(problem, hops).us, 3.0);
    CheckWindows(Time(problem, hops), {1, 0});
    // With an indexer, whose query L1 does not hold behind q_b, and which begins a hop behind it.
    problem = Prolog();
    problem.indexer.heads = 16;
    problem.indexer.head_dim = 128;
    CHECK_EQ(Time(problem, hops).us, 7.0);
    CheckWindows(Time(problem, hops), {0, 1, 0});

    plan::OProjProblem o_proj = OProj();
    // Vector cores learn of the value, which o_proj has to wait for a hop.
    CHECK_EQ(Time(o_proj, hops).us, 2.0);
    CheckWindows(Time(o_proj, hops), {0});
    o_proj.has_bias = true;
    // Sums go to the vector cores of the same group, in one hop; what they load behind these has
    // the time in which they finish them, none here.
    CHECK_EQ(Time(o_proj, hops).us, 3.0);
    CheckWindows(Time(o_proj, hops), {0});
    CHECK_EQ(Time(OProj(kDynamic), hops).us, 5.0);
    CheckWindows(Time(OProj(kDynamic), hops), {0});
    o_proj = OProj(kStatic);
    o_proj.kv_lora_rank = 0;
    CHECK_EQ(Time(o_proj, hops).us, 3.0);
}

// Three norms, three rows of the caches and three rotations, each from load to store.
TEST(what_a_vector_core_does) {
    const auto all = [](const auto& problem, double instructions, double repeats, double loads,
                        double stores, double elements) {
        CheckTime(problem, &TimingConstants::vector_cycles, instructions);
        CheckTime(problem, &TimingConstants::vector_repeat_cycles, repeats);
        CheckTime(problem, &TimingConstants::vector_load_cycles, loads);
        CheckTime(problem, &TimingConstants::store_cycles, stores);
        CheckTime(problem, &TimingConstants::scalar_cycles, loads + stores);
        CheckTime(problem, &TimingConstants::vector_load_rate, 4 * elements);
        CheckTime(problem, &TimingConstants::store_rate, 2 * elements);
    };
    // Rows of 1536 elements are 24 repeats, of 512 columns 8, and so are 8 heads of 64 rotated
    // columns. The latents come in two depth shares, of which the caches' rows are added up.
    all(Prolog(), 3 * 10 + 2 + 3 * (10 + 8 + 1) + 3 * 8,
        3 * 5 * 24 + 8 + 3 * (5 + 1) * 8 + 3 * 4 * 8, 3 + 2 + 3 * 2 + 3, 3 * 3,
        3 * 1536 + 512 + 3 * 512 + 3 * 512);
    // Hidden states in one piece; what is normed, in two shares, is dequantised before and
    // quantised after, and the caches' rows, in eight. Then two tiles of 25 tokens and 64 columns,
    // which are dequantised, and again when they are rotated, 8 tokens a step.
    const double elements = 3 * (7168 + 1536) + 512 + 3 * 512 + 2 * 2 * 25 * 64 + 2 * 4 * 8 * 64;
    all(Prolog(kStatic),
        5 + 3 * 6 + 3 * (10 + 1 + 2 + 5) + 2 + 3 * (18 + 3 + 2) + 2 * 2 * 3 + 2 * 4 * 7,
        3 * 6 * 112 + 3 * (5 + 1 + 2 + 4) * 24 + 8 + 3 * (5 + 7 + 2) * 8 + 2 * 2 * 3 * 25 +
            2 * 4 * 4 * 8,
        2 + 3 + 3 + 3 + 3 * 2 + 2 * 2 + 2 * 4, 3 + 3 + 3 + 2 * 2, elements);
    all(Prolog(kDynamic),
        3 * 15 + 3 * (10 + 1 + 3 + 14) + 2 + 3 * (18 + 3 + 3) + 2 * 2 * 4 + 2 * 4 * 7,
        3 * 7 * 112 + 3 * (5 + 1 + 3 + 7) * 24 + 8 + 3 * (5 + 7 + 3) * 8 + 2 * 2 * 4 * 25 +
            2 * 4 * 4 * 8,
        3 + 3 + 3 + 3 * 2 + 2 * 2 + 2 * 4, 3 + 3 + 3 + 2 * 2, elements);
    // Without a latent q_b takes the hidden states, quantised by its own scale or its tokens', and
    // the caches' rows come in four shares.
    plan::PrologProblem problem = Prolog();
    problem.q_lora_rank = 0;
    problem.q_b = kStatic;
    const double caches = 2 + 3 * (10 + 8 + 2);
    const double rotations = 2 * 4 * 7;
    CheckTime(problem, &TimingConstants::vector_cycles, 5 + 3 * 6 + caches + 2 * 2 * 3 + rotations);
    problem.q_b = kDynamic;
    CheckTime(problem, &TimingConstants::vector_cycles, 3 * 15 + caches + 2 * 2 * 4 + rotations);
    problem.q_b = {};
    CheckTime(problem, &TimingConstants::vector_cycles, caches + 3 * 8);
    // A token's heads in two steps: five steps for the core that has most.
    problem.heads = 17;
    CheckTime(problem, &TimingConstants::vector_cycles, caches + 5 * 8);
    // The indexer's heads, 2 steps a token, are rotated as well, and its keys normed and rotated.
    problem = Prolog();
    problem.indexer.heads = 32;
    problem.indexer.head_dim = 128;
    CheckTime(problem, &TimingConstants::vector_cycles,
              3 * 10 + 2 + 3 * (10 + 8 + 1) + 2 + 3 * (10 + 16) + 3 * 8 + 5 * 8);

    // Three rows in one piece each, and 50 rows of 320 sums.
    all(OProj(kStatic), 5 + 3 * 6 + 5, 3 * 6 * 16 + 4 * 250, 2 + 3 + 1, 3 + 1, 3 * 1024 + 50 * 320);
    all(OProj(kDynamic), 3 * 15 + 5, 3 * 7 * 16 + 4 * 250, 3 + 1, 3 + 1, 3 * 1024 + 50 * 320);
}

// Where HBM is all that takes time, a kernel takes that of its weights and of a cold A. Two cores
// stand for all, which may miss the bytes of a product by 5 %.
TEST(weights_through_hbm) {
    const TimingConstants hbm = Only(&TimingConstants::hbm_rate);
    const auto check = [&](const auto& problem, double weights, double left) {
        const double us = Time(problem, hbm).us;
        CHECK(us >= 0.95 * weights && us <= 1.05 * (weights + left));
    };
    const double weights[] = {2112.0 * 7168, 1536.0 * 1536, 8.0 * 128 * 512};
    const double all = weights[0] + weights[1] + weights[2];
    const double hidden = 2 * 100 * 7168;
    check(Prolog(), 2 * all, hidden);
    check(Prolog(kStatic), weights[0] + weights[1] + 2 * weights[2], 0);
    CheckWindows(Time(Prolog(), hbm), {0, 0});
    const double latents = 2.0 * 100 * 8 * 512;
    check(OProj(), 2.0 * 1024 * (512 + 7168), latents);
    check(OProj(kStatic), 1024.0 * (2 * 512 + 7168), latents);
    plan::PrologProblem problem = Prolog();
    problem.indexer.heads = 64;
    problem.indexer.head_dim = 128;
    check(problem, 2 * (all + 7168 * (128.0 + 64) + 1536.0 * 8192), hidden);
}

// Layouts have factors of their own, and short rows cost more: 64 columns of W_UK with ND2NZ.
TEST(a_byte_of_a_weight) {
    TimingConstants constants = Free();
    constants.nd2nz_factor = 3;
    constants.nz_factor = 5;
    constants.nd2nz_row_bytes = 512;
    plan::PrologProblem problem = Prolog();
    problem.qkv_a = plan::Plain(plan::WeightLayout::kOutInNz);
    problem.w_uk = plan::WeightLayout::kInOut;
    const PrologPlan plan = plan::PlanProlog(problem, Chip()).kernel;
    const auto factor = [&](prolog::Product product, uint32_t columns) {
        return plan::WeightHbmFactor(constants, plan::GemmOf(plan, product), columns);
    };
    const uint32_t depth = plan::GemmOf(plan, prolog::kQueryB).tile_k;
    CHECK_EQ(factor(prolog::kQkvA, 176), 5.0);
    CHECK_EQ(factor(prolog::kQueryB, 64), 3 * std::max(1.0, (1 + 512 / (2.0 * depth)) / 2));
    CHECK_EQ(factor(prolog::kAbsorb, 64), 3 * (1 + 512 / 128.0) / 2);
    CHECK_EQ(factor(prolog::kAbsorb, 512), 3.0);
}

// The cores load each weight once, and a cold A no more often than they have columns of their own.
TEST(two_cores_stand_for_all) {
    for (const uint32_t tokens : {1u, 16u, 100u, 300u}) {
        for (const LinearFormat& format : {LinearFormat{}, kStatic}) {
            plan::PrologProblem problem = Prolog(format);
            problem.tokens = tokens;
            const PrologPlan plan = plan::PlanProlog(problem, Chip()).kernel;
            const plan::CubeProgram cubes = plan::CubesOf(plan, Chip().aic_count);
            for (uint32_t i = 0; i < cubes.products().size(); ++i) {
                double cores = 0;
                double weight = 0;
                double cold = 0;
                for (const plan::CubeProgram::Core& core : cubes.cores()) {
                    cores += core.stands_for[i];
                    for (const plan::CubeProgram::Load& load : core.loads) {
                        if (load.product != i) continue;
                        const double bytes = core.stands_for[i] * load.bytes * load.from_hbm;
                        (load.columns > 0 ? weight : cold) += bytes;
                    }
                }
                const GemmPlan& gemm = *cubes.products()[i].gemm;
                CHECK_EQ(cores, 24.0);
                const double bytes = static_cast<double>(plan::WeightBytes(gemm));
                CHECK(std::abs(weight - bytes) <= 0.05 * bytes);
                // A single row is loaded twice, and the last tile of rows counts as a whole one.
                const double rows = std::max(2.0, std::ceil(tokens / 128.0) * TileRows(gemm));
                const double left = rows * gemm.k * gemm.element_bytes;
                CHECK(cubes.products()[i].cold ? std::abs(cold - left) <= 0.05 * left : cold == 0);
            }
        }
    }
}

// A core loads no faster than it can: the largest share decides, behind a left matrix of one row,
// which is loaded twice.
TEST(the_largest_share_of_a_weight) {
    for (const uint32_t hidden : {7168u, 7184u, 384u, 16u}) {
        plan::OProjProblem problem = OProj();
        problem.tokens = 1;
        problem.kv_lora_rank = 0;
        problem.hidden_size = hidden;
        const double columns = 16.0 * ((hidden / 16 + 23) / 24);
        CheckTime(problem, &TimingConstants::cube_load_rate, 2 * 1024 * (columns + 2));
    }
}

// All that passes through L2: the weights, and the left matrix a core and, where L1 does not keep
// it, a tile of columns at a time. Of more than 128 rows each tile takes the weights anew.
TEST(what_passes_through_l2) {
    plan::OProjProblem problem = OProj();
    problem.kv_lora_rank = 0;
    problem.hidden_size = 24 * 304;  // as much for all cores
    for (const uint32_t tokens : {16u, 100u, 300u}) {
        problem.tokens = tokens;
        const GemmPlan gemm = plan::PlanOProj(problem, Chip()).kernel.o_proj;
        const bool kept = gemm.a_depth >= 1024;
        CHECK_EQ(kept, tokens <= 16);
        const double passes = std::ceil(tokens / 128.0);
        const double reads = kept ? 1 : std::ceil(304.0 / (gemm.c_tiles * gemm.tile_n));
        const double expected = 24 * 1024 * 2 * passes * (304 + reads * TileRows(gemm));
        CheckTime(problem, &TimingConstants::l2_rate, expected);
    }
}

// The cube's work on the largest share, L0B moved once, and all sums through the fixpipe.
TEST(products) {
    plan::OProjProblem problem = OProj();
    for (const uint32_t tokens : {1u, 17u, 129u, 300u}) {
        problem.tokens = tokens;
        const OProjPlan plan = plan::PlanOProj(problem, Chip()).kernel;
        const double passes = std::ceil(1.0 * tokens / 128);
        const double rows = std::ceil(TileRows(plan.o_proj) / 16);
        // Two parts of o_proj's first tile are in L0B when the value comes.
        const double ahead = 2.0 * 2 * plan.o_proj.tile_n * plan.o_proj.l0_k;
        const double elements = MostElements(plan.v_up) + MostElements(plan.o_proj);
        CheckTime(problem, &TimingConstants::move_l0b_rate, passes * (2 * elements - ahead));
        CheckTime(problem, &TimingConstants::cube_efficiency, passes * rows * elements / 256);
        // 48 columns of the value in one tile, and 304 of o_proj.
        CheckTime(problem, &TimingConstants::fixpipe_rate,
                  passes * TileRows(plan.o_proj) * 2 * (48 + 304));
        CheckTime(problem, &TimingConstants::fixpipe_cycles,
                  1 + std::ceil(304.0 / plan.o_proj.tile_n));
    }
    // Of the kernel that has no W_UV, 304 columns.
    problem.kv_lora_rank = 0;
    problem.tokens = 16;
    CheckTime(problem, &TimingConstants::fixpipe_rate, 16 * 2 * 304);
}

// While cores wait for the value the ring takes four tiles, and HBM waits with a full one.
TEST(a_full_ring_waits) {
    plan::OProjProblem problem = OProj(kStatic);
    problem.kv_lora_rank = 0;
    problem.hidden_size = 24 * 320;  // as much for all cores
    const OProjPlan plan = plan::PlanOProj(problem, Chip()).kernel;
    const double tiles =
        std::ceil(320.0 / plan.o_proj.tile_n) * std::ceil(1024.0 / plan.o_proj.tile_k);
    CHECK(tiles > 4 && plan.buffers.b_slots == 4);
    const double all = 1024.0 * problem.hidden_size;
    TimingConstants constants = Only(&TimingConstants::hbm_rate);
    for (const double hop : {0.0, 1.0, all / 4, 2 * all}) {
        constants.cross_core_us = hop;
        // Two hops to the cube cores, and one from them.
        const double us = Time(problem, constants).us - hop;
        const double ahead = std::min(2 * hop, all * 4 / tiles);
        CHECK(std::abs(us - std::max(all, 2 * hop + all - ahead)) <= 0.01 * us);
    }
}

// No constant that gets worse makes a kernel shorter, and none takes less time than what it moves.
TEST(a_kernel_is_no_shorter_than) {
    const TimingConstants& nominal = arch::PlanningConstants(Chip());
    const auto check = [&](const auto& problem, double weights) {
        const double us = Time(problem, nominal).us;
        CHECK(us > weights / nominal.hbm_rate && us < 3 * weights / nominal.hbm_rate + 20);
        for (double TimingConstants::* member :
             {&TimingConstants::cross_core_us, &TimingConstants::hbm_latency,
              &TimingConstants::cube_load_cycles, &TimingConstants::mte2_issue_cycles,
              &TimingConstants::event_cycles, &TimingConstants::move_cycles,
              &TimingConstants::mmad_cycles, &TimingConstants::fixpipe_cycles,
              &TimingConstants::vector_cycles, &TimingConstants::vector_repeat_cycles,
              &TimingConstants::vector_load_cycles, &TimingConstants::store_cycles,
              &TimingConstants::scalar_cycles, &TimingConstants::l2_cube_factor}) {
            TimingConstants worse = nominal;
            worse.*member *= 2;
            CHECK(Time(problem, worse).us >= 0.999 * us);
        }
        for (double TimingConstants::* rate :
             {&TimingConstants::hbm_rate, &TimingConstants::l2_rate,
              &TimingConstants::cube_load_rate, &TimingConstants::move_l0b_rate,
              &TimingConstants::fixpipe_rate, &TimingConstants::cube_efficiency}) {
            TimingConstants worse = nominal;
            worse.*rate /= 2;
            CHECK(Time(problem, worse).us >= 0.999 * us);
        }
    };
    const double q_b = 1536.0 * 1536;
    const double w_uk = 2.0 * 8 * 128 * 512;
    for (const uint32_t tokens : {1u, 16u, 100u}) {
        plan::PrologProblem problem = Prolog();
        problem.tokens = tokens;
        check(problem, 2 * (2112.0 * 7168 + q_b) + w_uk);
        problem = Prolog(kDynamic);
        problem.tokens = tokens;
        check(problem, 2112.0 * 7168 + q_b + w_uk);
        plan::OProjProblem o_proj = OProj();
        o_proj.tokens = tokens;
        check(o_proj, 2.0 * 1024 * (512 + 7168));
    }
}

// Loads of o_proj's window begin behind those of the sums, and have until these are finished.
TEST(windows_begin_behind_a_load) {
    TimingConstants constants = Only(&TimingConstants::cross_core_us);
    constants.vector_load_cycles = 0.25;
    plan::OProjProblem problem = OProj();
    problem.has_bias = true;
    constants.store_cycles = 4;
    CheckWindows(Time(problem, constants), {4});
}
