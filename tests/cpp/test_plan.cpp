// Plans of the prolog kernels: tiles fit their buffers, windows stay within their regions and
// budgets.
#include <numeric>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "check.h"
#include "plan/plan_prolog.h"

namespace {

plan::PrologProblem DeepSeekV3(uint32_t tokens, uint32_t tp) {
    plan::PrologProblem problem;
    problem.tokens = tokens;
    problem.hidden_size = 7168;
    problem.heads = 128 / tp;
    problem.q_lora_rank = 1536;
    problem.kv_lora_rank = 512;
    problem.nope_dim = 128;
    problem.rope_dim = 64;
    problem.kv_cache = {128 * 512, 128, 512, 0};
    problem.rope_cache = {128 * 64, 128, 64, 0};
    problem.w_uk_region = {0x1000000, uint64_t{problem.heads} * 128 * 512 * 2};
    return problem;
}

uint64_t SequenceChunks(const WarmPlan& warm) {
    uint64_t chunks = 0;
    for (uint32_t r = 0; r < warm.region_count; ++r) {
        chunks += (warm.regions[r].bytes + warm.chunk_bytes - 1) / warm.chunk_bytes;
    }
    return chunks;
}

std::vector<WarmWindow> Windows(const PrologPlan& plan) {
    return {plan.while_norm, plan.while_q_b, plan.while_indexer_q, plan.while_absorb};
}

uint64_t PlannedChunks(const PrologPlan& plan, const arch::Chip& chip) {
    uint64_t chunks = uint64_t{plan.warm.group_chunks} * chip.aic_count;
    for (const WarmWindow& window : Windows(plan)) chunks += window.chunk_count;
    return chunks;
}

/// Windows follow one another through the chunk sequence and end inside it; cores exist.
void CheckWindows(const PrologPlan& plan, const arch::Chip& chip) {
    const WarmPlan& warm = plan.warm;
    uint64_t next = 0;
    for (const WarmWindow& window : Windows(plan)) {
        if (window.chunk_count == 0) continue;
        CHECK_EQ(window.first_chunk, next);
        next += window.chunk_count;
        CHECK(window.core_count > 0);
        CHECK(window.first_core + window.core_count <= chip.aiv_count);
    }
    CHECK(next <= SequenceChunks(warm));
}

}  // namespace

TEST(tiles_fit_the_buffers_of_a_core) {
    for (const uint32_t tokens : {1u, 16u, 17u, 64u, 65u, 128u, 129u, 8192u}) {
        for (const uint32_t tp : {1u, 16u}) {
            const PrologPlan plan =
                plan::PlanProlog(DeepSeekV3(tokens, tp), arch::FindChip("Ascend910_9391"));
            const GemmBuffers& buffers = plan.buffers;
            CHECK(buffers.b_slots * buffers.b_slot_bytes + 2 * buffers.a_slot_bytes <=
                  arch::kUsableL1Bytes);
            CHECK(2 * buffers.l0c_slot_bytes <= arch::kL0cBytes);
            for (const GemmPlan& gemm : {plan.qkv_a, plan.q_b, plan.absorb}) {
                const uint32_t rows = (gemm.tile_m + 15) / 16 * 16;
                CHECK(gemm.tile_n * gemm.tile_k * 2 <= buffers.b_slot_bytes);
                CHECK(rows * gemm.tile_k * 2 <= buffers.a_slot_bytes);
                CHECK(rows * gemm.l0_k * 2 <= arch::kL0aBytes / 2);
                CHECK(gemm.tile_n * gemm.l0_k * 2 <= arch::kL0bBytes / 2);
                CHECK(rows * gemm.tile_n * 4 <= buffers.l0c_slot_bytes);
                CHECK(gemm.tile_n % 16 == 0 && gemm.tile_k % 16 == 0 && gemm.l0_k % 16 == 0 &&
                      gemm.l0_k > 0);
            }
        }
    }
}

TEST(windows_stay_inside_the_regions_for_every_chip_and_budget) {
    for (const arch::Chip& chip : arch::Chips()) {
        for (const uint32_t tokens : {1u, 16u, 40u, 48u, 49u, 500u}) {
            for (const uint64_t region :
                 {uint64_t{0}, uint64_t{31}, uint64_t{32}, uint64_t{16385}, uint64_t{14680064}}) {
                plan::PrologProblem problem = DeepSeekV3(tokens, 16);
                problem.prefetch.regions = {{0x1000, region}, {0x2000, 40000}};
                CheckWindows(plan::PlanProlog(problem, chip), chip);
                for (const uint64_t budget :
                     {uint64_t{0}, uint64_t{16383}, uint64_t{1} << 20, uint64_t{1} << 30}) {
                    problem.prefetch.bytes = budget;
                    const PrologPlan plan = plan::PlanProlog(problem, chip);
                    CheckWindows(plan, chip);
                    CHECK(PlannedChunks(plan, chip) * plan.warm.chunk_bytes <= budget);
                }
            }
        }
    }
}

// What HBM has left at 1.49 of 1.41 TB/s: 5.7 % of what streams meanwhile.
TEST(the_default_budget_is_the_slack_of_the_streams) {
    plan::PrologProblem problem = DeepSeekV3(16, 1);
    problem.prefetch.regions = {{0x1000, 234881024}};
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    const PrologPlan plan = plan::PlanProlog(problem, chip);
    CHECK_EQ(plan.warm.chunk_bytes, 16384u);
    // qkv_a: 30.3 MB x 0.0567 = 1.718 MB = 104 chunks, rounded up to 5 for each of 24 groups
    CHECK_EQ(plan.warm.group_chunks, 5u);
    // 32 of 48 vector cores have no row to norm
    CHECK_EQ(plan.while_norm.chunk_count, 32u);
    CHECK_EQ(plan.while_norm.first_core, 16u);
    // q_b: 75.5 MB x 0.0567 = 4.284 MB = 261 chunks; W_UK: 16.8 MB x 0.0567 = 0.952 MB = 58
    CHECK_EQ(plan.while_q_b.chunk_count, 261u);
    CHECK_EQ(plan.while_absorb.chunk_count, 58u);
}

// A budget beyond the slack goes behind the last hand-over, up to 0.7 of the 192 MiB of L2.
TEST(a_large_budget_is_bounded_by_l2) {
    plan::PrologProblem problem = DeepSeekV3(16, 1);
    problem.prefetch.regions = {{0x1000, uint64_t{4} << 30}};
    problem.prefetch.bytes = uint64_t{4} << 30;
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    const PrologPlan plan = plan::PlanProlog(problem, chip);
    CHECK_EQ(plan.while_q_b.chunk_count, 261u);
    CHECK_EQ(PlannedChunks(plan, chip), 140928614u / 16384);  // 0.7 x 201326592 bytes
}

// 8,192 tokens move 117 MB of hidden states and 69 MB of sums through L2 before q_b is read.
TEST(nothing_is_warmed_that_prefill_would_evict) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    CHECK(plan::PlanProlog(DeepSeekV3(2048, 16), chip).warm.group_chunks > 0);
    CHECK_EQ(plan::PlanProlog(DeepSeekV3(8192, 16), chip).warm.group_chunks, 0u);
}

// At TP16 q_b has 3 tiles a core, fewer than the ring holds: the stream reaches W_UK before the
// norm is done, so nothing of it is warmed.
TEST(w_uk_is_left_alone_where_the_weight_stream_is_there_first) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    CHECK(plan::PlanProlog(DeepSeekV3(16, 1), chip).while_norm.chunk_count > 0);
    CHECK_EQ(plan::PlanProlog(DeepSeekV3(16, 16), chip).while_norm.chunk_count, 0u);
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
    refuses([](auto& p) { p.prefetch.regions.resize(9); }, "at most 8 regions, got 9");
    CHECK_THROWS_WITH(arch::FindChip("Ascend310"), std::invalid_argument,
                      "unknown chip 'Ascend310'");
}

// Rows of 4096 + 64 elements in every form leave less than a chunk of UB.
TEST(the_widest_rows_leave_no_room_for_landing_pads) {
    for (const arch::Chip& chip : arch::Chips()) {
        for (const uint32_t tokens : {1u, 8192u}) {
            plan::PrologProblem problem = DeepSeekV3(tokens, 1);
            problem.q_lora_rank = problem.kv_lora_rank = plan::kMostLoraRank;
            problem.slots_int64 = true;
            const plan::LinearFormat int8 = {plan::WeightLayout::kInOut, 8, false};
            problem.qkv_a = problem.q_b = int8;
            problem.indexer.heads = 16;
            problem.indexer.head_dim = 128;
            problem.indexer.wq_b = int8;
            problem.prefetch.regions = {{0x1000, 1 << 20}};
            const PrologPlan plan = plan::PlanProlog(problem, chip);
            CHECK_EQ(plan.widest, plan::kMostLoraRank + plan::kRopeDim);
            CHECK_EQ(plan.warm.pad_slots, 0u);
            CHECK_EQ(PlannedChunks(plan, chip), uint64_t{0});
        }
    }
}
