// Vector helpers on rows of fp32 in UB.
#pragma once

#include "kernel_operator.h"
#include "kernels/partition.h"
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

// Helpers on `x` [rows, columns], dense in UB. An instruction takes 64 columns of all rows: at most
// 255 rows and 2,040 columns, a multiple of 8, fit its repeats and their 8-bit strides.

// x[r][i] = x[r][i] + row[i]
template <typename T>
__aicore__ inline void AddRow(const AscendC::LocalTensor<T>& x, const AscendC::LocalTensor<T>& row,
                              uint32_t rows, uint32_t columns) {
    const auto stride = static_cast<uint8_t>(columns / kBlockFloats);
    for (uint32_t i = 0; i < columns; i += kLanes) {
        AscendC::Add(x[i], x[i], row[i], Min(kLanes, columns - i), rows,
                     {1, 1, 1, stride, stride, 0});
    }
}

// x[r][i] = x[r][i] * row[i]
__aicore__ inline void MulByRow(const AscendC::LocalTensor<float>& x,
                                const AscendC::LocalTensor<float>& row, uint32_t rows,
                                uint32_t columns) {
    const auto stride = static_cast<uint8_t>(columns / kBlockFloats);
    for (uint32_t i = 0; i < columns; i += kLanes) {
        AscendC::Mul(x[i], x[i], row[i], Min(kLanes, columns - i), rows,
                     {1, 1, 1, stride, stride, 0});
    }
}

// x[r][i] = x[r][i] * factors[r], where each factor fills a block.
__aicore__ inline void MulByBlocks(const AscendC::LocalTensor<float>& x,
                                   const AscendC::LocalTensor<float>& factors, uint32_t rows,
                                   uint32_t columns) {
    const auto stride = static_cast<uint8_t>(columns / kBlockFloats);
    for (uint32_t i = 0; i < columns; i += kLanes) {
        AscendC::Mul(x[i], x[i], factors, Min(kLanes, columns - i), rows,
                     {1, 1, 0, stride, stride, 1});
    }
}

}  // namespace kernels
