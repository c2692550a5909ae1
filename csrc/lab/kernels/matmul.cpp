// C = A x B alone, on the cube cores: one of the separate kernels with which the fused ones are
// compared.
#include "lab/kernels/matmul.h"
#include "kernel_operator.h"
#include "lab/kernels/matmul_plan.h"

namespace kernels {

template <typename T>
__aicore__ inline void MatmulOnCube(const MatmulAddresses& addresses, const MatmulPlan& plan) {
    if ASCEND_IS_AIC {
        WholeC c{Gm(addresses.c)};
        Matmul<T>(plan.buffers, plan.gemm, addresses.a, addresses.weight, c);
    }
}

}  // namespace kernels

extern "C" __global__ __aicore__ void matmul_bf16(MatmulAddresses addresses, MatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    kernels::MatmulOnCube<bfloat16_t>(addresses, plan);
}

extern "C" __global__ __aicore__ void matmul_fp16(MatmulAddresses addresses, MatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    kernels::MatmulOnCube<half>(addresses, plan);
}

extern "C" __global__ __aicore__ void matmul_int8(MatmulAddresses addresses, MatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    kernels::MatmulOnCube<int8_t>(addresses, plan);
}
