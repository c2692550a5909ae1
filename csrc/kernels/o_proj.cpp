#include "kernels/o_proj.h"

#include "kernel_operator.h"
#include "plan/o_proj_plan.h"

extern "C" __global__ __aicore__ void o_proj_bf16(OProjAddresses addresses, OProjPlan plan,
                                                  OProjWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::OProj<bfloat16_t, false>(addresses, plan, warm);
}

extern "C" __global__ __aicore__ void o_proj_fp16(OProjAddresses addresses, OProjPlan plan,
                                                  OProjWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::OProj<half, false>(addresses, plan, warm);
}

extern "C" __global__ __aicore__ void o_proj_bf16_w8a8(OProjAddresses addresses, OProjPlan plan,
                                                       OProjWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::OProj<bfloat16_t, true>(addresses, plan, warm);
}

extern "C" __global__ __aicore__ void o_proj_fp16_w8a8(OProjAddresses addresses, OProjPlan plan,
                                                       OProjWarm warm) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::OProj<half, true>(addresses, plan, warm);
}
