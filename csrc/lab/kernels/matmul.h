// One product alone, on the cube cores.
#pragma once

#include "kernel_operator.h"
#include "kernels/gemm.h"
#include "kernels/partition.h"
#include "kernels/weight_stream.h"
#include "plan/gemm_plan.h"

namespace kernels {

// C = A x B, with A and B of type T at these addresses; `target` says where C is (Gemm::RunTo).
template <typename T, typename Target>
__aicore__ inline void Matmul(const GemmBuffers& buffers, const GemmPlan& plan, uint64_t a,
                              uint64_t weight, Target& target) {
    AscendC::TPipe pipe;
    WeightStream<1> stream;
    Gemm gemm;
    stream.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    gemm.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    stream.AddPhase(plan, Gm(weight));
    stream.Start();
    gemm.template RunTo<T>(plan, Gm(a), target, stream);
    gemm.Close(&pipe);
    stream.Close(&pipe);
}

}  // namespace kernels
