// The kernel prefetch on cube cores: it loads into L1, so it can run beside a kernel that leaves no
// vector cores. It has a file of its own because a toolkit gives all kernels of a file the type
// that it finds first.
#include "kernel_operator.h"
#include "kernels/weight_warmer.h"
#include "plan/prefetch_plan.h"

extern "C" __global__ __aicore__ void prefetch_cube(PrefetchPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    if ASCEND_IS_AIC {
        AscendC::TPipe pipe;
        kernels::WeightWarmer<kernels::LandInL1> warmer;
        warmer.Open(&pipe, plan.warm, AscendC::GetBlockIdx());
        warmer.WarmWindowChunks(plan.warm, plan.window);
    }
}
