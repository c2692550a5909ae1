// C = A x B alone, on the cube cores: one of the separate kernels with which the fused ones are
// compared.
#include "kernel_operator.h"
#include "kernels/gemm.h"
#include "kernels/partition.h"
#include "kernels/weight_stream.h"
#include "lab/kernels/matmul_plan.h"

namespace kernels {

template <typename T>
__aicore__ inline void Matmul(const MatmulAddresses& addresses, const MatmulPlan& plan) {
    if ASCEND_IS_AIC {
        AscendC::TPipe pipe;
        WeightStream<1> stream;
        Gemm gemm;
        stream.Open(&pipe, plan.buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
        gemm.Open(&pipe, plan.buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
        stream.AddPhase(plan.gemm, Gm(addresses.weight));
        stream.Start();
        gemm.template Run<T>(plan.gemm, Gm(addresses.a), Gm(addresses.c), stream);
        gemm.Close(&pipe);
        stream.Close(&pipe);
    }
}

}  // namespace kernels

extern "C" __global__ __aicore__ void matmul_bf16(MatmulAddresses addresses, MatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    kernels::Matmul<bfloat16_t>(addresses, plan);
}

extern "C" __global__ __aicore__ void matmul_fp16(MatmulAddresses addresses, MatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    kernels::Matmul<half>(addresses, plan);
}

extern "C" __global__ __aicore__ void matmul_int8(MatmulAddresses addresses, MatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    kernels::Matmul<int8_t>(addresses, plan);
}
