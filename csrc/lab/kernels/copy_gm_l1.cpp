#include "kernel_operator.h"
#include "lab/kernels/copy.h"
#include "lab/kernels/copy_plan.h"

extern "C" __global__ __aicore__ void copy_gm_l1(CopyPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    if ASCEND_IS_AIC {
        kernels::Copy<true> copy;
        copy.Run(plan);
    }
}
