// Golden vectors of elementwise arithmetic: results, rounding, limits of types.
#include <cmath>

#include "twin_vector_fixture.h"

using namespace fixture;

// What the pages of 基础算术 list for Atlas A2/A3; none lists bfloat16_t.
static_assert(AscendC::internal::kHasArithmetic<half> && AscendC::internal::kHasArithmetic<float>);
static_assert(AscendC::internal::kHasArithmetic<int16_t> &&
              AscendC::internal::kHasArithmetic<int32_t>);
static_assert(!AscendC::internal::kHasArithmetic<bfloat16_t>);
static_assert(!AscendC::internal::kHasArithmetic<int8_t> &&
              !AscendC::internal::kHasArithmetic<uint32_t>);
static_assert(!AscendC::internal::kHasFloatArithmetic<bfloat16_t>);
static_assert(!AscendC::internal::kHasFloatArithmetic<int16_t> &&
              !AscendC::internal::kHasFloatArithmetic<int32_t>);

// 基础算术/{Add, Sub, Mul, Div, Max, Min}: the examples, and the elements beyond count stay.
TEST(binary_operations_on_the_first_elements) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto low = Load<float>(pipe, {1, 2, 3, 4, 5, 6, 7, 8});
        const auto high = Load<float>(pipe, {513, 514, 515, 516, 517, 518, 519, 520});
        const auto two = Filled<float>(pipe, 8, 2);
        const auto down = Load<float>(pipe, {4, 3, 2, 1, 0, -1, -2, -3});
        const auto dst = Filled<float>(pipe, 8, -9);
        AscendC::Add(dst, low, high, 5);
        CHECK_EQ(Read(dst, 0, 8), Of<float>(514, 516, 518, 520, 522, -9, -9, -9));
        AscendC::Sub(dst, low, high, 5);
        CHECK_EQ(Read(dst, 0, 8), Of<float>(-512, -512, -512, -512, -512, -9, -9, -9));
        AscendC::Mul(dst, low, two, 8);
        CHECK_EQ(Read(dst, 0, 8), Of<float>(2, 4, 6, 8, 10, 12, 14, 16));
        AscendC::Div(dst, low, two, 8);
        CHECK_EQ(Read(dst, 0, 8), Of<float>(0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4));
        AscendC::Max(dst, low, down, 8);
        CHECK_EQ(Read(dst, 0, 8), Of<float>(4, 3, 3, 4, 5, 6, 7, 8));
        AscendC::Min(dst, low, down, 8);
        CHECK_EQ(Read(dst, 0, 8), Of<float>(1, 2, 2, 1, 0, -1, -2, -3));
    });
}

// 基础算术/{Adds, Muls, Maxs, Mins}: the examples.
TEST(scalar_operations_on_the_first_elements) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src =
            Load<int16_t>(pipe, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
        const auto dst = Filled<int16_t>(pipe, 16, -1);
        const int16_t scalar = 2;
        AscendC::Adds(dst, src, scalar, 4);
        CHECK_EQ(Read(dst, 0, 6), Of<int16_t>(3, 4, 5, 6, -1, -1));
        AscendC::Muls(dst, src, scalar, 4);
        CHECK_EQ(Read(dst, 0, 6), Of<int16_t>(2, 4, 6, 8, -1, -1));
        AscendC::Maxs(dst, src, scalar, 4);
        CHECK_EQ(Read(dst, 0, 6), Of<int16_t>(2, 2, 3, 4, -1, -1));
        AscendC::Mins(dst, src, scalar, 4);
        CHECK_EQ(Read(dst, 0, 6), Of<int16_t>(1, 2, 2, 2, -1, -1));
    });
}

// 基础算术/{Abs, Sqrt}: the examples.
TEST(unary_operations_on_the_first_elements) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 8, -9);
        AscendC::Abs(dst, Load<float>(pipe, {0, -1, 2, -3, -kInf, 0, 0, 0}), 5);
        CHECK_EQ(Read(dst, 0, 6), Of<float>(0, 1, 2, 3, kInf, -9));
        AscendC::Sqrt(dst, Load<float>(pipe, {1, 2, 3, 4, 0.25F, 0, 0, 0}), 5);
        // The floats next to sqrt(2) and sqrt(3): 0x3FB504F3 and 0x3FDDB3D7.
        CHECK_EQ(Read(dst, 0, 6),
                 Of<float>(1, FloatOfBits(0x3FB504F3), FloatOfBits(0x3FDDB3D7), 2, 0.5F, -9));
    });
}

// half has 11 significant bits. 数据结构/内置数据类型 gives its layout, the operations round to
// nearest even.
TEST(half_arithmetic_rounds_once_to_nearest_even) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<half>(pipe, 16, 0xFFFF);
        // 2048 + 1 and 2048 + 3 are ties between multiples of 2; 1 + 2^-11 is a tie too.
        const auto a = Load<half>(pipe, {0x6800, 0x6800, 0x3C00, 0x3C01, 0x0001, 0x7B53, 0xFB53});
        const auto b = Load<half>(pipe, {0x3C00, 0x4200, 0x1000, 0x1000, 0x0001, 0x7B53, 0xFB53});
        AscendC::Add(dst, a, b, 7);
        // 2048, 2052, 1, 1 + 2^-9, 2^-23; 60000 + 60000 is infinite in Inf/NaN mode.
        CHECK_EQ(Read(dst, 0, 8),
                 Of<uint16_t>(0x6800, 0x6802, 0x3C00, 0x3C02, 0x0002, 0x7C00, 0xFC00, 0xFFFF));
        // (1 + 2^-10)^2 = 1 + 2^-9 + 2^-20; 2^-24 x 0.5 is a tie with 0.
        AscendC::Mul(dst, Load<half>(pipe, {0x3C01, 0x0001, 0xBC00}),
                     Load<half>(pipe, {0x3C01, 0x3800, 0x4000}), 3);
        CHECK_EQ(Read(dst, 0, 3), Of<uint16_t>(0x3C02, 0x0000, 0xC000));
        // 1 / 3 = 0x1.5555p-2; -1 / 0.
        AscendC::Div(dst, Load<half>(pipe, {0x3C00, 0xBC00}), Load<half>(pipe, {0x4200, 0x0000}),
                     2);
        CHECK_EQ(Read(dst, 0, 2), Of<uint16_t>(0x3555, 0xFC00));
        // sqrt(2) = 1.41421 = 1448.15 x 2^-10.
        AscendC::Sqrt(dst, Load<half>(pipe, {0x4000, 0x4400}), 2);
        CHECK_EQ(Read(dst, 0, 2), Of<uint16_t>(0x3DA8, 0x4000));
        AscendC::Abs(dst, Load<half>(pipe, {0xBC00, 0xFC00, 0x8000}), 3);
        CHECK_EQ(Read(dst, 0, 3), Of<uint16_t>(0x3C00, 0x7C00, 0x0000));
        AscendC::Adds(dst, a, HalfBits(0x3C00), 2);
        CHECK_EQ(Read(dst, 0, 2), Of<uint16_t>(0x6800, 0x6800));
        AscendC::Muls(dst, a, HalfBits(0xC000), 2);
        CHECK_EQ(Read(dst, 0, 2), Of<uint16_t>(0xEC00, 0xEC00));
        AscendC::Max(dst, a, b, 2);
        CHECK_EQ(Read(dst, 0, 2), Of<uint16_t>(0x6800, 0x6800));
    });
}

// 基础算术/Add: float works on single precision, 2^24 + 1 is a tie.
TEST(float_arithmetic_is_single_precision) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 8, 0);
        AscendC::Add(dst, Load<float>(pipe, {16777216, 16777218, 3e38F}),
                     Load<float>(pipe, {1, 1, 3e38F}), 3);
        CHECK_EQ(Read(dst, 0, 3), Of<float>(16777216, 16777220, kInf));
        AscendC::Muls(dst, Load<float>(pipe, {3}), 0.1F, 1);
        CHECK_EQ(Read(dst, 0, 1), Of<float>(FloatOfBits(0x3E99999A)));  // 3 x 0x3DCCCCCD
    });
}

// 基础算术/Reciprocal: the example's inputs as floats; halves round once; the elements beyond count
// stay. Of zero the page says "未知结果".
TEST(reciprocals) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 8, -9);
        AscendC::Reciprocal(dst, Load<float>(pipe, {4, -0.5F, 3, 0x1p100F, 1}), 4);
        CHECK_EQ(Read(dst, 0, 5), Of<float>(0.25F, -2, FloatOfBits(0x3EAAAAAB), 0x1p-100F, -9));
        const auto halves = Filled<half>(pipe, 16, 0);
        // 1 / 3 is 0x3555 in half, 1 / -7 0xB092.
        AscendC::Reciprocal(halves, Load<half>(pipe, {0x4200, 0xC700, 0x4000}), 3);
        CHECK_EQ(Read(halves, 0, 4), Of<uint16_t>(0x3555, 0xB092, 0x3800, 0));
        // Iterations: a mask of leading elements, and one bit per element.
        const auto many = Filled<float>(pipe, 128, 8);
        const auto out = Filled<float>(pipe, 128, -1);
        AscendC::Reciprocal(out, many, 3, 2, {1, 1, 8, 8});
        CHECK_EQ(Changed(out, 128, -1), Positions({{0, 3}, {64, 3}}));
        CHECK_EQ(Read(out, 64, 3), Of<float>(0.125F, 0.125F, 0.125F));
        uint64_t mask[2] = {0x8000000000000010, 0};
        AscendC::Reciprocal(out, many, mask, 1, {1, 1, 8, 8});
        CHECK_EQ(Read(out, 63, 1), Of<float>(0.125F));
        CHECK_EQ(Read(out, 3, 2), Of<float>(-1, 0.125F));
    });
}

// The forms with iterations: Sub and the scalar operations, whose strides are those of
// BinaryRepeatParams and UnaryRepeatParams (高维切分).
TEST(iterations_of_sub_and_scalar_operations) {
    OnAiv({}, [] {
        TPipe pipe;
        std::vector<float> values(192);
        for (int i = 0; i < 192; ++i) values[i] = static_cast<float>(i);
        const auto src = Load<float>(pipe, values);
        const auto row = Filled<float>(pipe, 64, 100);
        const auto dst = Filled<float>(pipe, 192, -9);
        // The same row is taken from every iteration, of 5 elements.
        AscendC::Sub(dst, src, row, 5, 3, {1, 1, 1, 8, 8, 0});
        CHECK_EQ(Changed(dst, 192, -9), Positions({{0, 5}, {64, 5}, {128, 5}}));
        CHECK_EQ(Read(dst, 128, 5), Of<float>(28, 29, 30, 31, 32));
        uint64_t mask[2] = {0b1001, 0};
        AscendC::Sub(dst, src, row, mask, 2, {1, 1, 1, 8, 16, 0});
        CHECK_EQ(Read(dst, 0, 4), Of<float>(-100, -99, -98, -97));
        CHECK_EQ(Read(dst, 64, 4), Of<float>(28, -35, -34, 31));
        AscendC::Muls(dst, src, 0.5F, 3, 2, {1, 1, 8, 8});
        CHECK_EQ(Read(dst, 64, 4), Of<float>(32, 32.5F, 33, 31));
        AscendC::Adds(dst, src, -1.5F, mask, 2, {1, 1, 8, 8});
        CHECK_EQ(Read(dst, 64, 4), Of<float>(62.5F, 32.5F, 33, 65.5F));
        AscendC::Maxs(dst, src, 65.0F, 4, 2, {1, 1, 8, 8});
        CHECK_EQ(Read(dst, 0, 4), Of<float>(65, 65, 65, 65));
        CHECK_EQ(Read(dst, 64, 4), Of<float>(65, 65, 66, 67));
        AscendC::Mins(dst, src, 65.0F, mask, 2, {1, 1, 8, 8});
        CHECK_EQ(Read(dst, 64, 4), Of<float>(64, 65, 66, 65));
        AscendC::Mins(dst, src, -0.5F, 3);
        AscendC::Maxs(dst[8], src, 1.0F, 3);
        CHECK_EQ(Read(dst, 0, 3), Of<float>(-0.5F, -0.5F, -0.5F));
        CHECK_EQ(Read(dst, 8, 3), Of<float>(1, 1, 2));
        const auto magnitudes = Filled<float>(pipe, 8, 3);
        AscendC::Abs(magnitudes, Load<float>(pipe, {-1.5F, 0, 2, -kInf, -4}), 4);
        CHECK_EQ(Read(magnitudes, 0, 5), Of<float>(1.5F, 0, 2, kInf, 3));
    });
}

// 基础算术/{Add, Sub, Mul, Max, Min}: integers, up to the ends of their range.
TEST(integer_arithmetic) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto a = Load<int32_t>(pipe, {2147483646, -2147483647, 46340, -7});
        const auto b = Load<int32_t>(pipe, {1, -1, 46340, 3});
        const auto dst = Filled<int32_t>(pipe, 8, 0);
        AscendC::Add(dst, a, b, 4);
        CHECK_EQ(Read(dst, 0, 4), Of<int32_t>(2147483647, INT32_MIN, 92680, -4));
        AscendC::Sub(dst, a, b, 4);
        CHECK_EQ(Read(dst, 0, 4), Of<int32_t>(2147483645, -2147483646, 0, -10));
        AscendC::Mul(dst, a, b, 4);
        CHECK_EQ(Read(dst, 0, 4), Of<int32_t>(2147483646, 2147483647, 2147395600, -21));
        AscendC::Max(dst, a, b, 4);
        CHECK_EQ(Read(dst, 0, 4), Of<int32_t>(2147483646, -1, 46340, 3));
        AscendC::Min(dst, a, b, 4);
        CHECK_EQ(Read(dst, 0, 4), Of<int32_t>(1, -2147483647, 46340, -7));
        const auto narrow = Filled<int16_t>(pipe, 16, 0);
        AscendC::Mul(narrow, Load<int16_t>(pipe, {181, -256}), Load<int16_t>(pipe, {181, 128}), 2);
        CHECK_EQ(Read(narrow, 0, 2), Of<int16_t>(32761, -32768));
    });
}

// A dry launch has no values: whatever lies in UB is no operand.
TEST(dry_launch_computes_nothing) {
    twin::LaunchConfig config = Config(KernelKind::kAivOnly, {});
    config.dry = true;
    twin::Launch(config, [] {
        TPipe pipe;
        const auto sum = Filled<int32_t>(pipe, 8, 2147483647);
        AscendC::Add(sum, sum, sum, 8);
        CHECK_EQ(Read(sum, 0, 1), Of<int32_t>(2147483647));
    });
}

// Sqrt, constraints: of a number that is not positive the result is unknown. NaN is data like any
// other, and elements that take no part are not looked at.
TEST(roots_are_of_positive_numbers) {
    for (const float value : {0.0F, -0.0F, -1e-38F, -4.0F}) {
        AivBreaks("not-positive", {"Sqrt", "an element is"}, {}, [&] {
            TPipe pipe;
            AscendC::Sqrt(Filled<float>(pipe, 8, 1), Load<float>(pipe, {1, 2, value, 4}), 3);
        });
    }
    AivBreaks("not-positive", {"Sqrt", "an element is -2"}, {}, [] {
        TPipe pipe;
        AscendC::Sqrt(Filled<half>(pipe, 16, 0), Load<half>(pipe, {0x4000, 0xC000}), 2);
    });
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 8, -9);
        AscendC::Sqrt(dst, Load<float>(pipe, {4, std::nanf(""), INFINITY, 0, -1, 0, 0, 0}), 3);
        CHECK_EQ(Read(dst, 0, 1), Of<float>(2));
        CHECK(std::isnan(dst.GetValue(1)));
        CHECK(std::isinf(dst.GetValue(2)));
        CHECK_EQ(Read(dst, 3, 5), Of<float>(-9, -9, -9, -9, -9));
    });
}

// The pages do not say what an integer result becomes that does not fit: the twin stops.
TEST(integer_overflow_stops) {
    AivBreaks("integer-overflow", {"Add", "2147483648", "int32_t"}, {}, [] {
        TPipe pipe;
        const auto a = Filled<int32_t>(pipe, 8, 2147483647);
        AscendC::Add(Filled<int32_t>(pipe, 8, 0), a, Filled<int32_t>(pipe, 8, 1), 8);
    });
    AivBreaks("integer-overflow", {"Muls", "40000", "int16_t"}, {}, [] {
        TPipe pipe;
        const int16_t scalar = 200;
        AscendC::Muls(Filled<int16_t>(pipe, 16, 0), Filled<int16_t>(pipe, 16, 200), scalar, 1);
    });
}

// An element that the mask leaves out cannot overflow.
TEST(integer_overflow_counts_active_elements_only) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<int32_t>(pipe, {1, 2147483647, 3, 2147483647, 0, 0, 0, 0});
        const auto dst = Filled<int32_t>(pipe, 8, 0);
        uint64_t mask[2] = {0b101, 0};
        AscendC::Adds(dst, src, 1, mask, 1, {1, 1, 8, 8});
        CHECK_EQ(Read(dst, 0, 4), Of<int32_t>(2, 0, 4, 0));
    });
}
