// From shape and chip to the plan of the mla_prolog kernel.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/chip.h"
#include "plan/mla_prolog_plan.h"
#include "plan/plan_gemm.h"
#include "plan/plan_warm.h"

namespace plan {

struct MlaPrologProblem {
    uint32_t tokens = 0;
    uint32_t hidden_size = 0;
    uint32_t heads = 0;
    uint32_t q_lora_rank = 0;
    uint32_t kv_lora_rank = 0;
    uint32_t nope_dim = 0;
    uint32_t rope_dim = 0;
    float eps = 1e-6f;
    bool rope_interleaved = true;
    bool rope_table_float = false;
    bool has_q_a_bias = false;
    bool slots_int64 = false;
    uint32_t cache_block_size = 0;
    uint64_t kv_cache_stride = 0;    ///< elements between cache blocks
    uint64_t rope_cache_stride = 0;  ///< elements between cache blocks
    WeightLayout qkv_a_layout = WeightLayout::kOutIn;
    WeightLayout q_b_layout = WeightLayout::kOutIn;
    WeightLayout w_uk_layout = WeightLayout::kInOut;
    std::vector<PrefetchRegion> prefetch;  ///< in deadline order
    std::optional<uint64_t> prefetch_bytes;
};

/// Limits of the op; the argument checks of the ops quote them.
constexpr uint32_t kMostTokens = 8192;
constexpr uint32_t kMostLoraRank = 4096;
constexpr uint32_t kRopeDim = 64;

/// Throws std::invalid_argument naming the quantity, what is allowed and what came.
MlaPrologPlan PlanMlaProlog(const MlaPrologProblem& problem, const arch::Chip& chip);

/// Bytes of GM workspace that the kernel needs beside its arguments.
uint64_t MlaPrologWorkspaceBytes(const MlaPrologPlan& plan);

}  // namespace plan
