// A W8A8 product alone, with its dequantisation: what frameworks run behind the kernel that
// quantises A.
#include "kernel_operator.h"
#include "kernels/dequantiser.h"
#include "kernels/hand_over.h"
#include "kernels/partition.h"
#include "kernels/vector_math.h"
#include "lab/kernels/matmul.h"
#include "lab/kernels/quant_matmul_plan.h"

namespace kernels {

template <typename T>
__aicore__ inline void QuantMatmulVector(const QuantMatmulAddresses& addresses,
                                         const QuantMatmulPlan& plan) {
    AscendC::TPipe pipe;
    AscendC::TBuf<AscendC::TPosition::VECIN> row_buffer;
    AscendC::TBuf<AscendC::TPosition::VECOUT> out_buffer;
    Dequantiser dequantiser;
    pipe.InitBuffer(row_buffer, plan.step_columns * sizeof(float));
    pipe.InitBuffer(out_buffer, plan.step_columns * sizeof(T));
    dequantiser.Open(&pipe, plan.step_columns);
    const AscendC::LocalTensor<float> row = row_buffer.template Get<float>();
    const AscendC::LocalTensor<T> out = out_buffer.template Get<T>();
    AscendC::GlobalTensor<T> target;
    target.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(addresses.c));
    const uint32_t rows = plan.gemm.m;
    const uint32_t parts = CeilDiv(plan.gemm.n, plan.step_columns);
    const uint32_t core = AscendC::GetBlockIdx();
    const uint32_t end = ShareBegin(parts * rows, plan.vector_cores, core + 1);
    dequantiser.Bind(plan.format, addresses.quant, Gm(addresses.sums), plan.gemm.n,
                     Gm(addresses.a_scales));
    AwaitCube(kFlagOProj);
    for (uint32_t step = ShareBegin(parts * rows, plan.vector_cores, core); step < end; ++step) {
        const uint32_t column = step / rows * plan.step_columns;
        const uint32_t columns = Min(plan.step_columns, plan.gemm.n - column);
        if (!dequantiser.Holds(column, columns)) dequantiser.LoadColumns(column, columns);
        dequantiser.Row(row, step % rows);
        HandOver<AscendC::HardEvent::MTE3_V>(&pipe);
        FromFloat(out, row, columns);
        HandOver<AscendC::HardEvent::V_MTE3>(&pipe);
        AscendC::DataCopy(target[static_cast<uint64_t>(step % rows) * plan.gemm.n + column], out,
                          columns);
    }
}

}  // namespace kernels

extern "C" __global__ __aicore__ void quant_matmul_bf16(QuantMatmulAddresses addresses,
                                                        QuantMatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    if ASCEND_IS_AIC {
        kernels::Matmul<int8_t>(plan.buffers, plan.gemm, addresses.a, addresses.weight,
                                addresses.sums, kernels::kFlagOProj);
    }
    if ASCEND_IS_AIV {
        kernels::QuantMatmulVector<bfloat16_t>(addresses, plan);
    }
}
