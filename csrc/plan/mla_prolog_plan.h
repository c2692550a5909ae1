// Everything the mla_prolog kernel has to know that is not an address. Passed by value.
#pragma once

#include <cstdint>

#include "plan/gemm_plan.h"
#include "plan/warm_plan.h"

struct MlaPrologPlan {
    uint32_t tokens;
    uint32_t heads;
    uint32_t q_lora_rank;
    uint32_t kv_lora_rank;
    uint32_t nope_dim;
    float eps;
    uint32_t rope_interleaved;  // 1: pairs are (2i, 2i + 1); 0: (i, i + rope_dim / 2)
    uint32_t rope_table_float;  // 1: cos and sin are fp32; 0: of the activation type
    uint32_t has_q_a_bias;
    uint32_t slot_bytes;        // 4 or 8: int32 or int64 slot mapping
    uint32_t cache_block_size;  // rows per cache block
    uint64_t kv_cache_stride;   // elements from a cache block to the next
    uint64_t rope_cache_stride;
    uint32_t vector_cores;
    uint32_t rows_per_core;  // tokens that a vector core norms: cores [0, tokens / rows_per_core)
                             // have some
    uint32_t rope_heads;     // heads of one query-rope step
    uint64_t workspace_q;    // byte offset of the query workspace; that of qkv_a is at 0
    GemmBuffers buffers;
    GemmPlan qkv_a;
    GemmPlan q_b;
    GemmPlan absorb;
    WarmPlan warm;
};
