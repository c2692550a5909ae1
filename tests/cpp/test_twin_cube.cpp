// Golden vectors of LoadData, Mmad and Fixpipe: fractal orders, tails, number formats, limits.
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::Fixpipe;
using AscendC::FixpipeParamsV220;
using AscendC::LoadData;
using AscendC::LoadData2DParams;
using AscendC::Mmad;
using AscendC::MmadParams;
using AscendC::Nd2NzParams;
using AscendC::PipeBarrier;

namespace {

LoadData2DParams Load(uint16_t start, uint8_t repeats, uint16_t source_stride,
                      uint16_t destination_gap, bool transpose = false) {
    LoadData2DParams params;
    params.startIndex = start;
    params.repeatTimes = repeats;
    params.srcStride = source_stride;
    params.dstGap = destination_gap;
    params.ifTranspose = transpose;
    return params;
}

/// `count` fractals of 512 bytes in L1; element e of fractal f is 256 f + e (16-bit elements).
LocalTensor<uint16_t> NumberedFractals(TPipe& pipe, uint32_t count) {
    const auto l1 = Allocate<kL1, uint16_t>(pipe, count * 256);
    for (uint32_t i = 0; i < count * 256; ++i) Poke(l1, i, static_cast<uint16_t>(i));
    return l1;
}

/// The fractal at `position` of `tensor` is fractal `number` of NumberedFractals.
bool IsFractal(const LocalTensor<uint16_t>& tensor, uint32_t position, int number) {
    return Values(tensor, position * 256, 256) == Ramp<uint16_t>(256, number * 256);
}

/// ... is its transpose: element (r, c), 16 r + c, was element (c, r).
bool IsTransposed(const LocalTensor<uint16_t>& tensor, uint32_t position, int number) {
    const auto values = Values(tensor, position * 256, 256);
    for (int r = 0; r < 16; ++r) {
        for (int c = 0; c < 16; ++c) {
            if (values[static_cast<size_t>(16 * r + c)] != number * 256 + 16 * c + r) return false;
        }
    }
    return true;
}

bool IsUntouched(const LocalTensor<uint16_t>& tensor, uint32_t position) {
    return Values(tensor, position * 256, 256) == std::vector<uint16_t>(256, 0xAAAA);
}

}  // namespace

// ---- 矩阵计算（ISASI）/矩阵计算的搬入/LoadData_2D ----

// 设置搬运起始位置: startIndex 1, 4 repeats, srcStride 2 (start to start), dstGap 2 (end to start):
// fractals 1, 3, 5, 7 land on places 0, 3, 6, 9.
TEST(load_data_start_stride_and_gap) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 8);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 11 * 256, 0xAA);
        LoadData(l0, l1, Load(1, 4, 2, 2));
        CHECK(IsFractal(l0, 0, 1));
        CHECK(IsFractal(l0, 3, 3));
        CHECK(IsFractal(l0, 6, 5));
        CHECK(IsFractal(l0, 9, 7));
        for (uint32_t place : {1u, 2u, 4u, 5u, 7u, 8u, 10u}) CHECK(IsUntouched(l0, place));
    });
}

// 非连续搬入: the first of the page's calls, float: 128 elements a fractal, startIndex 0.
TEST(load_data_moves_512_bytes_of_any_element) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, float>(pipe, 7 * 128);
        for (uint32_t i = 0; i < 7 * 128; ++i) Poke(l1, i, static_cast<float>(i));
        const auto l0 = Allocate<kL0a, float>(pipe, 10 * 128);
        LoadData(l0, l1, Load(0, 4, 2, 2));
        CHECK_EQ(Values(l0, 0, 128), Ramp<float>(128));
        CHECK_EQ(Values(l0, 128, 256), std::vector<float>(256, 0));
        CHECK_EQ(Values(l0, 3 * 128, 128), Ramp<float>(128, 256));
        CHECK_EQ(Values(l0, 6 * 128, 128), Ramp<float>(128, 512));
        CHECK_EQ(Values(l0, 9 * 128, 128), Ramp<float>(128, 768));
        const auto bytes = Allocate<kL0b, int8_t>(pipe, 512);
        LoadData(bytes, l1.ReinterpretCast<int8_t>(), Load(1, 1, 0, 0));
        CHECK_EQ(Values(bytes.ReinterpretCast<float>(), 0, 128), Ramp<float>(128, 128));
    });
}

// "srcStride=0表示在连续的重复执行周期之间，重复获取相同的分形矩阵".
TEST(load_data_without_a_stride_repeats_the_fractal) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 4);
        const auto l0 = Allocate<kL0b, uint16_t>(pipe, 4 * 256, 0xAA);
        LoadData(l0, l1, Load(2, 3, 0, 0));
        for (uint32_t place = 0; place < 3; ++place) CHECK(IsFractal(l0, place, 2));
        CHECK(IsUntouched(l0, 3));
    });
}

// "repeatTimes=0表示不执行搬运".
TEST(load_data_without_repeats_does_nothing) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 256, 0xAA);
        LoadData(l0, NumberedFractals(pipe, 1), Load(0, 0, 1, 0));
        CHECK(IsUntouched(l0, 0));
    });
}

// 分形转置, first figure: 2 repeats, srcStride 2, dstGap 2; every fractal is transposed by itself.
TEST(load_data_transposes_each_fractal) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 3);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 4 * 256, 0xAA);
        LoadData(l0, l1, Load(0, 2, 2, 2, true));
        CHECK_EQ(Values(l0, 0, 4), Of<uint16_t>(0, 16, 32, 48));
        CHECK_EQ(Values(l0, 16, 4), Of<uint16_t>(1, 17, 33, 49));
        CHECK_EQ(Peek(l0, 255), 255);
        CHECK(IsTransposed(l0, 0, 0));
        CHECK(IsTransposed(l0, 3, 2));
        CHECK(IsUntouched(l0, 1));
        CHECK(IsUntouched(l0, 2));
    });
}

// 分形转置, second figure: two calls of 3 repeats, srcStride 2, dstGap 1, both sides one fractal
// further.
TEST(load_data_transposes_six_fractals_in_two_calls) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 6);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 6 * 256, 0xAA);
        for (uint32_t i = 0; i < 2; ++i) LoadData(l0[i * 256], l1[i * 256], Load(0, 3, 2, 1, true));
        for (uint32_t place = 0; place < 6; ++place) {
            CHECK(IsTransposed(l0, place, static_cast<int>(place)));
        }
    });
}

// 调用示例一: A is 40 x 56 halves, so 3 x 4 fractals. In L1 (Nz) they lie column by column, number
// 3 column + row; in L0A (Zz) row by row.
TEST(load_data_turns_nz_into_zz) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 12);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 12 * 256, 0xAA);
        for (uint32_t row = 0; row < 3; ++row) {
            LoadData(l0[row * 4 * 256], l1[row * 256], Load(0, 4, 3, 0));
        }
        const int expected[12] = {0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11};
        for (uint32_t place = 0; place < 12; ++place) CHECK(IsFractal(l0, place, expected[place]));
    });
}

// 矩阵计算输入搬运约束: destinations in L0A and L0B lie at multiples of 512 bytes, sources in L1 at
// multiples of 32.
TEST(load_data_alignment) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 256);
        LoadData(l0, NumberedFractals(pipe, 2)[16], Load(0, 1, 1, 0));  // 32 bytes into L1
        CHECK_EQ(Values(l0, 0, 256), Ramp<uint16_t>(256, 16));
    });
    AicBreaks("misaligned", {"512"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 512)[16], NumberedFractals(pipe, 1),
                 Load(0, 1, 1, 0));
    });
    AicBreaks("misaligned", {"512"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0b, uint16_t>(pipe, 512)[128], NumberedFractals(pipe, 1),
                 Load(0, 1, 1, 0));
    });
    AicBreaks("misaligned", {"32"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), NumberedFractals(pipe, 2)[8],
                 Load(0, 1, 1, 0));
    });
}

// "开启转置功能时，源操作数、目的操作数仅支持b16数据类型".
TEST(load_data_transposes_16_bit_elements_only) {
    AicBreaks("parameter-range", {"int8_t"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0b, int8_t>(pipe, 512), Allocate<TPosition::B1, int8_t>(pipe, 512),
                 Load(0, 1, 1, 0, true));
    });
    AicBreaks("parameter-range", {"float"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, float>(pipe, 128), Allocate<kL1, float>(pipe, 128),
                 Load(0, 1, 1, 0, true));
    });
}

// addrMode 1 counts down, on the path GM -> L1 only: "保持默认值0即可".
TEST(load_data_counts_up) {
    AicBreaks("parameter-range", {"addrMode"}, {}, [&] {
        TPipe pipe;
        LoadData2DParams params = Load(1, 1, 1, 0);
        params.addrMode = 1;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), NumberedFractals(pipe, 2), params);
    });
}

// Paths of table 1: from L1, into L0A or L0B.
TEST(load_data_goes_from_l1_to_l0a_or_l0b) {
    AicBreaks("wrong-buffer", {}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0c, uint16_t>(pipe, 512), NumberedFractals(pipe, 1), Load(0, 1, 1, 0));
    });
    AicBreaks("wrong-buffer", {}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), Allocate<kL0b, uint16_t>(pipe, 256),
                 Load(0, 1, 1, 0));
    });
}

// Whole fractals have to fit: the last source fractal is startIndex + (repeatTimes - 1) *
// srcStride.
TEST(load_data_stays_inside_both_allocations) {
    AicBreaks("out-of-bounds", {"L1"}, {}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 6);
        static_cast<void>(Allocate<kL1, uint16_t>(pipe, 1024));
        LoadData(Allocate<kL0a, uint16_t>(pipe, 1024), l1, Load(1, 4, 2, 0));
    });
    AicBreaks("out-of-bounds", {"L0A"}, {}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 9 * 256);
        static_cast<void>(Allocate<kL0a, uint16_t>(pipe, 1024));
        LoadData(l0, NumberedFractals(pipe, 8), Load(0, 4, 2, 2));
    });
}

// ---- 矩阵计算（ISASI）/Mmad计算/Mmad ----

namespace {

float One(size_t, size_t) { return 1; }

}  // namespace

// Spot checks of the index functions: half, A 17 x 40 (2 x 3 fractals), B 40 x 24 (3 x 2), C 17 x
// 24 (2 x 2).
TEST(fractal_indices) {
    CHECK_EQ(ZzIndex(0, 1, 40, 16), 1u);
    CHECK_EQ(ZzIndex(1, 0, 40, 16), 16u);
    CHECK_EQ(ZzIndex(0, 16, 40, 16), 256u);
    CHECK_EQ(ZzIndex(16, 0, 40, 16), 768u);
    CHECK_EQ(ZnIndex(1, 0, 24, 16), 1u);
    CHECK_EQ(ZnIndex(0, 1, 24, 16), 16u);
    CHECK_EQ(ZnIndex(0, 16, 24, 16), 256u);
    CHECK_EQ(ZnIndex(16, 0, 24, 16), 512u);
    CHECK_EQ(NzIndex(0, 1, 17), 1u);
    CHECK_EQ(NzIndex(1, 0, 17), 16u);
    CHECK_EQ(NzIndex(16, 0, 17), 256u);
    CHECK_EQ(NzIndex(0, 16, 17), 512u);
    CHECK_EQ(ZzIndex(1, 0, 40, 32), 32u);  // int8: fractals of 16 x 32
    CHECK_EQ(ZnIndex(32, 0, 24, 32), 1024u);
}

// One fractal each, written out: rows (1 2 3 0 ...) and (0 0 0 4 0 ...), B[0][0] = 10, B[1][0] =
// 20, B[2][5] = 30, B[3][15] = 40.
TEST(mmad_of_one_fractal) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = Allocate<kL0a, half>(pipe, 256);
        const auto b = Allocate<kL0b, half>(pipe, 256);
        const auto c = Allocate<kL0c, float>(pipe, 256, 0xFF);
        Poke(a, 0, half{0x3C00});            // A[0][0] = 1
        Poke(a, 1, half{0x4000});            // A[0][1] = 2
        Poke(a, 2, half{0x4200});            // A[0][2] = 3
        Poke(a, 16 + 3, half{0x4400});       // A[1][3] = 4
        Poke(b, 0, half{0x4900});            // B[0][0] = 10
        Poke(b, 1, half{0x4D00});            // B[1][0] = 20
        Poke(b, 5 * 16 + 2, half{0x4F80});   // B[2][5] = 30
        Poke(b, 15 * 16 + 3, half{0x5100});  // B[3][15] = 40
        Mmad(c, a, b, Shape(2, 16, 16));
        CHECK_EQ(Values(c, 0, 16), Of<float>(50, 0, 0, 0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(Values(c, 16, 16), Of<float>(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 160));
    });
}

namespace {

/// m = 17, n = 24, k = 40: row i of A has a single one, at column 7 i mod 40, so that row i of C is
/// that row of B. "其他无效数据在计算中会被忽略": beyond the tails lies `garbage`.
template <typename T, typename C>
void CheckTails(float garbage) {
    const Entry a = [](size_t i, size_t k) { return k == 7 * i % 40 ? 1.0F : 0.0F; };
    const Entry b = [](size_t k, size_t n) { return static_cast<float>((k * 5 + n * 3) % 127); };
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0a = LeftMatrix<T>(pipe, 17, 40, a, garbage);
        const auto l0b = RightMatrix<T>(pipe, 40, 24, b, garbage);
        const auto l0c = Allocate<kL0c, C>(pipe, 1024, 0xFF);
        Mmad(l0c, l0a, l0b, Shape(17, 24, 40));
        CHECK_EQ(Peek(l0c, 0), 0);                // C[0][0] = B[0][0]
        CHECK_EQ(Peek(l0c, 15), 45);              // C[0][15] = B[0][15]
        CHECK_EQ(Peek(l0c, 16), 35);              // C[1][0] = B[7][0]
        CHECK_EQ(Peek(l0c, 256), 160 - 127);      // C[16][0] = B[32][0]
        CHECK_EQ(Peek(l0c, 512), 48);             // C[0][16] = B[0][16]
        CHECK_EQ(Peek(l0c, 512 + 7), 69);         // C[0][23] = B[0][23]
        CHECK_EQ(Peek(l0c, 768 + 7), 229 - 127);  // C[16][23] = B[32][23]
        for (size_t i = 0; i < 17; ++i) {
            for (size_t n = 0; n < 24; ++n)
                CHECK_EQ(Peek(l0c, NzIndex(i, n, 17)), b(7 * i % 40, n));
        }
    });
}

}  // namespace

TEST(mmad_of_halves_ignores_what_lies_beyond_the_tails) { CheckTails<half, float>(kNaN); }
TEST(mmad_of_bfloat16_ignores_what_lies_beyond_the_tails) { CheckTails<bfloat16_t, float>(kNaN); }
TEST(mmad_of_int8_ignores_what_lies_beyond_the_tails) { CheckTails<int8_t, int32_t>(127); }

// The page's own sizes, M = 30, K = 70, N = 40: 2 x 5, 5 x 3 and 2 x 3 fractals. All ones give K.
TEST(mmad_of_the_pages_sizes) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<half>(pipe, 30, 70, One, kNaN);
        const auto b = RightMatrix<half>(pipe, 70, 40, One, kNaN);
        CHECK_EQ(a.GetSize(), 2u * 5 * 256);
        CHECK_EQ(b.GetSize(), 5u * 3 * 256);
        const auto c = Allocate<kL0c, float>(pipe, 2 * 3 * 256, 0xFF);
        Mmad(c, a, b, Shape(30, 40, 70));
        for (size_t i = 0; i < 30; ++i) {
            for (size_t n = 0; n < 40; ++n) CHECK_EQ(Peek(c, NzIndex(i, n, 30)), 70.0F);
        }
    });
}

// All ones give k, for K tails around the size of a fractal.
TEST(mmad_with_k_tails) {
    for (const auto k : Of<uint16_t>(1, 15, 16, 17, 33)) {
        OnAic({}, [&] {
            TPipe pipe;
            const auto a = LeftMatrix<bfloat16_t>(pipe, 2, k, One, kNaN);
            const auto b = RightMatrix<bfloat16_t>(pipe, k, 16, One, kNaN);
            const auto c = Allocate<kL0c, float>(pipe, 256, 0xFF);
            Mmad(c, a, b, Shape(2, 16, k));
            CHECK_EQ(Values(c, 0, 32), std::vector<float>(32, k));
        });
    }
}

namespace {

/// C = 7 + A x B over whole numbers small enough to be exact, and nothing beyond C's fractals
/// changes. `limit` bounds the entries.
template <typename T, typename C>
void CheckSize(uint16_t m, uint16_t n, uint16_t k, int limit, float garbage) {
    const auto a = [&](size_t i, size_t j) {
        return int((i * 7 + j * 3) % size_t(2 * limit)) - limit;
    };
    const auto b = [&](size_t i, size_t j) {
        return int((i * 5 + j * 11) % size_t(2 * limit)) - limit;
    };
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0a =
            LeftMatrix<T>(pipe, m, k, [&](size_t i, size_t j) { return float(a(i, j)); }, garbage);
        const auto l0b =
            RightMatrix<T>(pipe, k, n, [&](size_t i, size_t j) { return float(b(i, j)); }, garbage);
        const size_t size = Blocks(m, 16) * Blocks(n, 16) * 256;
        const auto c = Allocate<kL0c, C>(pipe, static_cast<uint32_t>(size));
        const auto behind = Allocate<kL0c, C>(pipe, 256);
        for (size_t i = 0; i < size; ++i) Poke(c, i, C{7});
        for (size_t i = 0; i < 256; ++i) Poke(behind, i, C{9});
        Mmad(c, l0a, l0b, Shape(m, n, k, false));
        size_t wrong = 0;
        for (size_t i = 0; i < m; ++i) {
            for (size_t j = 0; j < n; ++j) {
                int sum = 7;
                for (size_t x = 0; x < k; ++x) sum += a(i, x) * b(x, j);
                wrong += Peek(c, NzIndex(i, j, m)) != static_cast<C>(sum);
            }
        }
        CHECK_EQ(wrong, 0u);
        CHECK_EQ(Values(behind, 0, 256), std::vector<C>(256, C{9}));
    });
}

}  // namespace

// Sizes around whole fractals and up to full L0 buffers.
TEST(mmad_of_many_sizes) {
    const uint16_t sizes[][3] = {{2, 16, 16},    {3, 1, 5},      {15, 17, 31},  {16, 48, 16},
                                 {17, 240, 96},  {33, 80, 65},   {48, 256, 64}, {64, 100, 33},
                                 {100, 64, 200}, {128, 128, 128}};
    for (const auto& size : sizes) {
        CheckSize<half, float>(size[0], size[1], size[2], 8, kNaN);
        CheckSize<bfloat16_t, float>(size[0], size[1], size[2], 8, kNaN);
        CheckSize<int8_t, int32_t>(size[0], size[1], size[2], 128, -128);
    }
}

// cmatrixInitVal true: C starts at 0 whatever L0C holds; false: C += A x B.
TEST(mmad_initialises_or_accumulates) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<half>(pipe, 16, 16, One, 0);
        const auto b =
            RightMatrix<half>(pipe, 16, 16, [](size_t, size_t n) { return float(n); }, 0);
        const auto c = Allocate<kL0c, float>(pipe, 256, 0xFF);  // NaN
        Mmad(c, a, b, Shape(16, 16, 16, true));
        CHECK_EQ(Peek(c, 3), 48.0F);
        PipeBarrier<PIPE_M>();
        Mmad(c, a, b, Shape(16, 16, 16, false));
        CHECK_EQ(Peek(c, 3), 96.0F);
        CHECK_EQ(Peek(c, 255), 480.0F);
        PipeBarrier<PIPE_M>();
        Mmad(c, a, b, Shape(16, 16, 16, true));
        CHECK_EQ(Peek(c, 255), 240.0F);
        CHECK_EQ(MmadParams().cmatrixInitVal, true);
        CHECK_EQ(MmadParams().cmatrixSource, false);
    });
}

// Table 7: bf16 x bf16 gives float. 256 + 15 ones is 271; summed in bf16, 256 + 1 would stay 256.
// Halves: 2048 + 15 ones is 2063; summed in half it would stay 2048.
TEST(mmad_sums_in_fp32) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<bfloat16_t>(
            pipe, 2, 16, [](size_t, size_t k) { return k == 0 ? 256.0F : 1.0F; }, 0);
        const auto b = RightMatrix<bfloat16_t>(pipe, 16, 16, One, 0);
        const auto c = Allocate<kL0c, float>(pipe, 256);
        Mmad(c, a, b, Shape(2, 16, 16));
        CHECK_EQ(Values(c, 0, 32), std::vector<float>(32, 271));
    });
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<half>(
            pipe, 2, 16, [](size_t, size_t k) { return k == 0 ? 2048.0F : 1.0F; }, 0);
        const auto b = RightMatrix<half>(pipe, 16, 16, One, 0);
        const auto c = Allocate<kL0c, float>(pipe, 256);
        Mmad(c, a, b, Shape(2, 16, 16));
        CHECK_EQ(Values(c, 0, 32), std::vector<float>(32, 2063));
    });
}

// Products are not rounded either: (1 + 2^-7)^2 = 1 + 2^-6 + 2^-14 needs 15 bits. Each factor is a
// bf16. 65504 x 65504 is far beyond half.
TEST(mmad_keeps_products_in_fp32) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto one = [](float value) {
            return [value](size_t, size_t k) { return k == 0 ? value : 0.0F; };
        };
        const auto a = LeftMatrix<bfloat16_t>(pipe, 2, 16, one(1.0078125F), 0);
        const auto b =
            RightMatrix<bfloat16_t>(pipe, 16, 16, [](size_t, size_t) { return 1.0078125F; }, 0);
        const auto c = Allocate<kL0c, float>(pipe, 256);
        Mmad(c, a, b, Shape(2, 16, 16));
        CHECK_EQ(Peek(c, 0), 1.01568603515625F);
    });
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<half>(pipe, 2, 1, [](size_t, size_t) { return 65504.0F; }, 0);
        const auto b = RightMatrix<half>(pipe, 1, 16, [](size_t, size_t) { return 65504.0F; }, 0);
        const auto c = Allocate<kL0c, float>(pipe, 256);
        Mmad(c, a, b, Shape(2, 16, 1));
        CHECK_EQ(Peek(c, 0), 4290774016.0F);  // 65504^2, a 22 bit number times 2^10
    });
}

// Subnormal halves and both zeros are numbers: 2^-24 x 2^10.
TEST(mmad_of_subnormal_halves) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = Allocate<kL0a, half>(pipe, 256);
        const auto b = Allocate<kL0b, half>(pipe, 256);
        const auto c = Allocate<kL0c, float>(pipe, 256);
        Poke(a, 0, half{0x0001});
        Poke(b, 0, half{0x6400});
        Mmad(c, a, b, Shape(2, 16, 16));
        CHECK_EQ(Peek(c, 0), 0.00006103515625F);  // 2^-14
    });
}

// int8 x int8 sums in int32, exactly: 2047 x (-128)^2 + 1 = 33538049 is odd and above 2^24.
TEST(mmad_of_int8_is_exact) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto entry = [](size_t k) { return k == 100 ? 1.0F : -128.0F; };
        const auto a =
            LeftMatrix<int8_t>(pipe, 2, 2048, [&](size_t, size_t k) { return entry(k); }, 0);
        const auto b =
            RightMatrix<int8_t>(pipe, 2048, 16, [&](size_t k, size_t) { return entry(k); }, 0);
        const auto c = Allocate<kL0c, int32_t>(pipe, 256, 0xFF);
        Mmad(c, a, b, Shape(2, 16, 2048));
        CHECK_EQ(Values(c, 0, 32), std::vector<int32_t>(32, 33538049));
        PipeBarrier<PIPE_M>();
        Mmad(c, a, b, Shape(2, 16, 2048, false));
        CHECK_EQ(Peek(c, 31), 67076098);
    });
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<int8_t>(pipe, 2, 64, [](size_t, size_t) { return -128.0F; }, 0);
        const auto b = RightMatrix<int8_t>(pipe, 64, 16, [](size_t, size_t) { return 127.0F; }, 0);
        const auto c = Allocate<kL0c, int32_t>(pipe, 256);
        Mmad(c, a, b, Shape(2, 16, 64));
        CHECK_EQ(Peek(c, 0), -1040384);
    });
}

// "当M、K、N中的任意一个值为0时，表示指令不会执行".
TEST(mmad_of_nothing_does_nothing) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<half>(pipe, 16, 16, One, 0);
        const auto b = RightMatrix<half>(pipe, 16, 16, One, 0);
        const auto c = Allocate<kL0c, float>(pipe, 256);
        for (uint32_t i = 0; i < 256; ++i) Poke(c, i, 5.0F);
        Mmad(c, a, b, Shape(0, 16, 16));
        Mmad(c, a, b, Shape(16, 0, 16));
        Mmad(c, a, b, Shape(16, 16, 0));
        CHECK_EQ(Values(c, 0, 256), std::vector<float>(256, 5));
    });
}

// "当M = 1时，会默认开启GEMV功能": A would be read as ND. Kernels here never mean that.
TEST(mmad_refuses_m_of_one) {
    AicBreaks("unsupported", {"m"}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL0c, float>(pipe, 256), Allocate<kL0a, half>(pipe, 256),
             Allocate<kL0b, half>(pipe, 256), Shape(1, 16, 16));
    });
}

// Table 4: m, n and k lie in [0, 4095]. With int8, k = 4096 would just fit into L0A and L0B.
TEST(mmad_sizes_end_at_4095) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<int8_t>(pipe, 2, 4095, One, 127);
        const auto b = RightMatrix<int8_t>(pipe, 4095, 16, One, 127);
        const auto c = Allocate<kL0c, int32_t>(pipe, 256);
        Mmad(c, a, b, Shape(2, 16, 4095));
        CHECK_EQ(Peek(c, 0), 4095);
    });
    AicBreaks("parameter-range", {"k", "4096", "4095"}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL0c, int32_t>(pipe, 256), Allocate<kL0a, int8_t>(pipe, 65536),
             Allocate<kL0b, int8_t>(pipe, 65536), Shape(2, 16, 4096));
    });
}

// "结果矩阵C只支持位于L0C Buffer（CO1），左矩阵A只支持位于L0A Buffer（A2），右矩阵B只支持位于L0B
// Buffer（B2）".
TEST(mmad_operands_have_their_buffers) {
    AicBreaks("wrong-buffer", {}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL1, float>(pipe, 256), Allocate<kL0a, half>(pipe, 256),
             Allocate<kL0b, half>(pipe, 256), Shape(16, 16, 16));
    });
    AicBreaks("wrong-buffer", {}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL0c, float>(pipe, 256), Allocate<kL0b, half>(pipe, 256),
             Allocate<kL0b, half>(pipe, 256), Shape(16, 16, 16));
    });
    AicBreaks("wrong-buffer", {}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL0c, float>(pipe, 256), Allocate<kL0a, half>(pipe, 256),
             Allocate<kL0a, half>(pipe, 256), Shape(16, 16, 16));
    });
}

// Table 3: C at multiples of 1024 bytes, A and B at multiples of 512.
TEST(mmad_alignment) {
    const auto kernel = [](uint32_t c_offset, uint32_t a_offset, uint32_t b_offset) {
        TPipe pipe;
        const auto c = Allocate<kL0c, float>(pipe, 1024);
        const auto a = Allocate<kL0a, half>(pipe, 1024);
        const auto b = Allocate<kL0b, half>(pipe, 1024);
        Mmad(c[c_offset], a[a_offset], b[b_offset], Shape(16, 16, 16));
    };
    OnAic({}, [&] {
        kernel(256, 256, 256);
        CHECK(true);
    });
    AicBreaks("misaligned", {"1024"}, {}, [&] { kernel(128, 0, 0); });
    AicBreaks("misaligned", {"512"}, {}, [&] { kernel(0, 128, 0); });
    AicBreaks("misaligned", {"512"}, {}, [&] { kernel(0, 0, 128); });
}

// m = 17 needs two fractals of A and C, n = 17 two of B and C, k = 17 two of A and B.
TEST(mmad_needs_whole_fractals) {
    const auto kernel = [](MmadParams params, uint32_t c, uint32_t a, uint32_t b) {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, float>(pipe, c * 256);
        const auto l0a = Allocate<kL0a, half>(pipe, a * 256);
        const auto l0b = Allocate<kL0b, half>(pipe, b * 256);
        static_cast<void>(Allocate<kL0c, float>(pipe, 256));
        static_cast<void>(Allocate<kL0a, half>(pipe, 256));
        static_cast<void>(Allocate<kL0b, half>(pipe, 256));
        Mmad(l0c, l0a, l0b, params);
    };
    OnAic({}, [&] {
        kernel(Shape(17, 17, 17), 4, 4, 4);
        CHECK(true);
    });
    AicBreaks("out-of-bounds", {"L0A"}, {}, [&] { kernel(Shape(17, 16, 16), 2, 1, 1); });
    AicBreaks("out-of-bounds", {"L0B"}, {}, [&] { kernel(Shape(16, 17, 16), 2, 1, 1); });
    AicBreaks("out-of-bounds", {"L0C"}, {}, [&] { kernel(Shape(17, 17, 16), 3, 2, 2); });
    AicBreaks("out-of-bounds", {"L0B"}, {}, [&] { kernel(Shape(16, 16, 17), 1, 2, 1); });
}

// What the page has and the twin has not stops loudly: C from the bias table, unit flags, float
// matrices.
TEST(mmad_refuses_what_it_does_not_do) {
    AicBreaks("unsupported", {"float"}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL0c, float>(pipe, 256), Allocate<kL0a, float>(pipe, 256),
             Allocate<kL0b, float>(pipe, 256), Shape(16, 16, 8));
    });
    const auto kernel = [](const MmadParams& params) {
        TPipe pipe;
        Mmad(Allocate<kL0c, float>(pipe, 256), Allocate<kL0a, half>(pipe, 256),
             Allocate<kL0b, half>(pipe, 256), params);
    };
    MmadParams bias = Shape(16, 16, 16, false);
    bias.cmatrixSource = true;
    AicBreaks("unsupported", {"cmatrixSource"}, {}, [&] { kernel(bias); });
    MmadParams unit = Shape(16, 16, 16);
    unit.unitFlag = 3;
    AicBreaks("unsupported", {"unitFlag"}, {}, [&] { kernel(unit); });
}

// The AIV has neither these buffers nor these pipes (硬件流水类型, table 3 of 核内同步能力概述).
TEST(cube_instructions_are_refused_on_an_aiv) {
    AivBreaks("wrong-core", {"AIV 0"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), NumberedFractals(pipe, 1), Load(0, 1, 1, 0));
    });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL0c, float>(pipe, 256), Allocate<kL0a, half>(pipe, 256),
             Allocate<kL0b, half>(pipe, 256), Shape(16, 16, 16));
    });
    std::vector<float> out(256);
    AivBreaks("wrong-core", {"AIV 0"}, {Output("out", out)}, [&] {
        TPipe pipe;
        FixpipeParamsV220 params;
        params.nSize = 16;
        params.mSize = 16;
        params.srcStride = 16;
        params.dstStride = 16;
        Fixpipe(Gm(out), Allocate<kL0c, float>(pipe, 256), params);
    });
}

// ---- GM -> L1 -> L0 -> L0C, both layouts of B ----

namespace {

/// A [20, 40] x B [40, 24]: A[i][k] = 1 where k = i + 13, so that C[i][n] = B[i + 13][n] = 24 (i +
/// 13) + n. `b` holds B as [40, 24] when `b_has_k_rows`, else as [24, 40].
void CheckMatmul(bool b_has_k_rows) {
    std::vector<half> a(20 * 40);
    std::vector<half> b(40 * 24);
    std::vector<float> c(20 * 32, -1);
    for (size_t i = 0; i < 20; ++i) a[i * 40 + i + 13] = half{0x3C00};
    for (size_t k = 0; k < 40; ++k) {
        for (size_t n = 0; n < 24; ++n)
            b[b_has_k_rows ? k * 24 + n : n * 40 + k] = Half(float(24 * k + n));
    }
    OnAic({Input("a", a), Input("b", b), Output("c", c)}, [&] {
        TPipe pipe;
        const auto a1 = Allocate<kL1, half>(pipe, 2 * 3 * 256, 0xFF);
        const auto b1 = Allocate<TPosition::B1, half>(pipe, 3 * 2 * 256, 0xFF);
        const auto a2 = Allocate<kL0a, half>(pipe, 2 * 3 * 256, 0xFF);
        const auto b2 = Allocate<kL0b, half>(pipe, 3 * 2 * 256, 0xFF);
        const auto l0c = Allocate<kL0c, float>(pipe, 2 * 2 * 256, 0xFF);
        DataCopy(a1, Gm(a), WholeMatrix(20, 40));
        if (b_has_k_rows) {
            DataCopy(b1, Gm(b), WholeMatrix(40, 24));
        } else {
            DataCopy(b1, Gm(b), WholeMatrix(24, 40));
        }
        PipeBarrier<PIPE_ALL>();
        for (uint32_t m = 0; m < 2; ++m) LoadData(a2[m * 3 * 256], a1[m * 256], Load(0, 3, 2, 0));
        if (b_has_k_rows) {
            // L1: 3 x 2 fractals column by column, rows of k. L0B: row by row, rows of n.
            for (uint32_t k = 0; k < 3; ++k) {
                LoadData(b2[k * 2 * 256], b1[k * 256], Load(0, 2, 3, 0, true));
            }
        } else {
            // Nz of [24, 40] is Zn of [40, 24]: 6 fractals as they are.
            LoadData(b2, b1, Load(0, 6, 1, 0));
        }
        PipeBarrier<PIPE_ALL>();
        Mmad(l0c, a2, b2, Shape(20, 24, 40));
        PipeBarrier<PIPE_ALL>();
        FixpipeParamsV220 params;
        params.nSize = 32;
        params.mSize = 20;
        params.srcStride = 32;
        params.dstStride = 32;
        Fixpipe(Gm(c), l0c, params);
    });
    for (size_t i = 0; i < 20; ++i) {
        CHECK_EQ(Values(c, i * 32, 24), Ramp<float>(24, static_cast<int>(24 * (i + 13))));
    }
}

}  // namespace

// 矩阵计算输入搬运约束, table 5: B as [n, k] goes to L0B as it is, B as [k, n] transposed fractal
// by fractal.
TEST(matmul_with_b_in_rows_of_k) { CheckMatmul(false); }
TEST(matmul_with_b_in_rows_of_n) { CheckMatmul(true); }

// 调用示例二: A stored as [k, m] = [40, 20] in Nz; 3 fractals per block of m, each transposed.
TEST(load_data_transposes_a) {
    std::vector<half> a(40 * 20);
    for (size_t k = 0; k < 40; ++k) {
        for (size_t m = 0; m < 20; ++m) a[k * 20 + m] = Half(float(20 * k + m));
    }
    OnAic({Input("a", a)}, [&] {
        TPipe pipe;
        const auto a1 = Allocate<kL1, half>(pipe, 3 * 2 * 256, 0xFF);
        const auto a2 = Allocate<kL0a, half>(pipe, 2 * 3 * 256, 0xFF);
        DataCopy(a1, Gm(a), WholeMatrix(40, 20));
        PipeBarrier<PIPE_ALL>();
        for (uint32_t m = 0; m < 2; ++m)
            LoadData(a2[m * 3 * 256], a1[m * 3 * 256], Load(0, 3, 1, 0, true));
        for (size_t m = 0; m < 20; ++m) {
            for (size_t k = 0; k < 40; ++k) {
                CHECK_EQ(Peek(a2, ZzIndex(m, k, 40, 16)).bits, Half(float(20 * k + m)).bits);
            }
        }
    });
}

// ---- 矩阵计算（ISASI）/矩阵计算的搬出/Fixpipe（L0C到GM数据搬运）, 矩阵搬出关键特性说明/NZ2ND ----

namespace {

FixpipeParamsV220 Store(uint16_t n, uint16_t m, uint16_t source_stride, uint32_t destination_stride,
                        QuantMode_t mode = QuantMode_t::NoQuant) {
    FixpipeParamsV220 params;
    params.nSize = n;
    params.mSize = m;
    params.srcStride = source_stride;
    params.dstStride = destination_stride;
    params.quantPre = mode;
    return params;
}

/// L0C, element i is i.
template <typename T>
LocalTensor<T> Numbered(TPipe& pipe, uint32_t count) {
    const auto l0c = Allocate<kL0c, T>(pipe, count);
    for (uint32_t i = 0; i < count; ++i) Poke(l0c, i, static_cast<T>(i));
    return l0c;
}

}  // namespace

// 3 rows of 32 from one row of fractals: (m, n) is element 16 m + n of the left fractal, 256 on of
// the right one. A row of GM has 40 elements, of which 8 stay as they were.
TEST(fixpipe_writes_rows_and_leaves_gaps) {
    std::vector<float> out(3 * 40, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 512), Store(32, 3, 16, 40));
    });
    for (int row = 0; row < 3; ++row) {
        const size_t start = static_cast<size_t>(row) * 40;
        CHECK_EQ(Values(out, start, 16), Ramp<float>(16, 16 * row));
        CHECK_EQ(Values(out, start + 16, 16), Ramp<float>(16, 256 + 16 * row));
        CHECK_EQ(Values(out, start + 32, 8), std::vector<float>(8, -1));
    }
}

// 17 rows: row 16 is the first of the second fractal; the next column of fractals is 32 rows of 16
// on.
TEST(fixpipe_of_a_row_tail) {
    std::vector<float> out(18 * 32, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 1024), Store(32, 17, 32, 32));
    });
    CHECK_EQ(Values(out, 0, 16), Ramp<float>(16, 0));
    CHECK_EQ(Values(out, 16, 16), Ramp<float>(16, 512));
    CHECK_EQ(Values(out, 15 * 32, 16), Ramp<float>(16, 240));
    CHECK_EQ(Values(out, 16 * 32, 16), Ramp<float>(16, 256));
    CHECK_EQ(Values(out, 16 * 32 + 16, 16), Ramp<float>(16, 768));
    CHECK_EQ(Values(out, 17 * 32, 32), std::vector<float>(32, -1));
}

// NZ2ND, one matrix of its figure: 48 rows of 32, column blocks 64 rows of 16 apart, GM rows of 64.
TEST(fixpipe_source_stride_counts_16_elements) {
    std::vector<float> out(48 * 64, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 2048), Store(32, 48, 64, 64));
    });
    CHECK_EQ(Values(out, 0, 16), Ramp<float>(16, 0));
    CHECK_EQ(Values(out, 16, 16), Ramp<float>(16, 1024));
    CHECK_EQ(Values(out, 32, 32), std::vector<float>(32, -1));
    CHECK_EQ(Values(out, 47 * 64, 16), Ramp<float>(16, 752));
    CHECK_EQ(Values(out, 47 * 64 + 16, 16), Ramp<float>(16, 1776));
}

// int32 without quantisation; a part of L0C that starts 64 bytes in; an odd GM address
// ("ND地址需要满足1字节对齐").
TEST(fixpipe_of_int32_from_any_row_to_any_address) {
    std::vector<uint8_t> out(2 * 64 + 1, 0xEE);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 512);
        Poke(l0c, 16, -2);
        Poke(l0c, 47, 0x01020304);
        Fixpipe(GmAt<int32_t>(out, 1), l0c[16], Store(16, 2, 16, 16));
    });
    CHECK_EQ(Values(out, 0, 6), Of<uint8_t>(0xEE, 0xFE, 0xFF, 0xFF, 0xFF, 0));
    CHECK_EQ(Values(out, 125, 4), Of<uint8_t>(4, 3, 2, 1));
}

namespace {

/// The 16-bit patterns that Fixpipe makes of the floats with these bit patterns.
template <typename T>
std::vector<uint16_t> Converted(QuantMode_t mode, const std::vector<uint32_t>& bits) {
    std::vector<T> out(16);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, float>(pipe, 256);
        for (size_t i = 0; i < bits.size(); ++i) Poke(l0c, i, FloatOfBits(bits[i]));
        Fixpipe(Gm(out), l0c, Store(16, 1, 16, 16, mode));
    });
    std::vector<uint16_t> result;
    for (size_t i = 0; i < bits.size(); ++i) result.push_back(out[i].bits);
    return result;
}

}  // namespace

// 随路量化: "cast mode为CAST_RINT模式", to nearest, ties to even. A bfloat16 is the upper half of a
// float.
TEST(fixpipe_rounds_to_bfloat16) {
    const auto bf16 = [](const std::vector<uint32_t>& bits) {
        return Converted<bfloat16_t>(QuantMode_t::F322BF16, bits);
    };
    CHECK_EQ(bf16(Of<uint32_t>(0x00000000, 0x80000000, 0x3F800000, 0xC0490000)),
             Of<uint16_t>(0x0000, 0x8000, 0x3F80, 0xC049));
    // ties: down to even, up to even, and the same below zero
    CHECK_EQ(bf16(Of<uint32_t>(0x3F808000, 0x3F818000, 0xBF808000, 0xBF818000)),
             Of<uint16_t>(0x3F80, 0x3F82, 0xBF80, 0xBF82));
    // one unit beside the ties
    CHECK_EQ(bf16(Of<uint32_t>(0x3F807FFF, 0x3F808001, 0x3F817FFF, 0x3F818001)),
             Of<uint16_t>(0x3F80, 0x3F81, 0x3F81, 0x3F82));
    // a carry into the exponent, and the largest float that rounds down to the largest bfloat16
    CHECK_EQ(bf16(Of<uint32_t>(0x3FFF8000, 0x7F7F7FFF, 0xFF7F7FFF)),
             Of<uint16_t>(0x4000, 0x7F7F, 0xFF7F));
}

TEST(fixpipe_rounds_to_half) {
    const auto fp16 = [](const std::vector<uint32_t>& bits) {
        return Converted<half>(QuantMode_t::F322F16, bits);
    };
    // 0, -0, 1, -2.5
    CHECK_EQ(fp16(Of<uint32_t>(0x00000000, 0x80000000, 0x3F800000, 0xC0200000)),
             Of<uint16_t>(0x0000, 0x8000, 0x3C00, 0xC100));
    // 1 + 2^-11 and 1 + 3 * 2^-11 are ties; one unit beside the first
    CHECK_EQ(fp16(Of<uint32_t>(0x3F801000, 0x3F803000, 0x3F800FFF, 0x3F801001)),
             Of<uint16_t>(0x3C00, 0x3C02, 0x3C00, 0x3C01));
    // 2049 and 2051 lie between halves 2048, 2050, 2052; so do -2049 and -2051
    CHECK_EQ(fp16(Of<uint32_t>(0x45001000, 0x45003000, 0xC5001000, 0xC5003000)),
             Of<uint16_t>(0x6800, 0x6802, 0xE800, 0xE802));
    // 2 - 2^-11 carries into the exponent; 65504 and the largest float below 65520 stay the largest
    // half
    CHECK_EQ(fp16(Of<uint32_t>(0x3FFFF000, 0x477FE000, 0x477FEFFF)),
             Of<uint16_t>(0x4000, 0x7BFF, 0x7BFF));
    // subnormal halves: 2^-24, the ties 2^-25 and 3 * 2^-25, and 2^-14 - 2^-25, which rounds to
    // 2^-14
    CHECK_EQ(fp16(Of<uint32_t>(0x33800000, 0x33000000, 0x33C00000, 0x387FE000)),
             Of<uint16_t>(0x0001, 0x0000, 0x0002, 0x0400));
}

// 约束说明: with CTRL[48] = 1 "inf/nan保持原输出". The register resets to 0, which would saturate
// and turn NaN into 0 (特殊寄存器访问/SetCtrlSpr, tables 4 and 5); the twin models Inf/NaN mode,
// the one that the runtime of these chips selects by default and the one that hides nothing.
TEST(fixpipe_keeps_infinities_and_nan) {
    const auto bits = Of<uint32_t>(0x7F800000, 0xFF800000, 0x7FC00000, 0x477FF000, 0x49742400);
    // inf, -inf, NaN, 65520 (a tie beyond the largest half), 1000000
    CHECK_EQ(Converted<half>(QuantMode_t::F322F16, bits),
             Of<uint16_t>(0x7C00, 0xFC00, 0x7E00, 0x7C00, 0x7C00));
    const auto large = Of<uint32_t>(0x7F800000, 0xFF800000, 0x7FC00000, 0x7F7F8000, 0x7F7FFFFF);
    CHECK_EQ(Converted<bfloat16_t>(QuantMode_t::F322BF16, large),
             Of<uint16_t>(0x7F80, 0xFF80, 0x7FC0, 0x7F80, 0x7F80));
}

// The rows that leave as half or bfloat16: dstStride counts elements of the destination.
TEST(fixpipe_strides_count_elements_of_the_destination) {
    std::vector<bfloat16_t> out(2 * 24, bfloat16_t{0xBEEF});
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 256), Store(16, 2, 16, 24, QuantMode_t::F322BF16));
    });
    CHECK_EQ(out[1].bits, 0x3F80);   // 1
    CHECK_EQ(out[15].bits, 0x4170);  // 15
    CHECK_EQ(out[16].bits, 0xBEEF);
    CHECK_EQ(out[23].bits, 0xBEEF);
    CHECK_EQ(out[24].bits, 0x4180);  // 16
    CHECK_EQ(out[39].bits, 0x41F8);  // 31
    CHECK_EQ(out[40].bits, 0xBEEF);
}

// 数据类型: float leaves as half, bfloat16 or float (and 8 bit), int32 as half or int32 (and 8
// bit), each with its own quantPre: "half/bfloat16_t输出，此参数需配置为F322F16/F322BF16",
// "float/int32_t输出此需配置为NoQuant".
TEST(fixpipe_refuses_conversions_that_do_not_exist) {
    const auto refused = [](auto destination, auto source, QuantMode_t mode) {
        using D = decltype(destination);
        using S = decltype(source);
        std::vector<D> out(256);
        AicBreaks("unsupported", {}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Allocate<kL0c, S>(pipe, 256), Store(16, 16, 16, 16, mode));
        });
    };
    refused(bfloat16_t{}, int32_t{}, QuantMode_t::NoQuant);
    refused(bfloat16_t{}, int32_t{}, QuantMode_t::F322BF16);
    refused(half{}, int32_t{}, QuantMode_t::NoQuant);
    refused(half{}, int32_t{}, QuantMode_t::F322F16);
    refused(bfloat16_t{}, float{}, QuantMode_t::NoQuant);
    refused(half{}, float{}, QuantMode_t::NoQuant);
    refused(half{}, float{}, QuantMode_t::F322BF16);
    refused(bfloat16_t{}, float{}, QuantMode_t::F322F16);
    refused(float{}, float{}, QuantMode_t::F322F16);
    refused(int32_t{}, float{}, QuantMode_t::NoQuant);
    refused(float{}, int32_t{}, QuantMode_t::NoQuant);
    refused(half{}, float{}, QuantMode_t::DEQF16);
}

// Table 4: nSize is a multiple of 16, dstStride is not 0, srcStride is mSize rounded up to 16.
TEST(fixpipe_parameter_ranges) {
    std::vector<float> out(1024);
    AicBreaks("parameter-range", {"srcStride", "17"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 512), Store(16, 17, 17, 32));
    });
    AicBreaks("parameter-range", {"nSize", "24"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 512), Store(24, 16, 16, 32));
    });
    AicBreaks("parameter-range", {"dstStride"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 512), Store(16, 16, 16, 0));
    });
}

// "目标数据不能有重叠": rows of 32 elements 16 elements apart write the same bytes twice.
TEST(fixpipe_refuses_rows_on_top_of_each_other) {
    std::vector<float> out(1024);
    AicBreaks("parameter-range", {"dstStride"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 512), Store(32, 2, 16, 16));
    });
}

// "当搬出的mSize、nSize或者ndNum中的任意一个值为0时，该指令不会被执行".
TEST(fixpipe_of_nothing_does_nothing) {
    std::vector<float> out(256, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Numbered<float>(pipe, 256);
        Fixpipe(Gm(out), l0c, Store(0, 16, 16, 16));
        Fixpipe(Gm(out), l0c, Store(16, 0, 16, 16));
        FixpipeParamsV220 params = Store(16, 16, 16, 16);
        params.ndNum = 0;
        Fixpipe(Gm(out), l0c, params);
    });
    CHECK_EQ(out, std::vector<float>(256, -1));
}

// "源矩阵NZ格式地址要求64字节对齐".
TEST(fixpipe_sources_are_multiples_of_64_bytes) {
    std::vector<float> out(256);
    AicBreaks("misaligned", {"64"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 512)[8], Store(16, 1, 16, 16));
    });
}

TEST(fixpipe_reads_l0c_and_writes_writable_gm) {
    std::vector<float> out(256);
    AicBreaks("wrong-buffer", {}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Allocate<kL1, float>(pipe, 256), Store(16, 16, 16, 16));
    });
    AicBreaks("write-to-input", {"weights"}, {Input("weights", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 256), Store(16, 16, 16, 16));
    });
}

// Two rows of 16, 24 apart, end after 40 elements, 160 bytes.
TEST(fixpipe_stays_inside_both_sides) {
    std::vector<float> exact(40);
    std::vector<float> tight(39);
    const auto kernel = [](std::vector<float>& out) {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<float>(pipe, 256), Store(16, 2, 16, 24));
    };
    OnAic({Output("out", exact)}, [&] { kernel(exact); });
    CHECK_EQ(exact[39], 31.0F);
    AicBreaks("out-of-bounds", {"out", "160", "156"}, {Output("out", tight)},
              [&] { kernel(tight); });
    std::vector<float> wide(1024);
    AicBreaks("out-of-bounds", {"L0C"}, {Output("out", wide)}, [&] {
        TPipe pipe;
        const auto l0c = Numbered<float>(pipe, 512);
        static_cast<void>(Allocate<kL0c, float>(pipe, 1024));
        Fixpipe(Gm(wide), l0c, Store(32, 17, 32, 32));  // needs 2 x 2 fractals
    });
}

// What is not there stops loudly: several matrices, ReLU, unit flags, channel split.
TEST(fixpipe_refuses_what_it_does_not_do) {
    std::vector<float> out(2048);
    const auto refused = [&](const char* name, const FixpipeParamsV220& params) {
        AicBreaks("unsupported", {name}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Numbered<float>(pipe, 2048), params);
        });
    };
    FixpipeParamsV220 params = Store(16, 16, 16, 16);
    params.ndNum = 2;
    params.srcNdStride = 1;
    params.dstNdStride = 256;
    refused("one matrix", params);
    params = Store(16, 16, 16, 16);
    params.reluEn = true;
    refused("ReLU", params);
    params = Store(16, 16, 16, 16);
    params.unitFlag = 3;
    refused("unitFlag", params);
    params = Store(16, 16, 16, 16);
    params.isChannelSplit = true;
    refused("channel split", params);
}
