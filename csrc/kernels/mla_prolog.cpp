#include "kernels/mla_prolog.h"

#include "kernel_operator.h"
#include "plan/mla_prolog_plan.h"

extern "C" __global__ __aicore__ void mla_prolog_bf16(
    GM_ADDR hidden_states, GM_ADDR qkv_a_weight, GM_ADDR q_a_norm_weight, GM_ADDR q_a_norm_bias,
    GM_ADDR q_b_weight, GM_ADDR w_uk, GM_ADDR kv_a_norm_weight, GM_ADDR cos, GM_ADDR sin,
    GM_ADDR slot_mapping, GM_ADDR kv_cache, GM_ADDR rope_cache, GM_ADDR q_nope, GM_ADDR q_rope,
    GM_ADDR q_c, GM_ADDR workspace, MlaPrologPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::MlaProlog<bfloat16_t>({hidden_states, qkv_a_weight, q_a_norm_weight, q_a_norm_bias,
                                    q_b_weight, w_uk, kv_a_norm_weight, cos, sin, slot_mapping,
                                    kv_cache, rope_cache, q_nope, q_rope, q_c, workspace},
                                   plan);
}

extern "C" __global__ __aicore__ void mla_prolog_fp16(
    GM_ADDR hidden_states, GM_ADDR qkv_a_weight, GM_ADDR q_a_norm_weight, GM_ADDR q_a_norm_bias,
    GM_ADDR q_b_weight, GM_ADDR w_uk, GM_ADDR kv_a_norm_weight, GM_ADDR cos, GM_ADDR sin,
    GM_ADDR slot_mapping, GM_ADDR kv_cache, GM_ADDR rope_cache, GM_ADDR q_nope, GM_ADDR q_rope,
    GM_ADDR q_c, GM_ADDR workspace, MlaPrologPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::MlaProlog<half>({hidden_states, qkv_a_weight, q_a_norm_weight, q_a_norm_bias,
                              q_b_weight, w_uk, kv_a_norm_weight, cos, sin, slot_mapping, kv_cache,
                              rope_cache, q_nope, q_rope, q_c, workspace},
                             plan);
}
