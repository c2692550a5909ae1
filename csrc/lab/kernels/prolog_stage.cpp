// One stage of the prolog's vector side as a kernel of its own, with which the fused kernels are
// compared.
#include "kernel_operator.h"
#include "kernels/prolog_vector.h"
#include "plan/prolog_plan.h"

namespace kernels {

template <typename T, bool kQuantised, bool kIndexer>
__aicore__ inline void RunStageOf(const PrologAddresses& addresses, const PrologPlan& plan,
                                  uint32_t stage) {
    AscendC::TPipe pipe;
    PrologVector<T, kQuantised, kIndexer> vector;
    vector.RunStage(&pipe, addresses, plan, stage);
}

// `stage` is a prolog::Stage. A plan without an indexer counts on the UB of mla_prolog's blocks.
template <typename T, bool kQuantised>
__aicore__ inline void RunPrologStage(const PrologAddresses& addresses, const PrologPlan& plan,
                                      uint32_t stage) {
    if ASCEND_IS_AIV {
        if (plan.indexer.heads.heads > 0) {
            RunStageOf<T, kQuantised, true>(addresses, plan, stage);
        } else {
            RunStageOf<T, kQuantised, false>(addresses, plan, stage);
        }
    }
}

}  // namespace kernels

extern "C" __global__ __aicore__ void prolog_stage_bf16(PrologAddresses addresses, PrologPlan plan,
                                                        uint32_t stage) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::RunPrologStage<bfloat16_t, false>(addresses, plan, stage);
}

extern "C" __global__ __aicore__ void prolog_stage_bf16_w8a8(PrologAddresses addresses,
                                                             PrologPlan plan, uint32_t stage) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::RunPrologStage<bfloat16_t, true>(addresses, plan, stage);
}

extern "C" __global__ __aicore__ void prolog_stage_fp16(PrologAddresses addresses, PrologPlan plan,
                                                        uint32_t stage) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::RunPrologStage<half, false>(addresses, plan, stage);
}

extern "C" __global__ __aicore__ void prolog_stage_fp16_w8a8(PrologAddresses addresses,
                                                             PrologPlan plan, uint32_t stage) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::RunPrologStage<half, true>(addresses, plan, stage);
}
