// Vector helpers on rows of fp32 in UB.
#pragma once

#include "kernel_operator.h"
#include "plan/units.h"

namespace kernels {

using plan::kBlockFloats;
using plan::kLanes;

template <typename T>
__aicore__ inline void ToFloat(const AscendC::LocalTensor<float>& dst,
                               const AscendC::LocalTensor<T>& src, uint32_t count) {
    AscendC::Cast(dst, src, AscendC::RoundMode::CAST_NONE, count);
}

__aicore__ inline void ToFloat(const AscendC::LocalTensor<float>& dst,
                               const AscendC::LocalTensor<float>& src, uint32_t count) {
    AscendC::Muls(dst, src, 1.0f, count);
}

template <typename T>
__aicore__ inline void FromFloat(const AscendC::LocalTensor<T>& dst,
                                 const AscendC::LocalTensor<float>& src, uint32_t count) {
    AscendC::Cast(dst, src, AscendC::RoundMode::CAST_RINT, count);
}

// x[i] = x[i] * factor, where the factor fills one block.
__aicore__ inline void MulByBlock(const AscendC::LocalTensor<float>& x,
                                  const AscendC::LocalTensor<float>& factor, uint32_t count) {
    AscendC::Mul(x, x, factor, kLanes, count / kLanes, {1, 1, 0, 8, 8, 0});
}

}  // namespace kernels
