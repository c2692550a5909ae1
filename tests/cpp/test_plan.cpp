// Plans of the prolog kernels: tiles fit their buffers, windows stay within their regions and
// budgets.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "arch/dav_c220.h"
#include "check.h"
#include "plan/idle_time.h"
#include "plan/plan_cache.h"
#include "plan/plan_o_proj.h"
#include "plan/plan_phases.h"
#include "plan/plan_prolog.h"
#include "plan/rounding.h"
#include "plan/units.h"
#include "plan_problems.h"

namespace {

uint64_t SequenceChunks(const WarmPlan& warm) {
    uint64_t chunks = 0;
    for (uint32_t r = 0; r < warm.region_count; ++r) {
        chunks += (warm.regions[r].bytes + warm.chunk_bytes - 1) / warm.chunk_bytes;
    }
    return chunks;
}

/// The call plan of a shape that nobody has kept.
PrologWarm PlanWarm(const plan::PrologProblem& problem, const arch::Chip& chip,
                    const plan::PrefetchRequest& request, plan::PlanReport* report = nullptr) {
    return plan::PlanPrologWarm(plan::PlanProlog(problem, chip), chip, request, report);
}
OProjWarm PlanWarm(const plan::OProjProblem& problem, const arch::Chip& chip,
                   const plan::PrefetchRequest& request) {
    return plan::PlanOProjWarm(plan::PlanOProj(problem, chip), chip, request);
}

std::vector<WarmWindow> Windows(const PrologWarm& warm) {
    return {std::begin(warm.windows), std::end(warm.windows)};
}

uint64_t PlannedChunks(const PrologWarm& warm) {
    uint64_t chunks = 0;
    for (const WarmWindow& window : Windows(warm)) chunks += window.chunk_count;
    return chunks;
}

/// Weight tiles of the core that has most of them, cut one by one as the kernels do.
uint64_t MostTiles(const GemmPlan& gemm, uint32_t cores) {
    CHECK(gemm.row_shares == 1 && gemm.depth_shares == 1);
    const uint32_t batch = gemm.n / gemm.strip;
    const uint32_t strips = gemm.batches * batch;
    uint64_t most = 0;
    for (uint32_t core = 0; core < cores; ++core) {
        uint64_t tiles = 0;
        const uint32_t end = strips * (core + 1) / cores;
        for (uint32_t strip = strips * core / cores; strip < end; ++tiles) {
            strip += std::min({gemm.tile_n / gemm.strip, batch - strip % batch, end - strip});
        }
        most = std::max(most, tiles);
    }
    const uint32_t row_tiles = (gemm.m + gemm.tile_m - 1) / gemm.tile_m;
    return most * row_tiles * ((gemm.k + gemm.tile_k - 1) / gemm.tile_k);
}

/// Windows follow one another through the chunk sequence and end inside it; cores exist.
void CheckWindows(const PrologWarm& planned, const arch::Chip& chip) {
    const WarmPlan& warm = planned.plan;
    uint64_t next = 0;
    for (const WarmWindow& window : Windows(planned)) {
        if (window.chunk_count == 0) continue;
        CHECK_EQ(window.first_chunk, next);
        next += window.chunk_count;
        CHECK(window.core_count > 0);
        CHECK(window.first_core + window.core_count <= chip.aiv_count);
    }
    CHECK(next <= SequenceChunks(warm));
    // The first of them, and only that one, waits for the kernel's own weights.
    uint32_t waits = 0;
    for (const WarmWindow& window : Windows(planned)) {
        if (window.after_stream != 0) CHECK_EQ(window.first_chunk, 0u);
        waits += window.after_stream;
    }
    CHECK_EQ(waits, next > 0 ? 1u : 0u);
    CHECK_EQ(warm.await_stream, waits);
}

}  // namespace

TEST(tiles_fit_the_buffers_of_a_core) {
    for (const uint32_t tokens : {1u, 16u, 17u, 64u, 65u, 128u, 129u, 8192u}) {
        for (const uint32_t tp : {1u, 16u}) {
            const PrologPlan plan =
                plan::PlanProlog(DeepSeekV3(tokens, tp), arch::FindChip("Ascend910_9391")).kernel;
            const GemmBuffers& buffers = plan.buffers;
            CHECK(buffers.b_slots * buffers.b_slot_bytes + 2 * buffers.a_slot_bytes <=
                  arch::DavC220::kUsableL1Bytes);
            CHECK(2 * buffers.l0c_slot_bytes <= arch::DavC220::kL0cBytes);
            CHECK_EQ(buffers.l0c_slot_bytes % 1024, 0u);  // where Mmad may write (Mmad)
            for (const GemmPlan& gemm :
                 {plan::GemmOf(plan, prolog::kQkvA), plan::GemmOf(plan, prolog::kQueryB),
                  plan::GemmOf(plan, prolog::kAbsorb)}) {
                const uint32_t rows = (gemm.tile_m + 15) / 16 * 16;
                CHECK(gemm.tile_n * gemm.tile_k * 2 <= buffers.b_slot_bytes);
                CHECK(rows * gemm.tile_k * 2 <= buffers.a_slot_bytes);
                CHECK(rows * gemm.l0_k * 2 <= arch::DavC220::kL0aBytes / 2);
                CHECK(gemm.tile_n * gemm.l0_k * 2 <= arch::DavC220::kL0bBytes / 2);
                CHECK(rows * gemm.tile_n * 4 <= gemm.l0c_slots * buffers.l0c_slot_bytes);
                CHECK(gemm.tile_n % 16 == 0 && gemm.tile_k % 16 == 0 && gemm.l0_k % 16 == 0 &&
                      gemm.l0_k > 0);
            }
        }
    }
}

// A tile of 65 to 80 or 97 to 112 rows by an odd number of strips that takes both slots of L0C,
// beside products that take one: half of its sums is no multiple of 1,024 bytes.
TEST(slots_of_sums_start_where_mmad_may_write) {
    uint32_t uneven = 0;
    for (const arch::Chip& chip : arch::Chips()) {
        for (const uint32_t tokens : {64u, 65u, 80u, 81u, 96u, 97u, 112u, 113u, 128u}) {
            for (uint32_t columns = 9; columns <= 11; ++columns) {
                plan::OProjProblem problem;
                problem.tokens = tokens;
                problem.heads = 16;
                problem.kv_lora_rank = 64;
                problem.value_columns = 1024;
                problem.hidden_size = chip.aic_count * columns * 16;
                const OProjPlan plan = plan::PlanOProj(problem, chip).kernel;
                const uint32_t rows = (plan.o_proj.tile_m + 15) / 16 * 16;
                const uint32_t half = rows * plan.o_proj.tile_n * 4 / 2;
                if (plan.o_proj.l0c_slots == 2 && half % 1024 != 0) ++uneven;
                CHECK_EQ(plan.v_up.l0c_slots, 1u);
                CHECK_EQ(plan.buffers.l0c_slot_bytes % 1024, 0u);
                CHECK(plan.o_proj.l0c_slots * plan.buffers.l0c_slot_bytes >=
                      rows * plan.o_proj.tile_n * 4);
                CHECK(2 * plan.buffers.l0c_slot_bytes <= arch::DavC220::kL0cBytes);
            }
        }
    }
    CHECK(uneven > 0);
}

// Their magnitudes fit one repeat, 8 bytes apart.
TEST(a_row_goes_through_the_dynamic_quantiser_in_32_pieces_at_most) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    for (const uint32_t columns : {32u, 2048u, 65536u, 65568u, 131072u}) {
        plan::OProjProblem problem;
        problem.tokens = 3;
        problem.value_columns = columns;
        problem.hidden_size = 64;
        problem.o_proj = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
        const OProjPlan plan = plan::PlanOProj(problem, chip).kernel;
        CHECK_EQ(plan.widest % 64, 0u);
        CHECK(plan::CeilDiv(columns, std::min(plan.widest, 4096u)) <= 32);
        problem.value_columns = 131104;
        try {
            plan::PlanOProj(problem, chip);
            CHECK(false);
        } catch (const std::invalid_argument& error) {
            CHECK_EQ(error.what(), std::string("value columns: expected at most 131072 where a "
                                               "token has a scale, got 131104"));
        }
    }
    plan::PrologProblem problem = DeepSeekV3(1, 16);
    problem.qkv_a = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
    problem.hidden_size = 131072;
    CHECK(plan::PlanProlog(problem, chip).kernel.widest >= 4096);
    problem.hidden_size = 131104;
    try {
        plan::PlanProlog(problem, chip);
        CHECK(false);
    } catch (const std::invalid_argument& error) {
        CHECK_EQ(error.what(), std::string("hidden size: expected at most 131072 where a token has "
                                           "a scale, got 131104"));
    }
    problem.qkv_a = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);
    CHECK(plan::PlanProlog(problem, chip).kernel.widest < 4096);
}

TEST(windows_stay_inside_the_regions_for_every_chip_and_budget) {
    for (const arch::Chip& chip : arch::Chips()) {
        for (const uint32_t tokens : {1u, 16u, 40u, 48u, 49u, 500u}) {
            for (const uint64_t region :
                 {uint64_t{0}, uint64_t{31}, uint64_t{32}, uint64_t{16385}, uint64_t{14680064}}) {
                const plan::PrologProblem problem = DeepSeekV3(tokens, 16);
                plan::PrefetchRequest request;
                request.regions = {{0x1000, region}, {0x2000, 40000}};
                CheckWindows(PlanWarm(problem, chip, request), chip);
                for (const uint64_t budget :
                     {uint64_t{0}, uint64_t{16383}, uint64_t{1} << 20, uint64_t{1} << 30}) {
                    request.bytes = budget;
                    const PrologWarm warm = PlanWarm(problem, chip, request);
                    CheckWindows(warm, chip);
                    CHECK(PlannedChunks(warm) * warm.plan.chunk_bytes <= budget);
                }
            }
        }
    }
}

// At TP16 q_b and W_UK are in L1 when the norm is done: HBM idles until the kernel ends.
TEST(idle_time_becomes_bytes) {
    plan::PrefetchRequest request;
    request.regions = {{0x1000, 14680064}};
    plan::PlanReport report;
    const PrologWarm warm =
        PlanWarm(DeepSeekV3(16, 16), arch::FindChip("Ascend910_9391"), request, &report);
    CHECK_EQ(warm.plan.chunk_bytes, 16384u);
    CHECK_EQ(report.decisions.size(), size_t{2});
    uint64_t chunks = 0;
    for (const plan::PrefetchDecision& decision : report.decisions) {
        CHECK_EQ(decision.weight, "prefetch[0]");
        CHECK_EQ(decision.bytes, static_cast<uint64_t>(decision.idle_us * 1.49e6) / 16384 * 16384);
        chunks += decision.bytes / 16384;
    }
    CHECK(chunks > 0);
    CHECK_EQ(PlannedChunks(warm), chunks);
    // 36.0 MB at 1.49 TB/s less what ND2NZ loads cost, and what comes after them.
    CHECK(report.us > 25.6 && report.us < 32);
}

// At TP1 the stream ends with the kernel.
TEST(nothing_is_prefetched_while_hbm_works) {
    plan::PrefetchRequest request;
    request.regions = {{0x1000, 14680064}};
    plan::PlanReport report;
    const PrologWarm warm =
        PlanWarm(DeepSeekV3(16, 1), arch::FindChip("Ascend910_9391"), request, &report);
    CHECK_EQ(PlannedChunks(warm), uint64_t{0});
    CHECK_EQ(warm.plan.pad_slots, 0u);
    for (const plan::PrefetchDecision& decision : report.decisions) {
        CHECK_EQ(decision.bytes, uint64_t{0});
        CHECK_EQ(decision.reason, "HBM has no time left for it");
    }
}

// The last weight tile is loaded when one of the slots before it is free. With more tiles behind
// q_b than slots that is after q_b's product, so that HBM never idles while the vector cores wait
// for it; the same of the indexer's query and W_UK.
TEST(hbm_does_not_idle_before_l1_holds_the_rest) {
    uint32_t held = 0;
    uint32_t late = 0;
    const auto check = [&](const plan::PrologProblem& problem, const arch::Chip& chip) {
        const plan::PrologShapePlan shape = plan::PlanProlog(problem, chip);
        const PrologPlan& plan = shape.kernel;
        const plan::IdleWindows& windows = shape.room.times.windows;
        uint64_t tiles = MostTiles(plan::GemmOf(plan, prolog::kAbsorb), chip.aic_count);
        if (problem.indexer.heads > 0) {
            if (tiles > plan.buffers.b_slots) CHECK_EQ(windows[1].idle.nominal_us, 0.0);
            tiles += MostTiles(plan::GemmOf(plan, prolog::kIndexerQuery), chip.aic_count);
        }
        if (tiles > plan.buffers.b_slots) {
            CHECK_EQ(windows[0].idle.nominal_us, 0.0);
            ++late;
        } else if (windows[0].idle.nominal_us > 0) {
            ++held;
        }
    };
    plan::PrologProblem small = DeepSeekV3(1, 8);
    small.hidden_size = 512;
    small.q_lora_rank = 192;
    small.kv_lora_rank = 128;
    small.nope_dim = 64;
    for (const char* name : {"Ascend910_9391", "Ascend910B4"}) {
        for (const uint32_t tokens : {1u, 16u, 17u, 64u, 128u, 129u, 500u}) {
            for (const uint32_t indexer_heads : {0u, 16u, 32u, 64u}) {
                for (const bool int8 : {false, true}) {
                    for (plan::PrologProblem problem :
                         {DeepSeekV3(1, 1), DeepSeekV3(1, 16), DeepSeekV3(1, 64), small}) {
                        problem.tokens = tokens;
                        if (int8) {
                            problem.q_b = plan::W8A8(plan::WeightLayout::kInOut,
                                                     plan::LinearScales::kDynamic);
                        }
                        problem.indexer.heads = indexer_heads;
                        problem.indexer.head_dim = 128;
                        problem.indexer.wq_b = problem.q_b;
                        check(problem, arch::FindChip(name));
                    }
                }
            }
        }
    }
    CHECK(held > 0 && late > 0);
}

// A budget goes behind the last hand-over, up to 0.7 of the 192 MiB of L2.
TEST(a_large_budget_is_bounded_by_l2) {
    plan::PrefetchRequest request;
    request.regions = {{0x1000, uint64_t{4} << 30}};
    request.bytes = uint64_t{4} << 30;
    const PrologWarm warm = PlanWarm(DeepSeekV3(16, 1), arch::FindChip("Ascend910_9391"), request);
    CHECK_EQ(warm.windows[0].chunk_count, 0u);
    CHECK_EQ(warm.windows[1].chunk_count, 140928614u / 16384);  // 0.7 x 201326592 bytes
}

// What passes through L2 before the use of a region leaves no room for it: 140.9 MB are usable.
TEST(what_l2_would_lose_is_not_prefetched) {
    const plan::PrologProblem problem = DeepSeekV3(16, 16);
    plan::PrefetchRequest request;
    request.regions = {{0x1000, 1 << 20}, {0x1000000, 1 << 20}};
    request.passing_bytes = {139'000'000, 139'500'000};
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    plan::PlanReport report;
    request.bytes = 1 << 30;
    // All of the first region, and of the second what is left: 140,928,614 - 139,500,000 - 1 MiB.
    CHECK_EQ(PlannedChunks(PlanWarm(problem, chip, request, &report)), uint64_t{64 + 24});
    request.passing_bytes = {200'000'000, 300'000'000};
    report = {};
    CHECK_EQ(PlannedChunks(PlanWarm(problem, chip, request, &report)), uint64_t{0});
    CHECK_EQ(report.decisions.front().reason,
             "200 MB pass through L2 before its use, which holds 140");
}

TEST(plans_refuse_what_the_kernel_cannot_do) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    const auto refuses = [&](auto change, const char* text) {
        plan::PrologProblem problem = DeepSeekV3(16, 1);
        change(problem);
        CHECK_THROWS_WITH(plan::PlanProlog(problem, chip), std::invalid_argument, text);
    };
    refuses([](auto& p) { p.tokens = 0; }, "tokens: expected 1 to 8192, got 0");
    refuses([](auto& p) { p.tokens = 8193; }, "got 8193");
    refuses([](auto& p) { p.q_lora_rank = 100; },
            "q_lora_rank: expected a multiple of 64 up to 4096, got 100");
    refuses([](auto& p) { p.rope_dim = 32; }, "rope dimension: expected 64, got 32");
    refuses([](auto& p) { p.heads = 0; }, "heads: expected at least 1, got 0");
    refuses([](auto& p) { p.latent_cache.latent.block_size = 0; },
            "cache block size: expected 1 to 1024");
    refuses([](auto& p) { p.latent_cache.latent.block_size = 1025; }, "1 to 1024, got 1025");
    refuses([](auto& p) { p.kv_lora_rank = 0; }, "a multiple of 64 up to 4096, got 0");
    refuses([](auto& p) { p.kv_lora_rank = 4160; }, "a multiple of 64 up to 4096, got 4160");
    plan::PrefetchRequest many;
    many.regions.resize(9);
    CHECK_THROWS_WITH(PlanWarm(DeepSeekV3(16, 1), chip, many), std::invalid_argument,
                      "at most 8 regions, got 9");
    CHECK_THROWS_WITH(arch::FindChip("Ascend310"), std::invalid_argument,
                      "unknown chip 'Ascend310'");
    const auto refuses_o_proj = [&](auto change, const char* text) {
        plan::OProjProblem problem;
        problem.tokens = 1;
        problem.heads = 3;
        problem.kv_lora_rank = 64;
        problem.value_columns = 192;
        problem.hidden_size = 64;
        plan::PlanOProj(problem, chip);
        change(problem);
        CHECK_THROWS_WITH(plan::PlanOProj(problem, chip), std::invalid_argument, text);
    };
    refuses_o_proj([](auto& p) { p.tokens = 0; }, "tokens: expected 1 to 8192, got 0");
    refuses_o_proj([](auto& p) { p.tokens = 8193; }, "tokens: expected 1 to 8192, got 8193");
    refuses_o_proj([](auto& p) { p.hidden_size = 0; }, "hidden size: expected at least 1, got 0");
    refuses_o_proj([](auto& p) { p.heads = 0; }, "heads: expected at least 1, got 0");
    refuses_o_proj([](auto& p) { p.value_columns = 208; },
                   "value columns: expected a multiple of the 3 heads, got 208");
}

// The largest sizes that there are.
TEST(plans_at_the_limits) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    plan::PrologProblem problem = DeepSeekV3(plan::kMaxTokens, 1);
    problem.latent_cache.latent.block_size = plan::kMaxCacheRows;
    problem.q_lora_rank = problem.kv_lora_rank = plan::kMaxLoraRank;
    CHECK_EQ(plan::PlanProlog(problem, chip).kernel.tokens, plan::kMaxTokens);
    plan::OProjProblem o_proj;
    o_proj.tokens = plan::kMaxTokens;
    o_proj.value_columns = o_proj.hidden_size = 64;
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.tokens, plan::kMaxTokens);
}

// What rows take in UB: sums of each share of the depth but the first beside the row itself, and
// quantised rows in pieces of 2,048 elements where results are narrower.
TEST(rows_of_a_vector_core) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    plan::PrologProblem problem = DeepSeekV3(16, 16);
    const PrologPlan large = plan::PlanProlog(problem, chip).kernel;
    CHECK_EQ(plan::GemmOf(large, prolog::kQkvA).depth_shares, 2u);
    CHECK_EQ(large.widest, 1536u);
    CHECK_EQ(large.widest_shares, 1536u);
    problem.q_lora_rank = 64;
    const PrologPlan small = plan::PlanProlog(problem, chip).kernel;
    CHECK(plan::GemmOf(small, prolog::kQkvA).depth_shares > 1);
    CHECK_EQ(small.widest_shares, 576u * (plan::GemmOf(small, prolog::kQkvA).depth_shares - 1));
    plan::OProjProblem o_proj;
    o_proj.tokens = 1;
    o_proj.value_columns = 4096;
    o_proj.hidden_size = 64;
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.widest, 0u);
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_columns, 0u);
    o_proj.o_proj = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.widest, 4096u);
    o_proj.value_columns = 8192 + 64;  // more than is quantised in one piece
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.widest, 4096u);
    o_proj.value_columns = 4096;
    // 98 strips of 32 columns for 24 cube cores: five, half of them for each of two vector cores.
    o_proj.hidden_size = 49 * 64;
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_columns, 80u);
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_rows, 1u);
    o_proj.tokens = 9;  // rows for each of two
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_columns, 160u);
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_rows, 5u);
    o_proj.tokens = 1000;  // 4096 elements
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_rows, 25u);
    o_proj.hidden_size = 64;
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_rows, 128u);
    o_proj.hidden_size = 65472;  // 86 strips for a core
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_columns, 1024u);
    CHECK_EQ(plan::PlanOProj(o_proj, chip).kernel.step_rows, 4u);
}

// Parts of the workspace begin with a line of L2 each, whatever the sizes.
TEST(parts_of_the_workspace_share_no_line) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    const LinearFormat int8 = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
    for (const uint32_t tokens : {1u, 3u, 49u}) {
        plan::PrologProblem problem = DeepSeekV3(tokens, 128);
        problem.q_lora_rank = 64;
        problem.kv_lora_rank = 192;
        problem.hidden_size = 96;
        problem.quantize_q_nope = true;
        problem.qkv_a = problem.q_b = problem.indexer.wq_b = int8;
        problem.indexer.heads = 16;
        problem.indexer.head_dim = 64;
        const PrologPlan plan = plan::PlanProlog(problem, chip).kernel;
        std::vector<uint64_t> parts = {0,
                                       plan.workspace_query,
                                       plan.workspace_query_sums,
                                       plan.workspace_hidden,
                                       plan.workspace_q_b_input,
                                       plan.workspace_hidden_scales,
                                       plan.workspace_q_b_scales,
                                       plan.workspace_q_nope,
                                       plan.indexer.workspace_k,
                                       plan.indexer.workspace_q_c,
                                       plan.indexer.workspace_scales,
                                       plan.indexer.workspace_sums};
        std::sort(parts.begin(), parts.end());
        for (size_t i = 0; i + 1 < parts.size(); ++i) CHECK(parts[i] < parts[i + 1]);
        CHECK(parts.back() < plan.workspace_bytes);
        for (const uint64_t part : parts) CHECK_EQ(part % 512, uint64_t{0});
        // Scales of a token are a block of 32 bytes.
        CHECK(plan.indexer.workspace_scales + 32 * tokens <= plan.workspace_bytes);
    }
}

// A plan that was kept is that of the same problem: a field that was left out of the key would give
// the plan of another one.
TEST(plans_are_kept_by_all_fields_of_their_problem) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    using Prolog = plan::PrologProblem;
    using OProj = plan::OProjProblem;
    constexpr auto kInt8 = static_cast<uint32_t>(plan::ElementType::kInt8);
    constexpr auto kFractalNz = static_cast<uint32_t>(plan::CacheLayout::kFractalNz);
    const LinearFormat static_int8 =
        plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);
    const LinearFormat dynamic_int8 =
        plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
    const LinearFormat packed_int8 = plan::W8A8(
        plan::WeightLayout::kInOut, plan::LinearScales::kStatic, plan::ScaleType::kPackedInt64);
    const LinearFormat nz_int8 =
        plan::W8A8(plan::WeightLayout::kInOutNz, plan::LinearScales::kStatic);
    std::vector<void (*)(Prolog&)> prologs = {
        [](Prolog&) {},
        [](Prolog& p) { p.tokens = 4; },
        [](Prolog& p) { p.hidden_size = 96; },
        [](Prolog& p) { p.heads = 2; },
        [](Prolog& p) { p.q_lora_rank = 128; },
        [](Prolog& p) { p.kv_lora_rank = 192; },
        [](Prolog& p) { p.nope_dim = 64; },
        [](Prolog& p) { p.eps = 1e-5f; },
        [](Prolog& p) { p.rope_interleaved = !p.rope_interleaved; },
        [](Prolog& p) { p.rope_table_float = !p.rope_table_float; },
        [](Prolog& p) { p.slots_int64 = !p.slots_int64; },
        [](Prolog& p) { p.quantize_q_nope = !p.quantize_q_nope; },
        [](Prolog& p) { p.latent_cache.latent.type = kInt8; },
        [](Prolog& p) { p.w_uk = plan::WeightLayout::kInOutNz; },
        [](Prolog& p) { p.latent_cache.latent.block_stride *= 2; },
        [](Prolog& p) { p.latent_cache.latent.row_stride *= 2; },
        [](Prolog& p) { p.latent_cache.rope.block_size /= 2; },
        [](Prolog& p) { p.latent_cache.rope.layout = kFractalNz; },
        [](Prolog& p) { p.indexer.cache.layout = kFractalNz; },
        [](Prolog& p) { p.latent_cache.joint = 1; },
        [](Prolog& p) { p.indexer.heads = 32; },
        [](Prolog& p) { p.indexer.head_dim = 64; },
        [](Prolog& p) { p.indexer.eps = 1e-5f; },
        [](Prolog& p) { p.indexer.rope_interleaved = true; },
        [](Prolog& p) { p.indexer.norm_float = true; },
        [](Prolog& p) { p.indexer.fused = true, p.indexer.wk = plan::WeightLayout::kOutInNz; },
        [](Prolog& p) { p.indexer.wk = plan::WeightLayout::kOutInNz; },
        [](Prolog& p) { p.indexer.weights_proj = plan::WeightLayout::kOutInNz; },
    };
    std::vector<Prolog> problems;
    Prolog base = DeepSeekV3(3, 128);
    base.hidden_size = base.q_lora_rank = 64;
    base.kv_lora_rank = 128;
    base.indexer.heads = 16;
    base.indexer.head_dim = 128;
    base.indexer.cache = {128 * 128, 128, 128, 0, 0};
    for (const auto& change : prologs) {
        problems.push_back(base);
        change(problems.back());
    }
    for (LinearFormat Prolog::* layer : {&Prolog::qkv_a, &Prolog::q_b}) {
        for (const auto& format : {static_int8, dynamic_int8, packed_int8, nz_int8}) {
            problems.push_back(base);
            problems.back().*layer = format;
        }
    }
    for (const auto& format : {static_int8, dynamic_int8, packed_int8, nz_int8}) {
        problems.push_back(base);
        problems.back().indexer.wq_b = format;
    }
    std::vector<PrologPlan> made;
    for (const Prolog& problem : problems) {
        const PrologPlan kept = plan::CachedPlanProlog(problem, chip).kernel;
        const PrologPlan plan = plan::PlanProlog(problem, chip).kernel;
        CHECK_EQ(std::memcmp(&kept, &plan, sizeof(plan)), 0);
        for (const PrologPlan& other : made) {
            CHECK(std::memcmp(&other, &plan, sizeof(plan)) != 0);
        }
        made.push_back(plan);
    }
    const plan::PrologProblem& first = problems.front();
    const arch::Chip& smaller = arch::FindChip("Ascend910B4");
    CHECK_EQ(plan::CachedPlanProlog(first, smaller).kernel.vector_cores, smaller.aiv_count);

    std::vector<void (*)(OProj&)> o_projs = {
        [](OProj&) {},
        [](OProj& p) { p.tokens = 4; },
        [](OProj& p) { p.heads = 6; },
        [](OProj& p) { p.kv_lora_rank = 128; },
        [](OProj& p) { p.heads_outermost = true; },
        [](OProj& p) { p.value_columns = 384; },
        [](OProj& p) { p.hidden_size = 128; },
        [](OProj& p) { p.has_bias = true; },
        [](OProj& p) { p.has_bias = p.bias_float = true; },
        [](OProj& p) { p.w_uv = plan::WeightLayout::kInOutNz; },
        [](OProj& p) { p.o_proj = plan::Plain(plan::WeightLayout::kOutInNz); },
        [](OProj& p) {
            p.o_proj = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);
        },
        [](OProj& p) {
            p.o_proj = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
        },
    };
    std::vector<OProjPlan> others;
    for (const auto& change : o_projs) {
        OProj problem;
        problem.tokens = 3;
        problem.heads = 3;
        problem.kv_lora_rank = 64;
        problem.value_columns = 192;
        problem.hidden_size = 64;
        change(problem);
        const OProjPlan kept = plan::CachedPlanOProj(problem, chip).kernel;
        const OProjPlan plan = plan::PlanOProj(problem, chip).kernel;
        CHECK_EQ(std::memcmp(&kept, &plan, sizeof(plan)), 0);
        for (const OProjPlan& other : others) {
            CHECK(std::memcmp(&other, &plan, sizeof(plan)) != 0);
        }
        others.push_back(plan);
    }
}

// What grows with every step of a decode finds the plan of its shape.
TEST(a_growing_hint_makes_no_new_plan) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    plan::PrologProblem prolog = DeepSeekV3(11, 16);
    plan::OProjProblem o_proj;
    o_proj.tokens = 11;
    o_proj.value_columns = 1024;
    o_proj.hidden_size = 7168;
    const uint64_t prologs = plan::MadePrologPlans();
    const uint64_t o_projs = plan::MadeOProjPlans();
    std::set<uint64_t> planned;
    for (uint64_t step = 0; step < 100; ++step) {
        plan::PrefetchRequest request;
        request.regions = {{0x1000 + 0x1000000 * step, 14680064}};
        request.passing_bytes = {120'000'000 + step * 250'000};
        const PrologWarm warm =
            plan::PlanPrologWarm(plan::CachedPlanProlog(prolog, chip), chip, request);
        CheckWindows(warm, chip);
        if (warm.plan.region_count > 0) {
            CHECK_EQ(warm.plan.regions[0].address, request.regions[0].address);
        }
        planned.insert(warm.plan.regions[0].bytes);
        plan::PlanOProjWarm(plan::CachedPlanOProj(o_proj, chip), chip, request);
    }
    CHECK(planned.size() > 20);  // the hint decided
    CHECK_EQ(plan::MadePrologPlans(), prologs + 1);
    CHECK_EQ(plan::MadeOProjPlans(), o_projs + 1);
    prolog.tokens = o_proj.tokens = 12;
    plan::CachedPlanProlog(prolog, chip);
    plan::CachedPlanOProj(o_proj, chip);
    CHECK_EQ(plan::MadePrologPlans(), prologs + 2);
    CHECK_EQ(plan::MadeOProjPlans(), o_projs + 2);
}

// Whether a shape was planned for the call or for one before it, and whether anybody asks why.
TEST(call_plans_of_kept_shapes_are_those_of_new_ones) {
    std::mt19937_64 random(1);
    const auto& chips = arch::Chips();
    for (int i = 0; i < 500; ++i) {
        const arch::Chip& chip = chips[random() % chips.size()];
        const plan::PrologProblem prolog = DeepSeekV3(1 + random() % 40, 1u << random() % 6);
        plan::OProjProblem o_proj;
        o_proj.tokens = 1 + random() % 40;
        o_proj.value_columns = 64 * (1 + random() % 32);
        o_proj.hidden_size = 7168;
        plan::PrefetchRequest request;
        request.regions.resize(random() % (plan::kMaxPrefetchRegions + 1));
        uint64_t passing = 0;
        const bool hinted = random() % 2 == 0;
        for (plan::PrefetchRegion& region : request.regions) {
            region = {random() >> 20, random() >> (36 + random() % 28)};
            passing += random() >> (36 + random() % 28);
            if (hinted) request.passing_bytes.push_back(passing);
        }
        if (random() % 2 == 0) request.bytes = random() >> (32 + random() % 32);
        const PrologWarm warm = PlanWarm(prolog, chip, request);
        const OProjWarm o_proj_warm = PlanWarm(o_proj, chip, request);
        plan::PlanReport report;
        for (plan::PlanReport* const asked : {static_cast<plan::PlanReport*>(nullptr), &report}) {
            const PrologWarm kept =
                plan::PlanPrologWarm(plan::CachedPlanProlog(prolog, chip), chip, request, asked);
            CHECK_EQ(std::memcmp(&kept, &warm, sizeof(warm)), 0);
            const OProjWarm o_proj_kept =
                plan::PlanOProjWarm(plan::CachedPlanOProj(o_proj, chip), chip, request, asked);
            CHECK_EQ(std::memcmp(&o_proj_kept, &o_proj_warm, sizeof(o_proj_warm)), 0);
        }
        CheckWindows(warm, chip);
    }
}

// One more than it holds, and it starts anew.
TEST(a_full_cache_of_plans_starts_anew) {
    plan::PlanCache<uint32_t> cache;
    uint32_t made = 0;
    const auto find = [&](uint32_t problem) {
        plan::PlanKey key;
        key.Add(problem, uint8_t{7});
        CHECK_EQ(cache.Find(key, [&] { return ++made, problem; }), problem);
    };
    const auto most = static_cast<uint32_t>(plan::PlanCache<uint32_t>::kMaxPlans);
    for (uint32_t problem = 0; problem < most; ++problem) find(problem);
    for (uint32_t problem = 0; problem < most; ++problem) find(problem);
    CHECK_EQ(made, most);
    find(most);
    find(most);
    CHECK_EQ(made, most + 1);
    find(0);
    CHECK_EQ(made, most + 2);
}

// Rows of 4096 + 64 elements in every form leave less than a chunk of UB.
TEST(the_widest_rows_leave_no_room_for_landing_pads) {
    for (const arch::Chip& chip : arch::Chips()) {
        for (const uint32_t tokens : {1u, 8192u}) {
            plan::PrologProblem problem = DeepSeekV3(tokens, 1);
            problem.q_lora_rank = problem.kv_lora_rank = plan::kMaxLoraRank;
            problem.slots_int64 = true;
            const LinearFormat int8 =
                plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic,
                           plan::ScaleType::kPackedInt64);
            problem.qkv_a = problem.q_b = int8;
            problem.indexer.heads = 16;
            problem.indexer.head_dim = 128;
            problem.indexer.wq_b = int8;
            CHECK_EQ(plan::PlanProlog(problem, chip).kernel.widest,
                     plan::kMaxLoraRank + plan::kRopeDim);
            plan::PrefetchRequest request;
            request.regions = {{0x1000, 1 << 20}};
            const PrologWarm warm = PlanWarm(problem, chip, request);
            CHECK_EQ(warm.plan.pad_slots, 0u);
            CHECK_EQ(PlannedChunks(warm), uint64_t{0});
        }
    }
}
