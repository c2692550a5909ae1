// The arguments of the o_proj kernel, passed by value.
#pragma once

#include <cstdint>

#include "plan/gemm_plan.h"
#include "plan/linear_format.h"
#include "plan/warm_plan.h"

/// The part of the arguments that depends on shapes alone: it is the same from call to call.
struct OProjPlan {
    uint32_t tokens;
    uint32_t has_v_up;      // 1: W_UV is applied first; 0: the input is [tokens, heads * v]
    uint32_t has_epilogue;  // 1: vector cores finish the sums (dequantisation, bias)
    uint32_t bias_float;    // 1: bias is fp32; 0: of the activation type
    uint32_t vector_cores;
    uint32_t step_columns;  // columns and rows of the sums that a vector core finishes in one
    uint32_t step_rows;     // step, at most
    uint32_t tiles_ahead;   // of the o_proj weight, loaded before its product begins
    uint32_t value_shares;  // vector cores that share a token's value to quantise it
    uint32_t widest;        // maximum number of elements of a row that is quantised in UB
    LinearFormat format;    // of o_proj
    uint64_t workspace_bytes;
    // Byte offsets into the workspace.
    uint64_t workspace_value;   // [tokens, heads * v] of the activation type
    uint64_t workspace_input;   // int8 [tokens, heads * v]
    uint64_t workspace_scales;  // scales of workspace_input: fp32 [tokens, 8], a token's all equal
    uint64_t workspace_sums;    // int32 or fp32 [tokens, hidden], where there is an epilogue
    GemmBuffers buffers;
    GemmPlan v_up;
    GemmPlan o_proj;
};

/// What the vector cores of a call warm for later kernels, and in which window.
struct OProjWarm {
    WarmPlan plan;
    WarmWindow while_o_proj;  // until the cube has finished o_proj
};

// GM addresses of a call's tensors, 0 for an absent one.
struct OProjAddresses {
    uint64_t attn_output;
    uint64_t w_uv;
    uint64_t o_proj_weight;
    QuantAddresses quant;
    uint64_t bias;
    uint64_t out;
    uint64_t workspace;
};
