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
    return plan::TimeProlog(plan::PlanProlog(problem, Chip()).kernel, constants, Chip().aic_count);
}

plan::KernelTimes Time(const plan::OProjProblem& problem, const TimingConstants& constants) {
    return plan::TimeOProj(plan::PlanOProj(problem, Chip()).kernel, constants, Chip().aic_count);
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
double TileBytes(const GemmPlan& gemm) {
    return 1.0 * gemm.tile_n * gemm.tile_k * gemm.element_bytes;
}

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
    // hop: for the cube core beside them alone. In int8 L1 has room: the window is that from the
    // latents to q_b.
    CHECK_EQ(Time(Prolog(kStatic), hops).us, 9.0);
    CheckWindows(Time(Prolog(kStatic), hops), {3, 2});
    problem.q_b = kStatic;
    CHECK_EQ(Time(problem, hops).us, 7.0);
    problem.q_lora_rank = 0;
    CHECK_EQ(Time(problem, hops).us, 5.0);
    CheckWindows(Time(problem, hops), {0, 1});
    problem.q_b = {};
    CHECK_EQ(Time(problem, hops).us, 2.0);
    CheckWindows(Time(problem, hops), {0, 0});
    // With an indexer, whose query L1 does not hold behind q_b.
    problem = Prolog();
    problem.indexer.heads = 16;
    problem.indexer.head_dim = 128;
    CHECK_EQ(Time(problem, hops).us, 6.0);
    CheckWindows(Time(problem, hops), {0, 0, 0});

    plan::OProjProblem o_proj = OProj();
    CHECK_EQ(Time(o_proj, hops).us, 1.0);
    CheckWindows(Time(o_proj, hops), {0});
    o_proj.has_bias = true;
    // Sums go to the vector cores of the same group, in one hop; what they load behind these has
    // the time in which they finish them, none here.
    CHECK_EQ(Time(o_proj, hops).us, 2.0);
    CheckWindows(Time(o_proj, hops), {0});
    CHECK_EQ(Time(OProj(kDynamic), hops).us, 5.0);
    CheckWindows(Time(OProj(kDynamic), hops), {0});
    o_proj = OProj(kStatic);
    o_proj.kv_lora_rank = 0;
    CHECK_EQ(Time(o_proj, hops).us, 4.0);
}

// Three norms and three rotations, each from load to store.
TEST(what_a_vector_core_does) {
    const auto all = [](const auto& problem, double instructions, double repeats, double loads,
                        double stores, double elements) {
        CheckTime(problem, &TimingConstants::vector_cycles, instructions);
        CheckTime(problem, &TimingConstants::vector_repeat_cycles, repeats);
        CheckTime(problem, &TimingConstants::vector_load_cycles, loads);
        CheckTime(problem, &TimingConstants::store_cycles, stores);
        CheckTime(problem, &TimingConstants::scalar_cycles, instructions + loads + stores);
        CheckTime(problem, &TimingConstants::vector_load_rate, 4 * elements);
        CheckTime(problem, &TimingConstants::store_rate, 2 * elements);
    };
    // Rows of 1536 elements are 24 repeats, 8 heads of 64 rotated columns 8.
    all(Prolog(), 3 * (12 + 10), 3 * (6 * 24 + 4 * 8), 3 * (1 + 1), 3 * (1 + 1), 3 * (1536 + 512));
    // Hidden states in one piece; what is normed, in two shares, is dequantised before and
    // quantised after; then a tile of 50 tokens and 64 columns, of which seven times 8 tokens may
    // be rotated.
    const double elements = 3 * (7168 + 1536) + 50 * 64 + 7 * 8 * 64;
    all(Prolog(kStatic), 3 * (11 + 13 + 2 + 5) + 3 + 7 * 10,
        3 * (5 * 112 + (7 + 2 + 4) * 24) + 3 * 50 + 7 * 4 * 8, 3 * (3 + 1) + 1, 3 * (1 + 2) + 1 + 7,
        elements);
    all(Prolog(kDynamic), 3 * (20 + 13 + 3 + 18) + 4 + 7 * 10,
        3 * (7 * 112 + (7 + 3 + 7) * 24) + 4 * 50 + 7 * 4 * 8, 3 * (1 + 1) + 2, 3 * (2 + 3) + 1 + 7,
        elements);
    // Without a latent q_b takes the hidden states, quantised by its own scale or its tokens'.
    plan::PrologProblem problem = Prolog();
    problem.q_lora_rank = 0;
    problem.q_b = kStatic;
    CheckTime(problem, &TimingConstants::vector_cycles, 3 * 11 + 3 + 7 * 10);
    problem.q_b = kDynamic;
    CheckTime(problem, &TimingConstants::vector_cycles, 3 * 20 + 4 + 7 * 10);
    problem.q_b = {};
    CheckTime(problem, &TimingConstants::vector_cycles, 3 * 10);
    // A token's heads in two steps: five steps for the core that has most.
    problem.heads = 17;
    CheckTime(problem, &TimingConstants::vector_cycles, 5 * 10);
    // The indexer's heads, 2 steps a token, are rotated as well.
    problem = Prolog();
    problem.indexer.heads = 32;
    problem.indexer.head_dim = 128;
    CheckTime(problem, &TimingConstants::vector_cycles, 3 * (12 + 10) + 5 * 10);

    // Three rows in one piece each, and 50 rows of 320 sums.
    all(OProj(kStatic), 3 * 11 + 5, 3 * 5 * 16 + 4 * 250, 3 * 3 + 1, 3 + 1, 3 * 1024 + 50 * 320);
    all(OProj(kDynamic), 3 * 20 + 5, 3 * 7 * 16 + 4 * 250, 3 * 1 + 1, 3 * 2 + 1,
        3 * 1024 + 50 * 320);
}

// Where HBM is all that takes time, a kernel takes that of its weights, and never idles.
TEST(weights_through_hbm) {
    const double weights[] = {2112.0 * 7168, 1536.0 * 1536, 8.0 * 128 * 512};
    const double all = weights[0] + weights[1] + weights[2];
    CheckTime(Prolog(), &TimingConstants::hbm_rate, 2 * all);
    CheckTime(Prolog(kStatic), &TimingConstants::hbm_rate,
              weights[0] + weights[1] + 2 * weights[2]);
    CheckWindows(Time(Prolog(), Only(&TimingConstants::hbm_rate)), {0, 0});
    CheckTime(OProj(), &TimingConstants::hbm_rate, 2.0 * 1024 * (512 + 7168));
    CheckTime(OProj(kStatic), &TimingConstants::hbm_rate, 1024.0 * (2 * 512 + 7168));
    plan::PrologProblem problem = Prolog();
    problem.indexer.heads = 64;
    problem.indexer.head_dim = 128;
    CheckTime(problem, &TimingConstants::hbm_rate, 2 * (all + 7168 * (128.0 + 64) + 1536.0 * 8192));

    // Layouts have factors of their own, and short rows cost more: 64 columns of W_UK with ND2NZ.
    TimingConstants constants = Only(&TimingConstants::hbm_rate);
    constants.nd2nz_factor = 3;
    constants.nz_factor = 5;
    constants.nd2nz_row_bytes = 512;
    problem = Prolog();
    problem.qkv_a = plan::Plain(plan::WeightLayout::kOutInNz);
    problem.w_uk = plan::WeightLayout::kInOut;
    const PrologPlan plan = plan::PlanProlog(problem, Chip()).kernel;
    const auto short_rows = [](double bytes) { return std::max(1.0, (1 + 512 / bytes) / 2); };
    const double expected =
        2 * (5 * weights[0] +
             3 * short_rows(2.0 * plan::GemmOf(plan, prolog::kQueryB).tile_k) * weights[1] +
             3 * short_rows(2.0 * plan::GemmOf(plan, prolog::kAbsorb).tile_n) * weights[2]);
    CHECK(short_rows(2.0 * plan::GemmOf(plan, prolog::kAbsorb).tile_n) > 1);
    const double us = Time(problem, constants).us;
    CHECK(std::abs(us - expected) <= 1e-9 * expected);

    // The first byte takes the latency longer.
    CheckTime(Prolog(), &TimingConstants::hbm_latency, 1);
    CheckTime(OProj(), &TimingConstants::hbm_latency, 1);
}

// A core loads no faster than it can: the largest share decides. The left matrix, 16 rows, is
// loaded by then.
TEST(the_largest_share_of_a_weight) {
    for (const uint32_t hidden : {7168u, 7184u, 384u, 16u}) {
        plan::OProjProblem problem = OProj();
        problem.tokens = 1;
        problem.kv_lora_rank = 0;
        problem.hidden_size = hidden;
        const double columns = 16.0 * ((hidden / 16 + 23) / 24);
        CheckTime(problem, &TimingConstants::cube_load_rate, 2 * 1024 * columns);
    }
}

// The left matrix out of L2: for the first tile of weights all of it at once; over the product half
// of the time in which all cores read it, a tile of columns at a time where L1 does not keep it.
TEST(the_left_matrix) {
    plan::OProjProblem problem = OProj();
    problem.kv_lora_rank = 0;
    for (const uint32_t tokens : {1u, 16u, 100u, 300u}) {
        problem.tokens = tokens;
        const GemmPlan gemm = plan::PlanOProj(problem, Chip()).kernel.o_proj;
        const double columns = 16.0 * ((7168 / 16 + 23) / 24);
        const bool kept = gemm.a_depth >= 1024 && tokens <= 128;
        CHECK_EQ(kept, tokens <= 16);
        const double times = kept ? 1 : std::ceil(columns / gemm.tile_n);
        const double first = 24 * TileRows(gemm) * gemm.a_depth * 2;
        const double all = 0.5 * 24 * times * 1024 * tokens * 2;
        // The ring takes the first tiles while the left matrix comes.
        const double ahead = std::min(
            1.0, 4.0 / (std::ceil(columns / gemm.tile_n) * std::ceil(1.0 * tokens / gemm.tile_m) *
                        std::ceil(1024.0 / gemm.tile_k)));
        const double expected = std::max(first, ahead * all) + (1 - ahead) * all;
        CheckTime(problem, &TimingConstants::l2_rate, std::max(expected, all));
        CheckTime(problem, &TimingConstants::cube_load_cycles, 2);
    }
}

// Beside its weights a product reads what it multiplies: of a per-head product each core what
// belongs to its heads, in parts of them.
TEST(the_left_matrix_shares_the_time_of_the_weights) {
    TimingConstants constants = Only(&TimingConstants::hbm_rate);
    constants.l2_rate = 24;
    for (const uint32_t heads : {8u, 128u}) {
        plan::OProjProblem problem = OProj();
        problem.tokens = 16;
        problem.heads = heads;
        problem.value_columns = heads * 128;
        const double columns = 16 * std::ceil(heads * 8 / 24.0);
        const double v_up =
            2.0 * problem.value_columns * 512 + 0.5 * std::ceil(columns / 128) * 512 * 16 * 2;
        const double o_proj = 2.0 * problem.value_columns * 7168 +
                              0.5 * (heads == 8 ? 1 : 3) * problem.value_columns * 16 * 2;
        const double us = Time(problem, constants).us;
        CHECK(std::abs(us - (v_up + o_proj)) <= 1e-9 * us);
    }
}

// The cube's work on the largest share, and a last tile that goes from L1 to GM.
TEST(products) {
    plan::OProjProblem problem = OProj();
    for (const uint32_t tokens : {1u, 17u, 129u, 300u}) {
        problem.tokens = tokens;
        const OProjPlan plan = plan::PlanOProj(problem, Chip()).kernel;
        double moves = 0;
        double multiplies = 0;
        double stores = 0;
        for (const GemmPlan& gemm : {plan.v_up, plan.o_proj}) {
            const double passes = std::ceil(1.0 * tokens / 128);
            const double fractals = MostElements(gemm) / 256;
            moves += 2 * MostElements(gemm) * passes + TileBytes(gemm);
            multiplies += fractals * std::ceil(TileRows(gemm) / 16) * passes;
            stores += TileRows(gemm) * gemm.tile_n * 4;
        }
        CheckTime(problem, &TimingConstants::move_l0b_rate, moves);
        CheckTime(problem, &TimingConstants::cube_efficiency, multiplies);
        CheckTime(problem, &TimingConstants::fixpipe_rate, stores);
        CheckTime(problem, &TimingConstants::move_cycles, 2);
        CheckTime(problem, &TimingConstants::mmad_cycles, 2);
        CheckTime(problem, &TimingConstants::fixpipe_cycles, 2);
        // Four events from L1 to GM and two for the left matrix, twice.
        CheckTime(problem, &TimingConstants::event_cycles, 12);
    }
    // qkv_a and q_b, then three rows and three steps with two events for each load and store.
    CheckTime(Prolog(), &TimingConstants::event_cycles, 2 * 6 + 3 * 2 * 2 + 3 * 2 * 2);
    // W_UK too, where that waits for the vector cores, and qkv_a is two products.
    CheckTime(Prolog(kStatic), &TimingConstants::fixpipe_cycles, 4);
    plan::PrologProblem indexed = Prolog();
    indexed.indexer.heads = 32;
    indexed.indexer.head_dim = 128;
    // qkv_a, wk, weights_proj, q_b, wq_b, W_UK one after the other.
    CheckTime(indexed, &TimingConstants::fixpipe_cycles, 6);
    // The first weight, then the left matrix of each product but q_b's, which comes meanwhile.
    CheckTime(indexed, &TimingConstants::cube_load_cycles, 1 + 5);
    CheckTime(Prolog(), &TimingConstants::cube_load_cycles, 1 + 3);
    CheckTime(OProj(), &TimingConstants::cube_load_cycles, 1 + 2);
}

// A ring that is full waits for the product to begin, and HBM with it.
TEST(a_full_ring_waits) {
    plan::OProjProblem problem = OProj();
    problem.kv_lora_rank = 0;
    problem.tokens = 16;
    const GemmPlan gemm = plan::PlanOProj(problem, Chip()).kernel.o_proj;
    const double tiles = std::ceil(16.0 * 19 / gemm.tile_n) * std::ceil(1024.0 / gemm.tile_k);
    CHECK(tiles > 4);
    const double all = 2.0 * 7168 * 1024;
    TimingConstants constants = Only(&TimingConstants::hbm_rate);
    for (const double wait : {0.0, 1.0, all / 2, 2 * all}) {
        constants.event_cycles = wait / 2;  // the left matrix takes two, the last tile four
        const double left = std::max(all, wait + all - std::min(wait, all * 4 / tiles));
        const double us = Time(problem, constants).us;
        CHECK(std::abs(us - (left + 2 * wait)) <= 1e-9 * us);
    }
}

// The depth of fused_qkv_a is dealt out to two groups of cores: of 27 tiles the larger share
// has 14. It waits for hidden states as long as it takes itself, and q_b for its latents; meanwhile
// four of the tiles of each are loaded, of q_b's six. W_UK comes while its own product waits.
TEST(a_ring_of_half_the_depth) {
    plan::PrologProblem problem = Prolog();
    problem.hidden_size = 27 * 256;
    const PrologPlan plan = plan::PlanProlog(problem, Chip()).kernel;
    CHECK(plan::GemmOf(plan, prolog::kQkvA).depth_shares == 2 &&
          plan::GemmOf(plan, prolog::kQkvA).tile_k == 256 &&
          plan::GemmOf(plan, prolog::kQkvA).tile_n == 176);
    CHECK(plan::GemmOf(plan, prolog::kQueryB).tile_k == 288 &&
          plan::GemmOf(plan, prolog::kQueryB).tile_n == 64);
    const double wait = 2.0 * 2112 * problem.hidden_size;
    TimingConstants constants = Only(&TimingConstants::hbm_rate);
    constants.cube_load_cycles = wait;  // of the first weight as well
    const double us = Time(problem, constants).us;
    const double expected = 4 * wait + wait * 10 / 14 + 2.0 * 1536 * 1536 * 2 / 6;
    CHECK(std::abs(us - expected) <= 1e-9 * us);
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
