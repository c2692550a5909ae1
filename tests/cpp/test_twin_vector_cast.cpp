// Golden vectors of Cast between floating-point types: every round mode, ties, subnormals,
// overflow, NaN; and its iterations. (类型转换/Cast, 数据结构/precision_conversion,
// 数据结构/内置数据类型)
#include "twin_vector_fixture.h"

using namespace fixture;

// Cast, tables of Atlas A2 and A3: pairs (to, from) that exist, and near ones that do not.
static_assert(AscendC::internal::kHasCast<half, float> && AscendC::internal::kHasCast<float, half>);
static_assert(AscendC::internal::kHasCast<bfloat16_t, float> &&
              AscendC::internal::kHasCast<float, bfloat16_t>);
static_assert(AscendC::internal::kHasCast<float, float> &&
              AscendC::internal::kHasCast<int32_t, bfloat16_t>);
static_assert(!AscendC::internal::kHasCast<bfloat16_t, half> &&
              !AscendC::internal::kHasCast<half, bfloat16_t>);
static_assert(!AscendC::internal::kHasCast<bfloat16_t, int32_t> &&
              !AscendC::internal::kHasCast<int8_t, float>);
static_assert(!AscendC::internal::kHasCast<int8_t, bfloat16_t> &&
              !AscendC::internal::kHasCast<int32_t, int16_t>);
static_assert(!AscendC::internal::kHasCast<half, int32_t>, "needs SetDeqScale");

namespace {

std::vector<uint16_t> ToHalf(RoundMode mode, const std::vector<float>& values) {
    return CastAll<half, float>(mode, values);
}
std::vector<uint16_t> ToBf16(RoundMode mode, const std::vector<float>& values) {
    return CastAll<bfloat16_t, float>(mode, values);
}
std::vector<float> ToIntegral(RoundMode mode, const std::vector<float>& values) {
    return CastAll<float, float>(mode, values);
}

template <typename To, typename From>
void RefusesMode(RoundMode mode, const std::string& name) {
    AivBreaks("round-mode", {"Cast", name}, {}, [&] {
        TPipe pipe;
        AscendC::Cast(Filled<To>(pipe, 32, Raw<To>{}), Filled<From>(pipe, 32, Raw<From>{}), mode,
                      1);
    });
}

constexpr float kUnit = 0x1p-24F;  // the smallest half

}  // namespace

// precision_conversion, float -> half: 0.5 + 2^-12 is a tie between 0x3800 and 0x3801. Then its
// negative, the float below the tie, the float above it, and a tie whose lower neighbour 0x3801 is
// odd.
TEST(float_to_half_rounds_as_its_mode_says) {
    const std::vector<float> values = {0x1.002p-1F, -0x1.002p-1F, 0x1.001p-1F, 0x1.003p-1F,
                                       0x1.006p-1F};
    CHECK_EQ(ToHalf(RoundMode::CAST_RINT, values),
             Of<uint16_t>(0x3800, 0xB800, 0x3800, 0x3801, 0x3802));
    CHECK_EQ(ToHalf(RoundMode::CAST_NONE, values),
             Of<uint16_t>(0x3800, 0xB800, 0x3800, 0x3801, 0x3802));
    CHECK_EQ(ToHalf(RoundMode::CAST_FLOOR, values),
             Of<uint16_t>(0x3800, 0xB801, 0x3800, 0x3800, 0x3801));
    CHECK_EQ(ToHalf(RoundMode::CAST_CEIL, values),
             Of<uint16_t>(0x3801, 0xB800, 0x3801, 0x3801, 0x3802));
    CHECK_EQ(ToHalf(RoundMode::CAST_ROUND, values),
             Of<uint16_t>(0x3801, 0xB801, 0x3800, 0x3801, 0x3802));
    CHECK_EQ(ToHalf(RoundMode::CAST_TRUNC, values),
             Of<uint16_t>(0x3800, 0xB800, 0x3800, 0x3800, 0x3801));
    CHECK_EQ(ToHalf(RoundMode::CAST_ODD, values),
             Of<uint16_t>(0x3801, 0xB801, 0x3801, 0x3801, 0x3801));
}

// Values that need no rounding come out the same in every mode: 1, -2, 65504, 2^-14, 2^-24, +0, -0.
TEST(float_to_half_is_exact_where_it_can_be) {
    const std::vector<float> values = {1, -2, 65504, 0x1p-14F, kUnit, 0.0F, -0.0F};
    for (const RoundMode mode :
         {RoundMode::CAST_NONE, RoundMode::CAST_RINT, RoundMode::CAST_FLOOR, RoundMode::CAST_CEIL,
          RoundMode::CAST_ROUND, RoundMode::CAST_TRUNC, RoundMode::CAST_ODD}) {
        CHECK_EQ(ToHalf(mode, values),
                 Of<uint16_t>(0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x0000, 0x8000));
    }
}

// Subnormal halves are multiples of 2^-24: half a unit, 1.5 units, a quarter, the tie below the
// smallest normal number, and the smallest float.
TEST(float_to_half_subnormals) {
    const std::vector<float> values = {0.5F * kUnit, 1.5F * kUnit, -0.25F * kUnit, 1023.5F * kUnit,
                                       0x1p-149F};
    CHECK_EQ(ToHalf(RoundMode::CAST_RINT, values),
             Of<uint16_t>(0x0000, 0x0002, 0x8000, 0x0400, 0x0000));
    CHECK_EQ(ToHalf(RoundMode::CAST_FLOOR, values),
             Of<uint16_t>(0x0000, 0x0001, 0x8001, 0x03FF, 0x0000));
    CHECK_EQ(ToHalf(RoundMode::CAST_CEIL, values),
             Of<uint16_t>(0x0001, 0x0002, 0x8000, 0x0400, 0x0001));
    CHECK_EQ(ToHalf(RoundMode::CAST_ROUND, values),
             Of<uint16_t>(0x0001, 0x0002, 0x8000, 0x0400, 0x0000));
    CHECK_EQ(ToHalf(RoundMode::CAST_TRUNC, values),
             Of<uint16_t>(0x0000, 0x0001, 0x8000, 0x03FF, 0x0000));
    CHECK_EQ(ToHalf(RoundMode::CAST_ODD, values),
             Of<uint16_t>(0x0001, 0x0001, 0x8001, 0x03FF, 0x0001));
}

// Above 65504 (Inf/NaN mode, the default of the runtime on Atlas A2/A3): as in IEEE 754, to
// infinity unless the mode rounds towards zero. 65519.996 is the last float below the tie.
TEST(float_to_half_beyond_the_largest) {
    const std::vector<float> values = {65519.996F, 65520, -65520, 1e6F, -1e6F, kInf, -kInf};
    CHECK_EQ(ToHalf(RoundMode::CAST_RINT, values),
             Of<uint16_t>(0x7BFF, 0x7C00, 0xFC00, 0x7C00, 0xFC00, 0x7C00, 0xFC00));
    CHECK_EQ(ToHalf(RoundMode::CAST_ROUND, values),
             Of<uint16_t>(0x7BFF, 0x7C00, 0xFC00, 0x7C00, 0xFC00, 0x7C00, 0xFC00));
    CHECK_EQ(ToHalf(RoundMode::CAST_FLOOR, values),
             Of<uint16_t>(0x7BFF, 0x7BFF, 0xFC00, 0x7BFF, 0xFC00, 0x7C00, 0xFC00));
    CHECK_EQ(ToHalf(RoundMode::CAST_CEIL, values),
             Of<uint16_t>(0x7C00, 0x7C00, 0xFBFF, 0x7C00, 0xFBFF, 0x7C00, 0xFC00));
    CHECK_EQ(ToHalf(RoundMode::CAST_TRUNC, values),
             Of<uint16_t>(0x7BFF, 0x7BFF, 0xFBFF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00));
    CHECK_EQ(ToHalf(RoundMode::CAST_ODD, values),
             Of<uint16_t>(0x7BFF, 0x7BFF, 0xFBFF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00));
}

// precision_conversion, float -> bfloat16_t: 0.5 + 2^-9 + 2^-11 lies above the tie between 0x3F00
// and 0x3F01. Then its negative, the ties above 1 and above the odd 0x3F81, and half of the
// smallest subnormal bfloat16.
TEST(float_to_bf16_rounds_as_its_mode_says) {
    const std::vector<float> values = {0x1.014p-1F, -0x1.014p-1F, 0x1.01p0F, 0x1.03p0F,
                                       FloatOfBits(0x00008000)};
    CHECK_EQ(ToBf16(RoundMode::CAST_RINT, values),
             Of<uint16_t>(0x3F01, 0xBF01, 0x3F80, 0x3F82, 0x0000));
    CHECK_EQ(ToBf16(RoundMode::CAST_FLOOR, values),
             Of<uint16_t>(0x3F00, 0xBF01, 0x3F80, 0x3F81, 0x0000));
    CHECK_EQ(ToBf16(RoundMode::CAST_CEIL, values),
             Of<uint16_t>(0x3F01, 0xBF00, 0x3F81, 0x3F82, 0x0001));
    CHECK_EQ(ToBf16(RoundMode::CAST_ROUND, values),
             Of<uint16_t>(0x3F01, 0xBF01, 0x3F81, 0x3F82, 0x0001));
    CHECK_EQ(ToBf16(RoundMode::CAST_TRUNC, values),
             Of<uint16_t>(0x3F00, 0xBF00, 0x3F80, 0x3F81, 0x0000));
}

// The largest float is above the largest bfloat16, 0x7F7F; 0x7F7F7FFF is the last float below the
// tie.
TEST(float_to_bf16_beyond_the_largest) {
    const std::vector<float> values = {FloatOfBits(0x7F7FFFFF), FloatOfBits(0xFF7FFFFF),
                                       FloatOfBits(0x7F7F7FFF), kInf, -kInf};
    CHECK_EQ(ToBf16(RoundMode::CAST_RINT, values),
             Of<uint16_t>(0x7F80, 0xFF80, 0x7F7F, 0x7F80, 0xFF80));
    CHECK_EQ(ToBf16(RoundMode::CAST_FLOOR, values),
             Of<uint16_t>(0x7F7F, 0xFF80, 0x7F7F, 0x7F80, 0xFF80));
    CHECK_EQ(ToBf16(RoundMode::CAST_CEIL, values),
             Of<uint16_t>(0x7F80, 0xFF7F, 0x7F80, 0x7F80, 0xFF80));
    CHECK_EQ(ToBf16(RoundMode::CAST_TRUNC, values),
             Of<uint16_t>(0x7F7F, 0xFF7F, 0x7F7F, 0x7F80, 0xFF80));
}

// NaN stays NaN, even one whose set bits all lie in the part that is cut off.
TEST(nan_stays_nan) {
    const std::vector<float> nans = {FloatOfBits(0x7FC00000), FloatOfBits(0x7F800001),
                                     FloatOfBits(0xFFFFFFFF)};
    for (const RoundMode mode : {RoundMode::CAST_RINT, RoundMode::CAST_TRUNC}) {
        for (const uint16_t bits : ToHalf(mode, nans)) CHECK((bits & 0x7FFF) > 0x7C00);
        for (const uint16_t bits : ToBf16(mode, nans)) CHECK((bits & 0x7FFF) > 0x7F80);
        for (const float value : ToIntegral(mode, nans)) CHECK(value != value);
    }
    for (const float value : CastAll<float, half>(RoundMode::CAST_NONE, {0x7E00, 0xFC01}))
        CHECK(value != value);
    for (const float value : CastAll<float, bfloat16_t>(RoundMode::CAST_NONE, {0x7FC0, 0xFF81})) {
        CHECK(value != value);
    }
}

// precision_conversion: half -> float and bfloat16_t -> float lose nothing; both examples, then the
// ends.
TEST(to_float_is_exact) {
    // 1.5 - 2^-10, 1 + 2^-10, the smallest, the largest subnormal, the smallest normal, the largest
    // half.
    CHECK_EQ((CastAll<float, half>(RoundMode::CAST_NONE, {0x3DFF, 0x3C01, 0x0001, 0x03FF, 0x0400,
                                                          0x7BFF, 0xC000, 0x7C00, 0xFC00})),
             Of<float>(0x1.7FCp0F, 0x1.004p0F, 0x1p-24F, 0x1.FF8p-15F, 0x1p-14F, 65504, -2, kInf,
                       -kInf));
    // 1.5 - 2^-6, the smallest subnormal, the largest bfloat16.
    CHECK_EQ((CastAll<float, bfloat16_t>(RoundMode::CAST_NONE,
                                         {0x3FBE, 0x0001, 0x7F7F, 0xC040, 0xFF80})),
             Of<float>(0x1.7Cp0F, 0x1p-133F, 0x1.FEp127F, -3, -kInf));
    const auto zeros = CastAll<float, half>(RoundMode::CAST_NONE, {0x0000, 0x8000});
    CHECK(zeros[0] == 0 && !std::signbit(zeros[0]) && zeros[1] == 0 && std::signbit(zeros[1]));
}

// precision_conversion, float -> float: 0.5; then ties of either sign, and a float that is integral
// already.
TEST(float_to_float_becomes_integral) {
    const std::vector<float> values = {0.5F, -0.5F, 2.5F, -2.5F, 3.5F, 0.75F, 8388609.0F, -kInf};
    CHECK_EQ(ToIntegral(RoundMode::CAST_RINT, values),
             Of<float>(0, 0, 2, -2, 4, 1, 8388609, -kInf));
    CHECK_EQ(ToIntegral(RoundMode::CAST_FLOOR, values),
             Of<float>(0, -1, 2, -3, 3, 0, 8388609, -kInf));
    CHECK_EQ(ToIntegral(RoundMode::CAST_CEIL, values),
             Of<float>(1, 0, 3, -2, 4, 1, 8388609, -kInf));
    CHECK_EQ(ToIntegral(RoundMode::CAST_ROUND, values),
             Of<float>(1, -1, 3, -3, 4, 1, 8388609, -kInf));
    CHECK_EQ(ToIntegral(RoundMode::CAST_TRUNC, values),
             Of<float>(0, 0, 2, -2, 3, 0, 8388609, -kInf));
}

// The mode lists of the page for Atlas A2/A3. float -> bfloat16_t has no CAST_NONE, half -> float
// nothing else.
TEST(modes_that_a_pair_does_not_have_are_refused) {
    RefusesMode<bfloat16_t, float>(RoundMode::CAST_NONE, "CAST_NONE");
    RefusesMode<bfloat16_t, float>(RoundMode::CAST_ODD, "CAST_ODD");
    RefusesMode<float, half>(RoundMode::CAST_RINT, "CAST_RINT");
    RefusesMode<float, bfloat16_t>(RoundMode::CAST_RINT, "CAST_RINT");
    RefusesMode<float, float>(RoundMode::CAST_NONE, "CAST_NONE");
    RefusesMode<int32_t, half>(RoundMode::CAST_NONE, "CAST_NONE");
    RefusesMode<int16_t, float>(RoundMode::CAST_ODD, "CAST_ODD");
    RefusesMode<int16_t, int32_t>(RoundMode::CAST_RINT, "CAST_RINT");
    RefusesMode<half, int8_t>(RoundMode::CAST_RINT, "CAST_RINT");
}

// Cast, constraints: iterations and mask count the wider type, so half uses 4 blocks of 16 per
// iteration.
TEST(iterations_count_the_wider_type) {
    OnAiv({}, [] {
        TPipe pipe;
        std::vector<uint16_t> halves(128);  // 0x6400 + i is 1024 + i
        for (int i = 0; i < 128; ++i) halves[i] = static_cast<uint16_t>(0x6400 + i);
        const auto src = Load<half>(pipe, halves);
        const auto wide = Filled<float>(pipe, 128, -1);
        AscendC::Cast(wide, src, RoundMode::CAST_NONE, 64, 2, {1, 1, 8, 4});
        CHECK_EQ(Read(wide, 0, 128), Ramp<float>(128, 1024));
        // The page's mask = 32: half of every iteration.
        const auto some = Filled<float>(pipe, 128, -1);
        AscendC::Cast(some, src, RoundMode::CAST_NONE, 32, 2, {1, 1, 8, 4});
        CHECK_EQ(Changed(some, 128, -1), Positions({{0, 32}, {64, 32}}));
        CHECK_EQ(Read(some, 64, 32), Ramp<float>(32, 1088));
        // Back, and only the lanes 0, 17 and 63 of each iteration.
        const auto narrow = Filled<half>(pipe, 128, 0);
        const uint64_t mask[2] = {0x8000000000020001, 0};
        AscendC::Cast(narrow, wide, RoundMode::CAST_RINT, mask, 2, {1, 1, 4, 8});
        CHECK_EQ(Changed(narrow, 128, 0), Of<int>(0, 17, 63, 64, 81, 127));
        CHECK_EQ(Read(narrow, 81, 1), Of<uint16_t>(0x6451));
        // Every other block of either operand: 16 halves, 8 floats.
        const auto strided = Filled<float>(pipe, 128, -1);
        AscendC::Cast(strided, src, RoundMode::CAST_NONE, 24, 1, {2, 3, 8, 8});
        CHECK_EQ(Changed(strided, 128, -1), Positions({{0, 8}, {16, 8}, {32, 8}}));
        CHECK_EQ(Read(strided, 16, 8), Ramp<float>(8, 1032));
        CHECK_EQ(Read(strided, 32, 8), Ramp<float>(8, 1072));
    });
    AivBreaks("parameter-range", {"Cast", "mask is 65", "0 to 64"}, {}, [] {
        TPipe pipe;
        AscendC::Cast(Filled<float>(pipe, 128, 0), Filled<half>(pipe, 128, 0), RoundMode::CAST_NONE,
                      65, 1, {1, 1, 8, 4});
    });
    AivBreaks("field-overflow", {"Cast", "repeatTime is 256"}, {}, [] {
        TPipe pipe;
        AscendC::Cast(Filled<float>(pipe, 64, 0), Filled<half>(pipe, 64, 0), RoundMode::CAST_NONE,
                      64, 256, {1, 1, 0, 0});
    });
}

TEST(cast_keeps_the_rules_of_operands) {
    AivBreaks("misaligned", {"Cast", "src"}, {}, [] {
        TPipe pipe;
        AscendC::Cast(Filled<float>(pipe, 8, 0), Filled<half>(pipe, 16, 0)[8], RoundMode::CAST_NONE,
                      8);
    });
    // 24 floats go into 48 bytes, the source has 80.
    AivBreaks("out-of-bounds", {"Cast", "src"}, {}, [] {
        TPipe pipe;
        AscendC::Cast(Filled<half>(pipe, 32, 0), Filled<float>(pipe, 20, 0), RoundMode::CAST_RINT,
                      25);
    });
    // 通用地址重叠约束: in place would be a partial overlap, as the elements differ in size ...
    AivBreaks("overlap", {"Cast", "size"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 64, 0);
        AscendC::Cast(x.ReinterpretCast<half>(), x, RoundMode::CAST_RINT, 64);
    });
    // ... and is a full one where they do not.
    OnAiv({}, [] {
        TPipe pipe;
        const auto x = Load<int32_t>(pipe, {1, -2, 3, -4, 5, -6, 7, -8});
        AscendC::Cast(x.ReinterpretCast<float>(), x, RoundMode::CAST_NONE, 8);
        CHECK_EQ(Read(x.ReinterpretCast<float>(), 0, 4), Of<float>(1, -2, 3, -4));
    });
    AicBreaks("wrong-core", {"Cast"}, {}, [] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::A1, float>(pipe, 16);
        AscendC::Cast(l1, l1, RoundMode::CAST_RINT, 8);
    });
}
