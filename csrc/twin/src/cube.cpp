// Loads from L1 to L0, and the cube (matrix unit).
#include "ascendc/cube.h"

#include <algorithm>
#include <cstring>

#include "convert.h"
#include "core.h"
#include "simd.h"

namespace twin {

namespace {

// For a K dimension of up to this size, the absolute value of every partial sum of int8 products is
// an integer of at most 2^24, so fp32 adds them exactly.
constexpr uint32_t kExactDepth = 1024;
static_assert(kExactDepth * 128 * 128 == 1 << 24);

void TransposeFractal16(uint8_t* dst, const uint8_t* src) {
    uint16_t in[16][16];
    uint16_t out[16][16];
    std::memcpy(in, src, kFractalBytes);
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 16; ++column) out[column][row] = in[row][column];
    }
    std::memcpy(dst, out, kFractalBytes);
}

using Vec8 = float __attribute__((vector_size(32)));

// Transposes 8 x 8 floats. The strides are in floats, from row to row.
__attribute__((always_inline)) inline void Transpose8x8(float* out, size_t out_stride,
                                                        const float* in, size_t in_stride) {
    Vec8 r[8];
    for (int i = 0; i < 8; ++i) std::memcpy(&r[i], in + i * in_stride, sizeof(Vec8));
    Vec8 a[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        a[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    Vec8 b[8];
    for (int i = 0; i < 8; i += 4) {
        b[i] = __builtin_shufflevector(a[i], a[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        b[i + 1] = __builtin_shufflevector(a[i], a[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        b[i + 2] = __builtin_shufflevector(a[i + 1], a[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        b[i + 3] = __builtin_shufflevector(a[i + 1], a[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; ++i) {
        const Vec8 low = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        const Vec8 high = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        std::memcpy(out + i * out_stride, &low, sizeof(Vec8));
        std::memcpy(out + (i + 4) * out_stride, &high, sizeof(Vec8));
    }
}

__attribute__((always_inline)) inline void FractalToFloat(DType type, const uint8_t* fractal,
                                                          float* out) {
    uint16_t bits[256];
    std::memcpy(bits, fractal, kFractalBytes);
    if (type == DType::kBF16) {
        ConvertBf16ToF32(bits, out, 256);
    } else {
        ConvertF16ToF32(bits, out, 256);
    }
}

// Computes kRows x 32 elements of C += A x B over all of k. `b` holds k rows of 32 floats, and `a`
// is row-major.
template <int kRows>
__attribute__((always_inline)) inline void MultiplyRows(float* c, size_t c_stride, size_t c_half,
                                                        const float* a, size_t a_stride,
                                                        const float* b, uint32_t k) {
    using Vec16 = float __attribute__((vector_size(64)));
    Vec16 low[kRows];
    Vec16 high[kRows];
    for (int row = 0; row < kRows; ++row) {
        std::memcpy(&low[row], c + row * c_stride, sizeof(Vec16));
        std::memcpy(&high[row], c + row * c_stride + c_half, sizeof(Vec16));
    }
    for (uint32_t i = 0; i < k; ++i) {
        Vec16 b_low;
        Vec16 b_high;
        std::memcpy(&b_low, b + i * 32, sizeof(Vec16));
        std::memcpy(&b_high, b + i * 32 + 16, sizeof(Vec16));
        for (int row = 0; row < kRows; ++row) {
            const float value = a[row * a_stride + i];
            low[row] += value * b_low;
            high[row] += value * b_high;
        }
    }
    for (int row = 0; row < kRows; ++row) {
        std::memcpy(c + row * c_stride, &low[row], sizeof(Vec16));
        std::memcpy(c + row * c_stride + c_half, &high[row], sizeof(Vec16));
    }
}

// Computes `rows` rows, at most 16, of a tile: two halves of 16 columns, 256 floats apart.
__attribute__((always_inline)) inline void MultiplyTile(float* tile, const float* a,
                                                        size_t a_stride, const float* b,
                                                        uint32_t rows, uint32_t k) {
    uint32_t row = 0;
    for (; row + 8 <= rows; row += 8) {
        MultiplyRows<8>(tile + row * 16, 16, 256, a + row * a_stride, a_stride, b, k);
    }
    for (; row < rows; ++row) {
        MultiplyRows<1>(tile + row * 16, 16, 256, a + row * a_stride, a_stride, b, k);
    }
}

// The operands of one product in fp32: A is row-major, and two column blocks of B are transposed to
// k rows of 32. For int8, B is converted in parts of kExactDepth rows, and the sums of two column
// blocks are kept in int32.
struct FloatOperands {
    alignas(64) float a_rows[arch::DavC220::kL0aBytes / 2];
    alignas(64) float b_rows[arch::DavC220::kL0bBytes / 2 / 16 * 32];
};
struct IntegerOperands {
    alignas(64) float a_rows[arch::DavC220::kL0aBytes];
    alignas(64) float b_rows[kExactDepth * 32];
    alignas(64) int32_t sums[arch::DavC220::kL0cBytes / sizeof(int32_t)];
};

// A product with at most two rows of A. It needs no transposes, because dot products along k read B
// in the order in which it is stored. It computes `rows` x 8 columns at a time; `b` holds the
// fractals of one column block in fp32, and k is a multiple of 16.
__attribute__((always_inline)) inline void MultiplyTwoRows(float* c, const float* a,
                                                           size_t a_stride, const float* b,
                                                           uint32_t k1, uint32_t rows,
                                                           uint32_t columns, bool accumulate) {
    using Vec16 = float __attribute__((vector_size(64)));
    for (uint32_t first = 0; first < 16; first += 8) {
        Vec16 sums[2][8] = {};
        for (uint32_t j = 0; j < k1; ++j) {
            Vec16 left[2];
            std::memcpy(&left[0], a + j * 16, sizeof(Vec16));
            std::memcpy(&left[1], a + (rows - 1) * a_stride + j * 16, sizeof(Vec16));
            for (uint32_t n = 0; n < 8; ++n) {
                Vec16 right;
                std::memcpy(&right, b + (size_t{j} * 16 + first + n) * 16, sizeof(Vec16));
                sums[0][n] += left[0] * right;
                sums[1][n] += left[1] * right;
            }
        }
        for (uint32_t row = 0; row < rows; ++row) {
            for (uint32_t n = 0; n < 8 && first + n < columns; ++n) {
                float sum = accumulate ? c[row * 16 + first + n] : 0.0f;
                for (int lane = 0; lane < 16; ++lane) sum += sums[row][n][lane];
                c[row * 16 + first + n] = sum;
            }
        }
    }
}

// A is Zz, B is Zn and C is Nz (Mmad, table 2). Products of 16-bit inputs are exact in fp32. They
// are added in fp32 in the order of k, except with two rows or fewer. Rows of C beyond m and
// columns beyond n are not changed.
TWIN_SIMD_CLONES void MultiplyFloat16(FloatOperands& operands, float* c, const uint8_t* a,
                                      const uint8_t* b, DType type, uint32_t m, uint32_t n,
                                      uint32_t k, bool accumulate) {
    const uint32_t m1 = (m + 15) / 16;
    const uint32_t n1 = (n + 15) / 16;
    const uint32_t k1 = (k + 15) / 16;
    const size_t a_stride = size_t{k1} * 16;
    float* const a_rows = operands.a_rows;
    float* const b_rows = operands.b_rows;
    alignas(64) float fractal[256];
    for (uint32_t i = 0; i < m1; ++i) {
        for (uint32_t j = 0; j < k1; ++j) {
            FractalToFloat(type, a + (size_t{i} * k1 + j) * kFractalBytes, fractal);
            for (uint32_t row = 0; row < 16; ++row) {
                std::memcpy(a_rows + (i * 16 + row) * a_stride + j * 16, fractal + row * 16, 64);
            }
        }
    }
    if (m <= 2 && k % 16 == 0) {
        for (uint32_t column = 0; column < n1; ++column) {
            for (uint32_t j = 0; j < k1; ++j) {
                FractalToFloat(type, b + (size_t{j} * n1 + column) * kFractalBytes,
                               b_rows + size_t{j} * 256);
            }
            MultiplyTwoRows(c + size_t{column} * m1 * 256, a_rows, a_stride, b_rows, k1, m,
                            std::min(n - column * 16, 16u), accumulate);
        }
        return;
    }
    alignas(64) float scratch[2 * 256];
    const size_t c_column = size_t{m1} * 256;  // stride between column blocks of C, in floats
    for (uint32_t column = 0; column < n1; column += 2) {
        const bool pair = column + 1 < n1;
        for (uint32_t j = 0; j < k1; ++j) {
            for (uint32_t half_index = 0; half_index < (pair ? 2u : 1u); ++half_index) {
                FractalToFloat(type, b + (size_t{j} * n1 + column + half_index) * kFractalBytes,
                               fractal);
                float* out = b_rows + size_t{j} * 16 * 32 + half_index * 16;
                for (int x = 0; x < 16; x += 8) {
                    for (int y = 0; y < 16; y += 8)
                        Transpose8x8(out + x * 32 + y, 32, fractal + y * 16 + x, 16);
                }
            }
        }
        for (uint32_t i = 0; i < m1; ++i) {
            const uint32_t rows = std::min(m - i * 16, 16u);
            float* const c_low = c + column * c_column + size_t{i} * 256;
            float* const c_high = c_low + c_column;
            std::memset(scratch, 0, sizeof(scratch));
            if (accumulate) {
                std::memcpy(scratch, c_low, rows * 64);
                if (pair) std::memcpy(scratch + 256, c_high, rows * 64);
            }
            const float* a_block = a_rows + size_t{i} * 16 * a_stride;
            MultiplyTile(scratch, a_block, a_stride, b_rows, rows, k);
            for (uint32_t half_index = 0; half_index < (pair ? 2u : 1u); ++half_index) {
                const uint32_t width = std::min(n - (column + half_index) * 16, 16u);
                float* target = half_index == 0 ? c_low : c_high;
                for (uint32_t r = 0; r < rows; ++r) {
                    std::memcpy(target + r * 16, scratch + half_index * 256 + r * 16, width * 4);
                }
            }
        }
    }
}

// "对于整数类型只有饱和模式" (Mmad, constraints). Here the exact product is added to C once. It is
// not documented after which of its additions the hardware saturates.
inline int32_t AddSaturated(int32_t a, int32_t b) {
    int32_t sum = 0;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return a < 0 ? INT32_MIN : INT32_MAX;
}

// Adds rows x 16 columns of fp32 to `sums`, which has 16 columns too.
__attribute__((always_inline)) inline void AddTile(int32_t* sums, const float* tile,
                                                   uint32_t rows) {
    for (uint32_t i = 0; i < rows * 16; ++i) sums[i] += static_cast<int32_t>(tile[i]);
}

// Writes `rows` x `width` elements of C from their sums.
__attribute__((always_inline)) inline void StoreSums(int32_t* c, const int32_t* sums, uint32_t rows,
                                                     uint32_t width, bool accumulate) {
    for (uint32_t row = 0; row < rows; ++row) {
        for (uint32_t i = 0; i < width; ++i) {
            const int32_t sum = sums[row * 16 + i];
            c[row * 16 + i] = accumulate ? AddSaturated(c[row * 16 + i], sum) : sum;
        }
    }
}

// Converts one fractal of 16 rows of 32 bytes. The rows of `out` are `stride` floats apart.
__attribute__((always_inline)) inline void BytesToFloat(const uint8_t* fractal, float* out,
                                                        size_t stride) {
    int8_t bytes[kFractalBytes];
    std::memcpy(bytes, fractal, kFractalBytes);
    for (uint32_t row = 0; row < 16; ++row) {
        for (uint32_t i = 0; i < 32; ++i) {
            out[row * stride + i] = static_cast<float>(bytes[row * 32 + i]);
        }
    }
}

// Like MultiplyFloat16, but fractals have 32 elements in the K dimension, and the sums are int32:
// fp32 computes parts of kExactDepth, for which it is exact.
TWIN_SIMD_CLONES void MultiplyInt8(IntegerOperands& operands, int32_t* c, const uint8_t* a,
                                   const uint8_t* b, uint32_t m, uint32_t n, uint32_t k,
                                   bool accumulate) {
    const uint32_t m1 = (m + 15) / 16;
    const uint32_t n1 = (n + 15) / 16;
    const uint32_t k1 = (k + 31) / 32;
    const size_t a_stride = size_t{k1} * 32;
    float* const a_rows = operands.a_rows;
    float* const b_rows = operands.b_rows;
    for (uint32_t i = 0; i < m1; ++i) {
        for (uint32_t j = 0; j < k1; ++j) {
            BytesToFloat(a + (size_t{i} * k1 + j) * kFractalBytes,
                         a_rows + i * 16 * a_stride + j * 32, a_stride);
        }
    }
    alignas(64) float tile[2 * 256];
    if (m <= 2 && k % 32 == 0) {
        for (uint32_t column = 0; column < n1; ++column) {
            alignas(64) int32_t sums[2 * 16] = {};
            for (uint32_t start = 0; start < k; start += kExactDepth) {
                const uint32_t depth = std::min(k - start, kExactDepth);
                for (uint32_t j = 0; j < depth / 32; ++j) {
                    // Split the fractal along K into two fractals of 16 x 16.
                    alignas(64) float fractal[2 * 256];
                    const size_t place = size_t{start / 32 + j} * n1 + column;
                    BytesToFloat(b + place * kFractalBytes, fractal, 32);
                    float* const out = b_rows + size_t{j} * 512;
                    for (uint32_t row = 0; row < 16; ++row) {
                        std::memcpy(out + row * 16, fractal + row * 32, 64);
                        std::memcpy(out + 256 + row * 16, fractal + row * 32 + 16, 64);
                    }
                }
                MultiplyTwoRows(tile, a_rows + start, a_stride, b_rows, depth / 16, m, 16, false);
                AddTile(sums, tile, m);
            }
            StoreSums(c + size_t{column} * m1 * 256, sums, m, std::min(n - column * 16, 16u),
                      accumulate);
        }
        return;
    }
    const size_t c_column = size_t{m1} * 256;
    for (uint32_t column = 0; column < n1; column += 2) {
        const uint32_t halves = column + 1 < n1 ? 2 : 1;
        std::memset(operands.sums, 0, halves * c_column * sizeof(int32_t));
        for (uint32_t start = 0; start < k; start += kExactDepth) {
            const uint32_t depth = std::min(k - start, kExactDepth);
            for (uint32_t j = 0; j < (depth + 31) / 32; ++j) {
                for (uint32_t side = 0; side < halves; ++side) {
                    alignas(64) float fractal[2 * 256];
                    const size_t place = size_t{start / 32 + j} * n1 + column + side;
                    BytesToFloat(b + place * kFractalBytes, fractal, 32);
                    float* const out = b_rows + size_t{j} * 32 * 32 + side * 16;
                    for (int x = 0; x < 32; x += 8) {
                        for (int y = 0; y < 16; y += 8)
                            Transpose8x8(out + x * 32 + y, 32, fractal + y * 32 + x, 32);
                    }
                }
            }
            for (uint32_t i = 0; i < m1; ++i) {
                const uint32_t rows = std::min(m - i * 16, 16u);
                const float* const a_block = a_rows + i * 16 * a_stride + start;
                std::memset(tile, 0, sizeof(tile));
                MultiplyTile(tile, a_block, a_stride, b_rows, rows, depth);
                for (uint32_t side = 0; side < halves; ++side) {
                    AddTile(operands.sums + side * c_column + i * 256, tile + side * 256, rows);
                }
            }
        }
        for (uint32_t side = 0; side < halves; ++side) {
            StoreSums(c + (column + side) * c_column, operands.sums + side * c_column, m,
                      std::min(n - (column + side) * 16, 16u), accumulate);
        }
    }
}

/// From this number of fractals on, the cube itself orders products that add to the same bytes of
/// L0C (Mmad, note on synchronisation).
constexpr uint32_t kSelfOrderingFractals = 10;

// 8 bits: the square has 32 rows of 32 bytes, with one fractal below the other. Its transpose has
// the same form.
void TransposeSquare8(uint8_t* first, uint8_t* second, const uint8_t* square) {
    for (uint32_t row = 0; row < 32; ++row) {
        uint8_t* const to = (row < 16 ? first : second) + row % 16 * 32;
        for (uint32_t i = 0; i < 32; ++i) to[i] = square[i * 32 + row];
    }
}

// 32 bits: the square has 16 rows of 16 elements, with two fractals of 16 x 8 side by side. Its
// transpose has the same form.
void TransposeSquare32(uint8_t* first, uint8_t* second, const uint8_t* square) {
    for (uint32_t row = 0; row < 16; ++row) {
        for (uint32_t i = 0; i < 16; ++i) {
            const uint8_t* const from = square + row / 8 * kFractalBytes + i * 32 + row % 8 * 4;
            std::memcpy((i < 8 ? first : second) + row * 32 + i % 8 * 4, from, 4);
        }
    }
}

}  // namespace

void LoadFractals(const Local& dst, const Local& src, DType type,
                  const AscendC::LoadData2DParams& params, Site site) {
    RequireAic("LoadData", site);
    RequireBuffer("LoadData", "src", src, TraceBuffer::kL1, site);
    if (dst.buffer != TraceBuffer::kL0a && dst.buffer != TraceBuffer::kL0b) {
        Fail("wrong-buffer", site, "LoadData: dst must be in L0A or L0B, is in %s",
             BufferName(dst.buffer));
    }
    RequireAligned("LoadData", "src", src, kBlockBytes, site);
    RequireAligned("LoadData", "dst", dst, kFractalBytes, site);
    if (params.addrMode != 0)
        Fail("parameter-range", site, "LoadData: addrMode is %u, only 0 is documented for L1 -> L0",
             params.addrMode.value());
    if (params.sid != 0)
        Fail("parameter-range", site, "LoadData: sid is %u, must be 0", params.sid.value());
    if (params.ifTranspose && DTypeBytes(type) != 2) {
        Fail("parameter-range", site, "LoadData: ifTranspose needs a 16-bit type, got %s",
             DTypeName(type));
    }
    if (params.repeatTimes == 0) return;  // documented as no operation
    const int64_t repeats = params.repeatTimes;
    const int64_t source_step = int64_t{params.srcStride} * kFractalBytes;
    const int64_t target_step = (int64_t{params.dstGap} + 1) * kFractalBytes;
    const int64_t start = int64_t{params.startIndex} * kFractalBytes;
    RequireInside("LoadData", "src", src, start,
                  start + (repeats - 1) * source_step + kFractalBytes, site);
    RequireInside("LoadData", "dst", dst, 0, (repeats - 1) * target_step + kFractalBytes, site);
    const Accesses accesses("LoadData", TracePipe::kMte1, site);
    for (int64_t i = 0; !Dry() && i < repeats; ++i) {
        const uint8_t* from = src.data + start + i * source_step;
        uint8_t* to = dst.data + i * target_step;
        accesses.Move(dst, i * target_step, src, start + i * source_step, kFractalBytes);
        if (params.ifTranspose) {
            TransposeFractal16(to, from);
            if (accesses.On()) {
                TransposeFractal16(accesses.Written(dst, i * target_step),
                                   accesses.Written(src, start + i * source_step));
            }
        } else {
            std::memcpy(to, from, kFractalBytes);
        }
    }
    Record(TraceOp::kMove, TracePipe::kMte1, site, [&](TraceRecord& record) {
        FillLocal(record, dst, static_cast<uint32_t>((repeats - 1) * target_step + kFractalBytes));
        record.args[0] = static_cast<uint32_t>(repeats);
        record.args[1] = params.ifTranspose ? 1 : 0;
    });
}

void LoadTransposedSquares(const Local& dst, const Local& src, DType type,
                           const AscendC::LoadData2dTransposeParams& params, Site site) {
    constexpr const char* kInstruction = "LoadDataWithTranspose";
    RequireAic(kInstruction, site);
    RequireBuffer(kInstruction, "src", src, TraceBuffer::kL1, site);
    if (dst.buffer != TraceBuffer::kL0a && dst.buffer != TraceBuffer::kL0b) {
        Fail("wrong-buffer", site, "%s: dst must be in L0A or L0B, is in %s", kInstruction,
             BufferName(dst.buffer));
    }
    RequireAligned(kInstruction, "src", src, kBlockBytes, site);
    RequireAligned(kInstruction, "dst", dst, kFractalBytes, site);
    RequireRange(kInstruction, "addrMode", params.addrMode, 0, 1, site);
    if (params.repeatTimes == 0) return;  // documented as no operation
    const uint32_t element = DTypeBytes(type);
    const int64_t fractals = element == 2 ? 1 : 2;  // fractals per square
    const int64_t repeats = params.repeatTimes;
    const int64_t square = fractals * kFractalBytes;
    const int64_t start = params.startIndex * square;
    const int64_t source_step = (params.addrMode == 0 ? 1 : -1) * params.srcStride * square;
    const int64_t gap = int64_t{params.dstGap} + 1;
    // "仅在数据类型为float/int32_t/uint32_t/uint8_t/int8_t/int4b_t时有效"
    const int64_t fractal_gap = int64_t{params.dstFracGap} + 1;
    // "开发者需要保证目的操作数转置后的分形没有重叠": the second fractal of an iteration must not
    // go where the first fractal of a later iteration goes.
    if (fractals == 2 && fractal_gap % gap == 0 && fractal_gap / gap < repeats) {
        Fail("overlap", site,
             "%s: with dstGap = %u and dstFracGap = %u, the second fractal of an iteration is the "
             "first of a later one",
             kInstruction, params.dstGap.value(), params.dstFracGap.value());
    }
    const int64_t last = start + (repeats - 1) * source_step;
    RequireInside(kInstruction, "src", src, std::min(start, last), std::max(start, last) + square,
                  site);
    const int64_t extent = ((repeats - 1) * gap + (fractals - 1) * fractal_gap + 1) * kFractalBytes;
    RequireInside(kInstruction, "dst", dst, 0, extent, site);
    const Accesses accesses(kInstruction, TracePipe::kMte1, site);
    for (int64_t i = 0; !Dry() && i < repeats; ++i) {
        for (int64_t fractal = 0; fractal < fractals; ++fractal) {
            accesses.Move(dst, (i * gap + fractal * fractal_gap) * kFractalBytes, src,
                          start + i * source_step + fractal * kFractalBytes, kFractalBytes);
        }
        const auto transpose = [&](uint8_t* to, const uint8_t* from) {
            uint8_t* const second = to + fractal_gap * kFractalBytes;
            if (element == 1) {
                TransposeSquare8(to, second, from);
            } else if (element == 2) {
                TransposeFractal16(to, from);
            } else {
                TransposeSquare32(to, second, from);
            }
        };
        const int64_t first = start + i * source_step;
        transpose(dst.data + i * gap * kFractalBytes, src.data + first);
        if (accesses.On()) {
            transpose(accesses.Written(dst, i * gap * kFractalBytes), accesses.Written(src, first));
        }
    }
    Record(TraceOp::kMove, TracePipe::kMte1, site, [&](TraceRecord& record) {
        FillLocal(record, dst, static_cast<uint32_t>(extent));
        record.args[0] = static_cast<uint32_t>(repeats * fractals);
        record.args[1] = 1;
    });
}

void MatrixMultiply(const Local& c, DType c_type, const Local& a, const Local& b, DType ab_type,
                    const AscendC::MmadParams& params, Site site) {
    RequireAic("Mmad", site);
    RequireBuffer("Mmad", "dst", c, TraceBuffer::kL0c, site);
    RequireBuffer("Mmad", "fm", a, TraceBuffer::kL0a, site);
    RequireBuffer("Mmad", "filter", b, TraceBuffer::kL0b, site);
    RequireAligned("Mmad", "dst", c, 1024, site);
    RequireAligned("Mmad", "fm", a, kFractalBytes, site);
    RequireAligned("Mmad", "filter", b, kFractalBytes, site);
    RequireRange("Mmad", "m", params.m, 0, 4095, site);
    RequireRange("Mmad", "n", params.n, 0, 4095, site);
    RequireRange("Mmad", "k", params.k, 0, 4095, site);
    if (params.m == 1) {
        Fail("unsupported", site,
             "Mmad: m = 1 turns on GEMV mode, which reads the left matrix as ND; the twin does not "
             "have it");
    }
    if (params.unitFlag != 0 || params.kDirectionAlign || params.cmatrixSource) {
        Fail("unsupported", site,
             "Mmad: unitFlag = %u, kDirectionAlign = %d, cmatrixSource = %d; the twin has 0, 0, 0 "
             "only",
             params.unitFlag.value(), params.kDirectionAlign, params.cmatrixSource);
    }
    if (params.m == 0 || params.n == 0 || params.k == 0) return;  // documented as no operation
    const uint32_t element = DTypeBytes(ab_type);
    const uint32_t k0 = kBlockBytes / element;
    const int64_t m1 = (params.m + 15) / 16;
    const int64_t n1 = (params.n + 15) / 16;
    const int64_t k1 = (params.k + k0 - 1) / k0;
    RequireInside("Mmad", "fm", a, 0, m1 * k1 * kFractalBytes, site);
    RequireInside("Mmad", "filter", b, 0, k1 * n1 * kFractalBytes, site);
    RequireInside("Mmad", "dst", c, 0, m1 * n1 * 256 * DTypeBytes(c_type), site);
    // The parts of the last fractals that lie beyond m, n and k are read, but not used.
    const bool large = (params.m / 16) * (params.n / 16) >= kSelfOrderingFractals;
    const Accesses accesses("Mmad", TracePipe::kM, site,
                            !large                  ? Product::kNone
                            : params.cmatrixInitVal ? Product::kLarge
                                                    : Product::kAccumulating);
    if (accesses.On()) {
        const auto read_fractal = [&](const Local& from, int64_t fractal, int64_t rows, int64_t j) {
            const int64_t depth = std::min<int64_t>(params.k - j * k0, k0) * element;
            const int64_t first = fractal * kFractalBytes;
            if (depth == kBlockBytes) {
                accesses.Read(from, first, rows * kBlockBytes);
                return;
            }
            for (int64_t row = 0; row < rows; ++row) {
                accesses.Read(from, first + row * kBlockBytes, depth);
            }
        };
        for (int64_t i = 0; i < m1; ++i) {
            const int64_t rows = std::min<int64_t>(params.m - i * 16, 16);
            for (int64_t j = 0; j < k1; ++j) read_fractal(a, i * k1 + j, rows, j);
        }
        for (int64_t j = 0; j < k1; ++j) {
            for (int64_t i = 0; i < n1; ++i) {
                const int64_t columns = std::min<int64_t>(params.n - i * 16, 16);
                read_fractal(b, j * n1 + i, columns, j);
            }
        }
        const int64_t row_bytes = 16 * DTypeBytes(c_type);
        for (int64_t i = 0; i < n1; ++i) {
            const int64_t first = i * m1 * 16 * row_bytes;
            if (!params.cmatrixInitVal) accesses.Read(c, first, params.m * row_bytes);
            accesses.Write(c, first, params.m * row_bytes);
        }
    }
    // Thread-local storage is looked up once per product, because a look-up inside the loops would
    // cost more than the loops do.
    static thread_local FloatOperands operands;
    static thread_local IntegerOperands integers;
    switch (ab_type) {
        case DType::kF16:
        case DType::kBF16:
            if (Dry()) break;
            MultiplyFloat16(operands, reinterpret_cast<float*>(c.data), a.data, b.data, ab_type,
                            params.m, params.n, params.k, !params.cmatrixInitVal);
            break;
        case DType::kI8:
            if (Dry()) break;
            MultiplyInt8(integers, reinterpret_cast<int32_t*>(c.data), a.data, b.data, params.m,
                         params.n, params.k, !params.cmatrixInitVal);
            break;
        default:
            Fail("unsupported", site, "Mmad: the twin has no %s matrices", DTypeName(ab_type));
    }
    Record(TraceOp::kMmad, TracePipe::kM, site, [&](TraceRecord& record) {
        FillLocal(record, c, static_cast<uint32_t>(m1 * n1 * 256 * DTypeBytes(c_type)));
        record.args[0] = params.m;
        record.args[1] = params.n;
        record.args[2] = params.k;
        record.args[3] = element;
        record.args[4] = params.cmatrixInitVal ? 0 : 1;
    });
}

}  // namespace twin
