// Everything the o_proj kernel has to know. Passed by value.
#pragma once

#include <cstdint>

#include "plan/gemm_plan.h"
#include "plan/quant_plan.h"
#include "plan/warm_plan.h"

/// What the kernel is told that its shapes decide: the same from call to call.
struct OProjPlan {
    uint32_t tokens;
    uint32_t has_v_up;      // 1: W_UV first; 0: the input is [tokens, heads * v] already
    uint32_t has_epilogue;  // 1: vector cores finish the sums (dequantisation, bias)
    uint32_t bias_float;    // 1: bias is fp32; 0: of the activation type
    uint32_t vector_cores;
    uint32_t step_columns;  // columns of a row that a vector core finishes at once
    uint32_t widest;        // elements that a vector core holds of any row
    QuantPlan quant;
    uint64_t workspace_bytes;
    uint64_t workspace_value;   // [tokens, heads * v] of the activation type
    uint64_t workspace_input;   // int8, likewise
    uint64_t workspace_scales;  // of a token of workspace_input: fp32 [tokens, 8], all equal
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

// GM addresses of the tensors, 0 where absent.
struct OProjAddresses {
    uint64_t attn_output;
    uint64_t w_uv;
    uint64_t o_proj_weight;
    QuantAddresses quant;
    uint64_t bias;
    uint64_t out;
    uint64_t workspace;
};
