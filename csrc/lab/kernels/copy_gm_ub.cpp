#include "kernel_operator.h"
#include "lab/kernels/copy.h"
#include "lab/kernels/copy_plan.h"

extern "C" __global__ __aicore__ void copy_gm_ub(CopyPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    if ASCEND_IS_AIV {
        kernels::Copy<false> copy;
        copy.Run(plan);
    }
}
