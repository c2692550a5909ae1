// Dynamic quantisation of the rows of a matrix alone, on the vector cores: the kernel that
// frameworks run before a W8A8 product.
#include "kernel_operator.h"
#include "kernels/partition.h"
#include "kernels/quantiser.h"
#include "kernels/vector_math.h"
#include "lab/kernels/quantise_plan.h"

namespace kernels {

template <typename T>
__aicore__ inline void Quantise(const QuantiseAddresses& addresses, const QuantisePlan& plan) {
    if ASCEND_IS_AIV {
        AscendC::TPipe pipe;
        AscendC::TBuf<AscendC::TPosition::VECIN> landing;
        AscendC::TBuf<AscendC::TPosition::VECIN> row;
        Quantiser<T> quantiser;
        pipe.InitBuffer(landing, plan.held * sizeof(T));
        pipe.InitBuffer(row, plan.held * sizeof(float));
        quantiser.Open(&pipe, plan.held);
        quantiser.BindDynamic();
        const uint32_t cores = AscendC::GetBlockNum();
        const uint32_t end = ShareBegin(plan.rows, cores, AscendC::GetBlockIdx() + 1);
        for (uint32_t i = ShareBegin(plan.rows, cores, AscendC::GetBlockIdx()); i < end; ++i) {
            quantiser.Row(Gm(addresses.source), Gm(addresses.target), Gm(addresses.scales),
                          kBlockFloats, i, plan.width, row.template Get<float>(),
                          landing.template Get<T>());
        }
    }
}

}  // namespace kernels

extern "C" __global__ __aicore__ void quantise_bf16(QuantiseAddresses addresses,
                                                    QuantisePlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::Quantise<bfloat16_t>(addresses, plan);
}

extern "C" __global__ __aicore__ void quantise_fp16(QuantiseAddresses addresses,
                                                    QuantisePlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    kernels::Quantise<half>(addresses, plan);
}
