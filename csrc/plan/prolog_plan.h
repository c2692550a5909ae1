// The arguments of the mla_prolog and sfa_prolog kernels, passed by value.
#pragma once

#include <cstdint>

#include "plan/cache_format.h"
#include "plan/gemm_plan.h"
#include "plan/linear_format.h"
#include "plan/warm_plan.h"

// An address in GM: `offset` bytes behind address number `tensor` of PrologAddresses.
struct GmOperand {
    uint64_t tensor;
    uint64_t offset;
};

// A matrix product C = A x weight of the cube cores; see plan/prolog_phases.h.
struct PrologProduct {
    GemmPlan gemm;         // gemm.m 0: the layer does not have this product
    uint32_t awaits;       // prolog::Stage that writes its A, where cube cores have to wait for it
    uint32_t reads;        // prolog::Product that writes its A, where that is another one
    uint32_t then_moves;   // prolog::Product whose first weights go into L0B after this product
    uint32_t flag;         // cross-core flag by which vector cores learn that it is complete
    uint32_t publication;  // prolog::Publication
    GmOperand weight;
    GmOperand a;
    GmOperand c;
};

// A stage of the vector cores; see plan/prolog_phases.h.
struct PrologStep {
    uint32_t present;    // 0: the layer does not have this stage
    uint32_t window;     // index of the window that it opens before it waits
    uint32_t awaits;     // prolog::Product for which it waits
    uint32_t publishes;  // 1: a product awaits it
};

// Heads of a query matrix [tokens, heads, head_dim], of which 64 columns are rotated.
struct HeadsPlan {
    uint32_t heads;
    uint32_t head_dim;
    uint32_t rope_column;  // first rotated column of a head
    uint32_t step;         // heads that a vector core rotates in one step; behind an int8 product
                           // tokens of one head
};

// The indexer of sparse attention; sfa_prolog only.
struct IndexerPlan {
    HeadsPlan heads;  // heads.heads 0: the layer has no indexer
    float eps;
    uint32_t rope_interleaved;
    uint32_t norm_float;  // 1: LayerNorm parameters are fp32; 0: of the activation type
    CachePlan cache;
    LinearFormat wq_b_format;
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
    uint32_t widest_input;   // the same, or all hidden states of a token that are quantised
    uint32_t input_shares;   // vector cores that share a token's hidden states to quantise them
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
    IndexerPlan indexer;
    // By prolog::Product and prolog::Stage, in the order in which they run.
    PrologProduct products[7];
    PrologStep steps[10];
};

/// What the vector cores of a call warm for later kernels, and in which windows.
struct PrologWarm {
    WarmPlan plan;
    WarmWindow windows[3];  // by PrologStep::window, in order of time
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
