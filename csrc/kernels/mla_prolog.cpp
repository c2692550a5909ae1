#include "kernel_operator.h"
#include "kernels/prolog.h"
#include "plan/prolog_plan.h"

extern "C" __global__ __aicore__ void mla_prolog_bf16(PrologAddresses addresses, PrologPlan plan,
                                                      PrologWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::Prolog<bfloat16_t, false, false>(addresses, plan, warm);
}

extern "C" __global__ __aicore__ void mla_prolog_fp16(PrologAddresses addresses, PrologPlan plan,
                                                      PrologWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::Prolog<half, false, false>(addresses, plan, warm);
}

extern "C" __global__ __aicore__ void mla_prolog_bf16_w8a8(PrologAddresses addresses,
                                                           PrologPlan plan, PrologWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::Prolog<bfloat16_t, true, false>(addresses, plan, warm);
}

extern "C" __global__ __aicore__ void mla_prolog_fp16_w8a8(PrologAddresses addresses,
                                                           PrologPlan plan, PrologWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::Prolog<half, true, false>(addresses, plan, warm);
}
