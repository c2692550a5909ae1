// Vector helpers on rows of fp32 in UB.
#pragma once

#include "kernel_operator.h"

namespace kernels {

constexpr uint32_t kLanes = 64;  // fp32 elements of one repeat (256 bytes)

template <typename T>
__aicore__ inline void ToFloat(const AscendC::LocalTensor<float>& dst,
                               const AscendC::LocalTensor<T>& src, uint32_t count) {
    AscendC::Cast(dst, src, AscendC::RoundMode::CAST_NONE, count);
}

template <typename T>
__aicore__ inline void FromFloat(const AscendC::LocalTensor<T>& dst,
                                 const AscendC::LocalTensor<float>& src, uint32_t count) {
    AscendC::Cast(dst, src, AscendC::RoundMode::CAST_RINT, count);
}

}  // namespace kernels
