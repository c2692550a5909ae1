// One product alone, on the cube cores.
#pragma once

#include "kernel_operator.h"
#include "kernels/gemm.h"
#include "kernels/hand_over.h"
#include "kernels/partition.h"
#include "kernels/weight_stream.h"
#include "plan/gemm_plan.h"

namespace kernels {

// C = A x B, with A and B of type T at these addresses. `published` is the flag that tells the
// vector cores of the group that C is complete; kNoFlag where there are none.
template <typename T>
__aicore__ inline void Matmul(const GemmBuffers& buffers, const GemmPlan& plan, uint64_t a,
                              uint64_t weight, uint64_t c, uint16_t published = kNoFlag) {
    AscendC::TPipe pipe;
    WeightStream<1> stream;
    Gemm gemm;
    stream.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    gemm.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    stream.AddPhase(plan, Gm(weight));
    stream.Start();
    gemm.template Run<T>(plan, Gm(a), Gm(c), stream);
    if (published != kNoFlag) PublishToVector(published);
    gemm.Close(&pipe);
    stream.Close(&pipe);
}

}  // namespace kernels
