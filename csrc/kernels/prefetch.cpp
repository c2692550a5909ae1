// Loads weights, so that they are in L2, and discards them. It uses vector cores only, so it can
// run beside any kernel that leaves some of them, and HBM, idle.
#include "kernel_operator.h"
#include "kernels/weight_warmer.h"
#include "plan/prefetch_plan.h"

extern "C" __global__ __aicore__ void prefetch(PrefetchPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    if ASCEND_IS_AIV {
        AscendC::TPipe pipe;
        kernels::WeightWarmer<> warmer;
        warmer.Open(&pipe, plan.warm, AscendC::GetBlockIdx());
        warmer.WarmWindowChunks(plan.warm, plan.window);
    }
}
