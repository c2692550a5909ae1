// The arguments of the mla_prolog and sfa_prolog kernels, passed by value.
#pragma once

#include <cstdint>

#include "plan/cache_format.h"
#include "plan/gemm_plan.h"
#include "plan/linear_format.h"
#include "plan/warm_plan.h"

// Heads of a query matrix [tokens, heads, head_dim], of which 64 columns are rotated.
struct HeadsPlan {
    uint32_t heads;
    uint32_t head_dim;
    uint32_t rope_column;  // first rotated column of a head
    uint32_t step;         // heads that a vector core processes in one step
};

// The indexer of sparse attention; sfa_prolog only.
struct IndexerPlan {
    HeadsPlan heads;  // heads.heads 0: the layer has no indexer
    float eps;
    uint32_t rope_interleaved;
    uint32_t norm_float;  // 1: LayerNorm parameters are fp32; 0: of the activation type
    CachePlan cache;
    LinearFormat wq_b_format;
    GemmPlan wk;
    GemmPlan weights_proj;
    GemmPlan wq_b;
    // Byte offsets into the workspace.
    uint64_t workspace_k;       // fp32 [tokens, head_dim], one for each depth share of wk
    uint64_t workspace_q_c;     // int8 [tokens, q_lora_rank], quantised for wq_b
    uint64_t workspace_scales;  // scales of workspace_q_c: fp32 [tokens, 8], a token's all equal
    uint64_t workspace_sums;    // int32 [tokens, heads * head_dim]
};

/// The part of the arguments that depends on shapes alone: it is the same from call to call.
struct PrologPlan {
    uint32_t tokens;
    uint32_t q_lora_rank;  // 0: queries are projected from the hidden states
    uint32_t kv_lora_rank;
    float eps;
    uint32_t rope_interleaved;  // 1: pairs are (2i, 2i + 1); 0: (i, i + rope_dim / 2)
    uint32_t rope_table_float;  // 1: cos and sin are fp32; 0: of the activation type
    uint32_t slot_bytes;        // 4 or 8: int32 or int64 slot mapping
    uint32_t vector_cores;
    uint32_t rows_per_core;  // tokens that a vector core normalises: the first
                             // ceil(tokens / rows_per_core) cores have rows, the others none
    uint32_t widest;         // elements of the widest row or step that a vector core holds in UB
    uint32_t widest_shares;  // maximum elements of a row's partial sums, those of share 0 excluded
    uint32_t quantize_q_nope;
    HeadsPlan heads;
    LatentCachePlan latent_cache;
    LinearFormat qkv_a_format;
    LinearFormat q_b_format;
    // Byte offsets into the workspace; the sums of qkv_a (fp32 or int32) are at 0.
    uint64_t workspace_bytes;          // its size
    uint64_t workspace_query;          // [tokens, heads * head_dim] of the activation type
    uint64_t workspace_query_sums;     // int32 [tokens, heads * head_dim]
    uint64_t workspace_hidden;         // int8 [tokens, hidden], quantised for qkv_a
    uint64_t workspace_q_b_input;      // int8, quantised for q_b
    uint64_t workspace_hidden_scales;  // of workspace_hidden: fp32 [tokens, 8], a token's all equal
    uint64_t workspace_q_b_scales;     // of workspace_q_b_input: fp32 [tokens, 8], likewise
    uint64_t workspace_q_nope;         // q_nope before it is quantised, in the activation type
    GemmBuffers buffers;
    GemmPlan qkv_a;
    GemmPlan q_b;
    GemmPlan absorb;
    IndexerPlan indexer;
};

/// What the vector cores of a call warm for later kernels, and in which windows.
struct PrologWarm {
    WarmPlan plan;
    WarmWindow while_q_b;        // until the cube has finished q_b
    WarmWindow while_indexer_q;  // until the cube has finished wq_b
    WarmWindow while_absorb;     // until the kernel ends
};

// GM addresses of the indexer's tensors, 0 for an absent one.
struct IndexerAddresses {
    uint64_t wq_b;
    QuantAddresses wq_b_quant;
    uint64_t wk;
    uint64_t k_norm_weight;
    uint64_t k_norm_bias;
    uint64_t weights_proj;
    uint64_t cache;
    uint64_t q;        // result
    uint64_t weights;  // result
};

/// GM addresses of a call's tensors, 0 for an absent one.
struct PrologAddresses {
    uint64_t hidden_states;
    uint64_t qkv_a_weight;
    QuantAddresses qkv_a_quant;
    uint64_t q_a_norm_weight;
    uint64_t q_a_norm_bias;
    uint64_t q_b_weight;
    QuantAddresses q_b_quant;
    uint64_t w_uk;
    uint64_t kv_a_norm_weight;
    uint64_t kv_a_norm_bias;
    uint64_t cos;
    uint64_t sin;
    uint64_t slot_mapping;
    uint64_t kv_cache;
    uint64_t kv_cache_scale;
    uint64_t rope_cache;  // its first row, also where both caches are in one tensor
    uint64_t q_nope;
    uint64_t q_nope_scale;
    uint64_t q_rope;
    uint64_t q_c;
    uint64_t workspace;
    IndexerAddresses indexer;
};
