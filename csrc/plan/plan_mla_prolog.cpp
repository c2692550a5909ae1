#include "plan/plan_mla_prolog.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace plan {

namespace {

constexpr uint64_t kElementBytes = 2;
constexpr uint64_t kGmAlignment = 512;
constexpr uint32_t kLanes = 64;
// 16 heads are one 4 KiB step of fp32; at 128 heads and 16 tokens this makes 128 steps for 48
// cores.
constexpr uint32_t kRopeHeads = 16;

void Require(bool condition, const char* quantity, const std::string& expected, uint64_t actual) {
    if (condition) return;
    throw std::invalid_argument(std::string(quantity) + ": expected " + expected + ", got " +
                                std::to_string(actual));
}

void RequireRank(const char* quantity, uint32_t rank) {
    Require(rank > 0 && rank % kLanes == 0 && rank <= kMostLoraRank, quantity,
            "a multiple of 64 up to " + std::to_string(kMostLoraRank), rank);
}

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

MlaPrologPlan PlanMlaProlog(const MlaPrologProblem& problem, const arch::Chip& chip) {
    Require(problem.tokens > 0 && problem.tokens <= kMostTokens, "tokens",
            "1 to " + std::to_string(kMostTokens), problem.tokens);
    Require(problem.heads > 0, "heads", "at least 1", problem.heads);
    Require(problem.rope_dim == kRopeDim, "rope dimension", std::to_string(kRopeDim),
            problem.rope_dim);
    Require(problem.cache_block_size > 0, "cache block size", "at least 1",
            problem.cache_block_size);
    RequireRank("q_lora_rank", problem.q_lora_rank);
    RequireRank("kv_lora_rank", problem.kv_lora_rank);

    const uint32_t head_dim = problem.nope_dim + problem.rope_dim;
    const uint32_t qkv_columns = problem.q_lora_rank + problem.kv_lora_rank + problem.rope_dim;
    const uint32_t query_columns = problem.heads * head_dim;

    MlaPrologPlan plan{};
    plan.tokens = problem.tokens;
    plan.heads = problem.heads;
    plan.q_lora_rank = problem.q_lora_rank;
    plan.kv_lora_rank = problem.kv_lora_rank;
    plan.nope_dim = problem.nope_dim;
    plan.eps = problem.eps;
    plan.rope_interleaved = problem.rope_interleaved ? 1 : 0;
    plan.rope_table_float = problem.rope_table_float ? 1 : 0;
    plan.has_q_a_bias = problem.has_q_a_bias ? 1 : 0;
    plan.slot_bytes = problem.slots_int64 ? 8 : 4;
    plan.cache_block_size = problem.cache_block_size;
    plan.kv_cache_stride = problem.kv_cache_stride;
    plan.rope_cache_stride = problem.rope_cache_stride;
    plan.vector_cores = chip.aiv_count;
    plan.rows_per_core = (problem.tokens + chip.aiv_count - 1) / chip.aiv_count;
    plan.rope_heads = std::min(kRopeHeads, problem.heads);

    GemmProblem qkv_a;
    qkv_a.name = "qkv_a";
    qkv_a.m = problem.tokens;
    qkv_a.n = qkv_columns;
    qkv_a.k = problem.hidden_size;
    qkv_a.a_row_stride = problem.hidden_size;
    qkv_a.c_row_stride = qkv_columns;
    qkv_a.layout = problem.qkv_a_layout;
    plan.qkv_a = PlanGemm(qkv_a);

    GemmProblem q_b;
    q_b.name = "q_b";
    q_b.m = problem.tokens;
    q_b.n = query_columns;
    q_b.k = problem.q_lora_rank;
    q_b.a_row_stride = problem.q_lora_rank;
    q_b.c_row_stride = query_columns;
    q_b.layout = problem.q_b_layout;
    plan.q_b = PlanGemm(q_b);

    GemmProblem absorb;
    absorb.name = "w_uk";
    absorb.m = problem.tokens;
    absorb.n = problem.kv_lora_rank;
    absorb.k = problem.nope_dim;
    absorb.batches = problem.heads;
    absorb.a_row_stride = query_columns;
    absorb.a_batch_stride = head_dim;
    absorb.c_row_stride = problem.heads * problem.kv_lora_rank;
    absorb.c_batch_stride = problem.kv_lora_rank;
    absorb.layout = problem.w_uk_layout;
    plan.absorb = PlanGemm(absorb);

    const GemmPlan gemms[] = {plan.qkv_a, plan.q_b, plan.absorb};
    plan.buffers = PlanGemmBuffers(gemms, 3);
    plan.workspace_q =
        RoundUp(uint64_t{problem.tokens} * qkv_columns * sizeof(float), kGmAlignment);
    PlanWarm(plan, chip, problem.prefetch, problem.prefetch_bytes);
    return plan;
}

uint64_t MlaPrologWorkspaceBytes(const MlaPrologPlan& plan) {
    return plan.workspace_q +
           RoundUp(uint64_t{plan.tokens} * plan.q_b.n * kElementBytes, kGmAlignment);
}

}  // namespace plan
