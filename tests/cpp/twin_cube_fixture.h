// Matrices in the buffers of a cube core, and where their elements lie.
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <type_traits>

#include "twin_fixture.h"

namespace fixture {

using twin::checks::kL0a;
using twin::checks::kL0b;
using twin::checks::kL0c;
using twin::checks::Shape;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

inline size_t Blocks(size_t size, size_t block) { return (size + block - 1) / block; }

/// Places of 矩阵计算分形介绍/关键分形格式详解; `c0` elements are 32 bytes.
/// Zz: fractals of 16 x c0 row by row, row-major inside.
inline size_t ZzIndex(size_t m, size_t k, size_t columns, size_t c0) {
    return ((m / 16) * Blocks(columns, c0) + k / c0) * 16 * c0 + m % 16 * c0 + k % c0;
}
/// Zn: fractals of c0 x 16 row by row, column-major inside.
inline size_t ZnIndex(size_t k, size_t n, size_t columns, size_t c0) {
    return ((k / c0) * Blocks(columns, 16) + n / 16) * 16 * c0 + n % 16 * c0 + k % c0;
}
/// Nz of L0C: fractals of 16 x 16 column by column, row-major inside.
inline size_t NzIndex(size_t m, size_t n, size_t rows) {
    return ((n / 16) * Blocks(rows, 16) + m / 16) * 256 + m % 16 * 16 + n % 16;
}

using Entry = std::function<float(size_t row, size_t column)>;

template <typename T>
T Element(float value) {
    if constexpr (std::is_same_v<T, half>) {
        return std::isnan(value) ? half{0x7E00} : Half(value);
    } else if constexpr (std::is_same_v<T, bfloat16_t>) {
        return Bf16(value);
    } else {
        return static_cast<T>(value);
    }
}

/// L0A with A in Zz and `garbage` wherever a fractal is larger than A.
template <typename T>
LocalTensor<T> LeftMatrix(TPipe& pipe, size_t m, size_t k, const Entry& entry, float garbage) {
    constexpr size_t c0 = 32 / sizeof(T);
    const size_t count = Blocks(m, 16) * 16 * Blocks(k, c0) * c0;
    const auto l0a = Allocate<kL0a, T>(pipe, static_cast<uint32_t>(count));
    for (size_t i = 0; i < count; ++i) Poke(l0a, i, Element<T>(garbage));
    for (size_t i = 0; i < m; ++i) {
        for (size_t j = 0; j < k; ++j) Poke(l0a, ZzIndex(i, j, k, c0), Element<T>(entry(i, j)));
    }
    return l0a;
}

/// L0B with B in Zn.
template <typename T>
LocalTensor<T> RightMatrix(TPipe& pipe, size_t k, size_t n, const Entry& entry, float garbage) {
    constexpr size_t c0 = 32 / sizeof(T);
    const size_t count = Blocks(k, c0) * c0 * Blocks(n, 16) * 16;
    const auto l0b = Allocate<kL0b, T>(pipe, static_cast<uint32_t>(count));
    for (size_t i = 0; i < count; ++i) Poke(l0b, i, Element<T>(garbage));
    for (size_t i = 0; i < k; ++i) {
        for (size_t j = 0; j < n; ++j) Poke(l0b, ZnIndex(i, j, n, c0), Element<T>(entry(i, j)));
    }
    return l0b;
}

/// ND2NZ of a whole matrix without gaps.
inline AscendC::Nd2NzParams WholeMatrix(uint16_t rows, uint16_t columns) {
    AscendC::Nd2NzParams params;
    params.ndNum = 1;
    params.nValue = rows;
    params.dValue = columns;
    params.srcDValue = columns;
    params.dstNzC0Stride = static_cast<uint16_t>(Blocks(rows, 16) * 16);
    params.dstNzNStride = 1;
    return params;
}

/// LoadData of `repeats` fractals from number `start`.
inline AscendC::LoadData2DParams Load(uint16_t start, uint8_t repeats, uint16_t source_stride,
                                      uint16_t destination_gap, bool transpose = false) {
    AscendC::LoadData2DParams params;
    params.startIndex = start;
    params.repeatTimes = repeats;
    params.srcStride = source_stride;
    params.dstGap = destination_gap;
    params.ifTranspose = transpose;
    return params;
}

/// Fixpipe of one matrix of m x n.
inline AscendC::FixpipeParamsV220 Store(uint16_t n, uint16_t m, uint16_t source_stride,
                                        uint32_t destination_stride, QuantMode_t mode = NoQuant) {
    AscendC::FixpipeParamsV220 params;
    params.nSize = n;
    params.mSize = m;
    params.srcStride = source_stride;
    params.dstStride = destination_stride;
    params.quantPre = mode;
    return params;
}

}  // namespace fixture
