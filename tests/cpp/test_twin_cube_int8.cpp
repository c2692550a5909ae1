// Golden vectors of Mmad with int8: exact sums in int32, saturation, a whole W8A8 product.
#include <cstdint>
#include <limits>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::Fixpipe;
using AscendC::LoadData;
using AscendC::LoadDataWithTranspose;
using AscendC::Mmad;
using AscendC::PipeBarrier;

namespace {

/// The whole range of int8, without a pattern that fits a fractal.
int8_t Random(uint32_t seed, size_t i, size_t j) {
    uint32_t x = seed + static_cast<uint32_t>(i) * 2654435761u + static_cast<uint32_t>(j) * 40503u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return static_cast<int8_t>(x >> 5);
}

/// C = `start` + A x B against sums in 64 bits; nothing beyond m and n changes.
void CheckProduct(uint16_t m, uint16_t n, uint16_t k, bool accumulate) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = LeftMatrix<int8_t>(
            pipe, m, k, [](size_t i, size_t x) { return static_cast<float>(Random(1, i, x)); },
            -128);
        const auto b = RightMatrix<int8_t>(
            pipe, k, n, [](size_t x, size_t j) { return static_cast<float>(Random(2, x, j)); },
            -128);
        const size_t size = Blocks(m, 16) * Blocks(n, 16) * 256;
        const auto c = Allocate<kL0c, int32_t>(pipe, static_cast<uint32_t>(size), 0x5A);
        constexpr int32_t kOld = 0x5A5A5A5A;
        Mmad(c, a, b, Shape(m, n, k, !accumulate));
        size_t wrong = 0;
        std::vector<bool> inside(size);
        for (size_t i = 0; i < m; ++i) {
            for (size_t j = 0; j < n; ++j) {
                int64_t sum = accumulate ? kOld : 0;
                for (size_t x = 0; x < k; ++x) sum += Random(1, i, x) * Random(2, x, j);
                wrong += Peek(c, NzIndex(i, j, m)) != sum;
                inside[NzIndex(i, j, m)] = true;
            }
        }
        for (size_t i = 0; i < size; ++i) wrong += !inside[i] && Peek(c, i) != kOld;
        CHECK_EQ(wrong, 0u);
    });
}

}  // namespace

// ---- 矩阵计算（ISASI）/Mmad计算/Mmad ----

// One fractal of each, by hand. Of A, row 0 is 1 2 3 0 ... and element [1][31] is -4; of B, [0][0]
// = 10, [1][0] = -20, [2][5] = 30 and [31][15] = 40.
TEST(mmad_of_one_int8_fractal) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto a = Allocate<kL0a, int8_t>(pipe, 512);
        const auto b = Allocate<kL0b, int8_t>(pipe, 512);
        const auto c = Allocate<kL0c, int32_t>(pipe, 256, 0xFF);
        Poke<int8_t>(a, 0, 1);
        Poke<int8_t>(a, 1, 2);
        Poke<int8_t>(a, 2, 3);
        Poke<int8_t>(a, 32 + 31, -4);
        Poke<int8_t>(b, 0, 10);
        Poke<int8_t>(b, 1, -20);
        Poke<int8_t>(b, 5 * 32 + 2, 30);
        Poke<int8_t>(b, 15 * 32 + 31, 40);
        Mmad(c, a, b, Shape(2, 16, 32));
        CHECK_EQ(Values(c, 0, 16), Of<int32_t>(-30, 0, 0, 0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(Values(c, 16, 16), Of<int32_t>(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -160));
        CHECK_EQ(Values(c, 32, 224), std::vector<int32_t>(224, -1));
    });
}

// Depths on both sides of 32 and 1024, up to 4095; few and many rows; column tails.
TEST(mmad_of_int8_sizes) {
    const uint16_t sizes[][3] = {{2, 16, 32},   {2, 17, 31},   {2, 48, 33},    {2, 40, 1056},
                                 {2, 16, 4064}, {2, 16, 4095}, {3, 1, 1023},   {7, 33, 1025},
                                 {8, 16, 1024}, {9, 20, 2047}, {16, 15, 4095}, {17, 31, 1500},
                                 {33, 50, 70},  {64, 64, 992}, {128, 100, 300}};
    for (const auto& size : sizes) {
        CheckProduct(size[0], size[1], size[2], false);
        CheckProduct(size[0], size[1], size[2], true);
    }
}

// The largest sum of products: 4095 x 128 x 128, beyond what fp32 counts one by one.
TEST(mmad_of_int8_of_the_largest_products) {
    for (const uint16_t m : {uint16_t{2}, uint16_t{11}}) {
        OnAic({}, [&] {
            TPipe pipe;
            const auto low = [](size_t, size_t) { return -128.0F; };
            const auto a = LeftMatrix<int8_t>(pipe, m, 4095, low, 0);
            const auto b = RightMatrix<int8_t>(
                pipe, 4095, 16, [](size_t k, size_t) { return k == 77 ? -127.0F : -128.0F; }, 0);
            const auto c = Allocate<kL0c, int32_t>(pipe, 256, 0xFF);
            Mmad(c, a, b, Shape(m, 16, 4095));
            CHECK_EQ(Values(c, 0, m * 16), std::vector<int32_t>(m * 16, 4095 * 16384 - 128));
        });
    }
}

// "对于整数类型只有饱和模式": 2147483600 + 100 and -2147483600 - 100 stop at the ends of int32, and
// what fits is exact.
TEST(mmad_of_int8_saturates) {
    for (const uint16_t m : {uint16_t{2}, uint16_t{16}}) {
        OnAic({}, [&] {
            TPipe pipe;
            const auto a = LeftMatrix<int8_t>(
                pipe, m, 32,
                [](size_t i, size_t k) { return k == 0 ? (i == 0 ? 10.0F : -10.0F) : 0; }, 0);
            const auto b = RightMatrix<int8_t>(
                pipe, 32, 16,
                [](size_t k, size_t n) { return k == 0 ? (n == 0 ? 4.0F : 10.0F) : 0; }, 0);
            const auto c = Allocate<kL0c, int32_t>(pipe, 256);
            for (uint32_t i = 0; i < 256; ++i) Poke(c, i, i < 16 ? 2147483600 : -2147483600);
            Mmad(c, a, b, Shape(m, 16, 32, false));
            CHECK_EQ(Values(c, 0, 3), Of<int32_t>(2147483640, INT32_MAX, INT32_MAX));
            CHECK_EQ(Values(c, 16, 3), Of<int32_t>(-2147483640, INT32_MIN, INT32_MIN));
        });
    }
}

// Fractals are 512 bytes here too: k = 33 needs two of A and of B.
TEST(mmad_of_int8_needs_whole_fractals) {
    const auto kernel = [](uint16_t k, uint32_t a, uint32_t b) {
        TPipe pipe;
        const auto c = Allocate<kL0c, int32_t>(pipe, 256);
        const auto l0a = Allocate<kL0a, int8_t>(pipe, a * 512);
        const auto l0b = Allocate<kL0b, int8_t>(pipe, b * 512);
        static_cast<void>(Allocate<kL0a, int8_t>(pipe, 512));
        static_cast<void>(Allocate<kL0b, int8_t>(pipe, 512));
        Mmad(c, l0a, l0b, Shape(16, 16, k));
    };
    OnAic({}, [&] {
        kernel(32, 1, 1);
        kernel(33, 2, 2);
        CHECK(true);
    });
    AicBreaks("out-of-bounds", {"L0A"}, {}, [&] { kernel(33, 1, 2); });
    AicBreaks("out-of-bounds", {"L0B"}, {}, [&] { kernel(33, 2, 1); });
}

// ---- GM -> L1 -> L0 -> L0C -> GM ----

// A [20, 70] and B [70, 50] row-major. A goes to L0A fractal by fractal, B in squares of 32 x 32:
// L0B has 64 columns, and so has the product (矩阵计算输入搬运约束, table 5, b8).
TEST(matmul_of_int8_with_b_in_rows_of_n) {
    constexpr size_t m = 20, k = 70, n = 50;
    std::vector<int8_t> a(m * k);
    std::vector<int8_t> b(k * n);
    std::vector<int32_t> c(m * 64, -1);
    for (size_t i = 0; i < m; ++i) {
        for (size_t x = 0; x < k; ++x) a[i * k + x] = Random(3, i, x);
    }
    for (size_t x = 0; x < k; ++x) {
        for (size_t j = 0; j < n; ++j) b[x * n + j] = Random(4, x, j);
    }
    OnAic({Input("a", a), Input("b", b), Output("c", c)}, [&] {
        TPipe pipe;
        const auto a1 = Allocate<kL1, int8_t>(pipe, 32 * 96, 0xFF);
        const auto b1 = Allocate<TPosition::B1, int8_t>(pipe, 96 * 64, 0xFF);
        const auto a2 = Allocate<kL0a, int8_t>(pipe, 32 * 96, 0xFF);
        const auto b2 = Allocate<kL0b, int8_t>(pipe, 96 * 64, 0xFF);
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 32 * 64, 0xFF);
        DataCopy(a1, Gm(a), WholeMatrix(m, k));
        AscendC::Nd2NzParams nz = WholeMatrix(k, n);
        nz.dstNzC0Stride = 96;
        DataCopy(b1, Gm(b), nz);
        PipeBarrier<PIPE_ALL>();
        AscendC::LoadData2DParams rows;
        rows.repeatTimes = 3;
        rows.srcStride = 2;
        for (uint32_t i = 0; i < 2; ++i) LoadData(a2[i * 3 * 512], a1[i * 512], rows);
        for (uint32_t i = 0; i < 3; ++i) {
            LoadDataWithTranspose(b2[i * 2048], b1[i * 1024],
                                  AscendC::LoadData2dTransposeParams(0, 2, 3, 1, 0));
        }
        PipeBarrier<PIPE_ALL>();
        Mmad(l0c, a2, b2, Shape(m, 64, k));
        PipeBarrier<PIPE_ALL>();
        AscendC::FixpipeParamsV220 out;
        out.nSize = 64;
        out.mSize = m;
        out.srcStride = 32;
        out.dstStride = 64;
        Fixpipe(Gm(c), l0c, out);
    });
    size_t wrong = 0;
    for (size_t i = 0; i < m; ++i) {
        for (size_t j = 0; j < n; ++j) {
            int32_t sum = 0;
            for (size_t x = 0; x < k; ++x) sum += a[i * k + x] * b[x * n + j];
            wrong += c[i * 64 + j] != sum;
        }
        // Columns 50 to 63 of B are the zeros that ND2NZ fills up with.
        for (size_t j = n; j < 64; ++j) wrong += c[i * 64 + j] != 0;
    }
    CHECK_EQ(wrong, 0u);
}
