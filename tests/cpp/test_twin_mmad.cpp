// Golden vectors of Mmad: fractal indices, tails, number formats, limits.
#include <cstdint>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::Mmad;
using AscendC::MmadParams;
using AscendC::PipeBarrier;

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
