// Golden vectors of Cast from and to integers: every round mode, ties, saturation, NaN.
// (类型转换/Cast, 数据结构/precision_conversion)
#include "twin_vector_fixture.h"

using namespace fixture;

namespace {

// 1.4, 1.5, 1.6, 2.4, 2.5, 2.6 as halves.
const std::vector<uint16_t> kPageInput = {0x3D9A, 0x3E00, 0x3E66, 0x40CD, 0x4100, 0x4133};

}  // namespace

// Cast, examples: half -> int32_t.
TEST(half_to_int32_examples_of_the_page) {
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_CEIL, kPageInput)),
             Of<int32_t>(2, 2, 2, 3, 3, 3));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_RINT, kPageInput)),
             Of<int32_t>(1, 2, 2, 2, 2, 3));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_FLOOR, kPageInput)),
             Of<int32_t>(1, 1, 1, 2, 2, 2));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_ROUND, kPageInput)),
             Of<int32_t>(1, 2, 2, 2, 3, 3));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_TRUNC, kPageInput)),
             Of<int32_t>(1, 1, 1, 2, 2, 2));
}

// precision_conversion, half -> int32_t: -1.5; then -2.5, -0.5, -1, the smallest half and its
// negative.
TEST(half_to_int32_negatives) {
    const std::vector<uint16_t> values = {0xBE00, 0xC100, 0xB800, 0xBC00, 0x0001, 0x8001};
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_RINT, values)),
             Of<int32_t>(-2, -2, 0, -1, 0, 0));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_FLOOR, values)),
             Of<int32_t>(-2, -3, -1, -1, 0, -1));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_CEIL, values)),
             Of<int32_t>(-1, -2, 0, -1, 1, 0));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_ROUND, values)),
             Of<int32_t>(-2, -3, -1, -1, 0, 0));
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_TRUNC, values)),
             Of<int32_t>(-1, -2, 0, -1, 0, 0));
}

// precision_conversion: out of range saturates. NaN becomes 0, which the pages leave open.
TEST(infinities_and_nan_to_integers) {
    CHECK_EQ((CastAll<int32_t, half>(RoundMode::CAST_RINT, {0x7C00, 0xFC00, 0x7E00, 0x7BFF})),
             Of<int32_t>(2147483647, INT32_MIN, 0, 65504));
    CHECK_EQ(
        (CastAll<int16_t, half>(RoundMode::CAST_TRUNC, {0x7C00, 0xFC00, 0xFE00, 0x7BFF, 0xFBFF})),
        Of<int16_t>(32767, -32768, 0, 32767, -32768));
    CHECK_EQ((CastAll<int8_t, half>(RoundMode::CAST_NONE, {0x7C00, 0xFC00, 0x7E00})),
             Of<int8_t>(127, -128, 0));
    CHECK_EQ((CastAll<uint8_t, half>(RoundMode::CAST_NONE, {0x7C00, 0x7E00})), Of<uint8_t>(255, 0));
    CHECK_EQ(
        (CastAll<int32_t, float>(RoundMode::CAST_FLOOR, {kInf, -kInf, FloatOfBits(0x7FC00000)})),
        Of<int32_t>(2147483647, INT32_MIN, 0));
}

// precision_conversion, half -> int8_t: 2^7 - 0.5 is 127 in every mode, by overflow where it rounds
// up. Then -128.5, 2.5 and -2.5.
TEST(half_to_int8) {
    const std::vector<uint16_t> values = {0x57F8, 0xD804, 0x4100, 0xC100};
    CHECK_EQ((CastAll<int8_t, half>(RoundMode::CAST_RINT, values)), Of<int8_t>(127, -128, 2, -2));
    CHECK_EQ((CastAll<int8_t, half>(RoundMode::CAST_NONE, values)), Of<int8_t>(127, -128, 2, -2));
    CHECK_EQ((CastAll<int8_t, half>(RoundMode::CAST_FLOOR, values)), Of<int8_t>(127, -128, 2, -3));
    CHECK_EQ((CastAll<int8_t, half>(RoundMode::CAST_CEIL, values)), Of<int8_t>(127, -128, 3, -2));
    CHECK_EQ((CastAll<int8_t, half>(RoundMode::CAST_ROUND, values)), Of<int8_t>(127, -128, 3, -3));
    CHECK_EQ((CastAll<int8_t, half>(RoundMode::CAST_TRUNC, values)), Of<int8_t>(127, -128, 2, -2));
}

// precision_conversion, half -> uint8_t: 1.75; then 2.5, 300 and -0. A negative input "counts as an
// error".
TEST(half_to_uint8) {
    const std::vector<uint16_t> values = {0x3F00, 0x4100, 0x5CB0, 0x8000};
    CHECK_EQ((CastAll<uint8_t, half>(RoundMode::CAST_RINT, values)), Of<uint8_t>(2, 2, 255, 0));
    CHECK_EQ((CastAll<uint8_t, half>(RoundMode::CAST_FLOOR, values)), Of<uint8_t>(1, 2, 255, 0));
    CHECK_EQ((CastAll<uint8_t, half>(RoundMode::CAST_CEIL, values)), Of<uint8_t>(2, 3, 255, 0));
    CHECK_EQ((CastAll<uint8_t, half>(RoundMode::CAST_ROUND, values)), Of<uint8_t>(2, 3, 255, 0));
    CHECK_EQ((CastAll<uint8_t, half>(RoundMode::CAST_TRUNC, values)), Of<uint8_t>(1, 2, 255, 0));
    AivBreaks("negative-to-unsigned", {"half -> uint8_t", "-1"}, {}, [] {
        TPipe pipe;
        AscendC::Cast(Filled<uint8_t>(pipe, 32, 0), Filled<half>(pipe, 32, 0xBC00),
                      RoundMode::CAST_RINT, 1);
    });
}

// precision_conversion, half -> int16_t: 2^7 - 0.5.
TEST(half_to_int16) {
    CHECK_EQ((CastAll<int16_t, half>(RoundMode::CAST_RINT, {0x57F8})), Of<int16_t>(128));
    CHECK_EQ((CastAll<int16_t, half>(RoundMode::CAST_FLOOR, {0x57F8})), Of<int16_t>(127));
    CHECK_EQ((CastAll<int16_t, half>(RoundMode::CAST_CEIL, {0x57F8})), Of<int16_t>(128));
    CHECK_EQ((CastAll<int16_t, half>(RoundMode::CAST_ROUND, {0x57F8})), Of<int16_t>(128));
    CHECK_EQ((CastAll<int16_t, half>(RoundMode::CAST_TRUNC, {0x57F8})), Of<int16_t>(127));
}

// precision_conversion, bfloat16_t -> int32_t: 2^6 + 0.5; then its negative, 2^31 and -2^31.
TEST(bf16_to_int32) {
    const std::vector<uint16_t> values = {0x4281, 0xC281, 0x4F00, 0xCF00};
    const int32_t most = 2147483647;
    CHECK_EQ((CastAll<int32_t, bfloat16_t>(RoundMode::CAST_RINT, values)),
             Of<int32_t>(64, -64, most, INT32_MIN));
    CHECK_EQ((CastAll<int32_t, bfloat16_t>(RoundMode::CAST_FLOOR, values)),
             Of<int32_t>(64, -65, most, INT32_MIN));
    CHECK_EQ((CastAll<int32_t, bfloat16_t>(RoundMode::CAST_CEIL, values)),
             Of<int32_t>(65, -64, most, INT32_MIN));
    CHECK_EQ((CastAll<int32_t, bfloat16_t>(RoundMode::CAST_ROUND, values)),
             Of<int32_t>(65, -65, most, INT32_MIN));
    CHECK_EQ((CastAll<int32_t, bfloat16_t>(RoundMode::CAST_TRUNC, values)),
             Of<int32_t>(64, -64, most, INT32_MIN));
}

// precision_conversion, float -> int32_t: 2^22 + 0.5; then its negative, 3e9, -3e9 and the float
// below 2^31.
TEST(float_to_int32) {
    const std::vector<float> values = {4194304.5F, -4194304.5F, 3e9F, -3e9F, 2147483520.0F};
    const int32_t most = 2147483647;
    const int32_t least = INT32_MIN;
    CHECK_EQ((CastAll<int32_t, float>(RoundMode::CAST_RINT, values)),
             Of<int32_t>(4194304, -4194304, most, least, 2147483520));
    CHECK_EQ((CastAll<int32_t, float>(RoundMode::CAST_FLOOR, values)),
             Of<int32_t>(4194304, -4194305, most, least, 2147483520));
    CHECK_EQ((CastAll<int32_t, float>(RoundMode::CAST_CEIL, values)),
             Of<int32_t>(4194305, -4194304, most, least, 2147483520));
    CHECK_EQ((CastAll<int32_t, float>(RoundMode::CAST_ROUND, values)),
             Of<int32_t>(4194305, -4194305, most, least, 2147483520));
    CHECK_EQ((CastAll<int32_t, float>(RoundMode::CAST_TRUNC, values)),
             Of<int32_t>(4194304, -4194304, most, least, 2147483520));
}

// precision_conversion, float -> int16_t: 2^22 + 0.5 overflows in every mode. Then 32767.5,
// -32768.5 and 2.5.
TEST(float_to_int16) {
    const std::vector<float> values = {4194304.5F, 32767.5F, -32768.5F, 2.5F};
    CHECK_EQ((CastAll<int16_t, float>(RoundMode::CAST_RINT, values)),
             Of<int16_t>(32767, 32767, -32768, 2));
    CHECK_EQ((CastAll<int16_t, float>(RoundMode::CAST_FLOOR, values)),
             Of<int16_t>(32767, 32767, -32768, 2));
    CHECK_EQ((CastAll<int16_t, float>(RoundMode::CAST_CEIL, values)),
             Of<int16_t>(32767, 32767, -32768, 3));
    CHECK_EQ((CastAll<int16_t, float>(RoundMode::CAST_ROUND, values)),
             Of<int16_t>(32767, 32767, -32768, 3));
    CHECK_EQ((CastAll<int16_t, float>(RoundMode::CAST_TRUNC, values)),
             Of<int16_t>(32767, 32767, -32768, 2));
}

// precision_conversion: int8_t -> half and uint8_t -> half lose nothing.
TEST(bytes_to_half) {
    CHECK_EQ((CastAll<half, int8_t>(RoundMode::CAST_NONE, {-1, 127, -128, 0, 100})),
             Of<uint16_t>(0xBC00, 0x57F0, 0xD800, 0x0000, 0x5640));
    CHECK_EQ((CastAll<half, uint8_t>(RoundMode::CAST_NONE, {1, 255, 128, 0})),
             Of<uint16_t>(0x3C00, 0x5BF8, 0x5800, 0x0000));
}

// precision_conversion, int16_t -> half: 2^12 + 2 is a tie; then its negative, 32767 and 2^12 + 6,
// a tie above an odd neighbour.
TEST(int16_to_half) {
    const std::vector<int16_t> values = {4098, -4098, 32767, 4102};
    CHECK_EQ((CastAll<half, int16_t>(RoundMode::CAST_RINT, values)),
             Of<uint16_t>(0x6C00, 0xEC00, 0x7800, 0x6C02));
    CHECK_EQ((CastAll<half, int16_t>(RoundMode::CAST_NONE, values)),
             Of<uint16_t>(0x6C00, 0xEC00, 0x7800, 0x6C02));
    CHECK_EQ((CastAll<half, int16_t>(RoundMode::CAST_FLOOR, values)),
             Of<uint16_t>(0x6C00, 0xEC01, 0x77FF, 0x6C01));
    CHECK_EQ((CastAll<half, int16_t>(RoundMode::CAST_CEIL, values)),
             Of<uint16_t>(0x6C01, 0xEC00, 0x7800, 0x6C02));
    CHECK_EQ((CastAll<half, int16_t>(RoundMode::CAST_ROUND, values)),
             Of<uint16_t>(0x6C01, 0xEC01, 0x7800, 0x6C02));
    CHECK_EQ((CastAll<half, int16_t>(RoundMode::CAST_TRUNC, values)),
             Of<uint16_t>(0x6C00, 0xEC00, 0x77FF, 0x6C01));
}

// precision_conversion, int32_t -> float: 2^25 + 3; then the tie 2^24 + 1, its negative, and the
// ends.
TEST(int32_to_float) {
    const std::vector<int32_t> values = {33554435, 16777217, -16777217, 2147483647, INT32_MIN};
    const float end = -2147483648.0F;
    CHECK_EQ((CastAll<float, int32_t>(RoundMode::CAST_RINT, values)),
             Of<float>(33554436, 16777216, -16777216, 2147483648.0F, end));
    CHECK_EQ((CastAll<float, int32_t>(RoundMode::CAST_NONE, values)),
             Of<float>(33554436, 16777216, -16777216, 2147483648.0F, end));
    CHECK_EQ((CastAll<float, int32_t>(RoundMode::CAST_FLOOR, values)),
             Of<float>(33554432, 16777216, -16777218, 2147483520, end));
    CHECK_EQ((CastAll<float, int32_t>(RoundMode::CAST_CEIL, values)),
             Of<float>(33554436, 16777218, -16777216, 2147483648.0F, end));
    CHECK_EQ((CastAll<float, int32_t>(RoundMode::CAST_ROUND, values)),
             Of<float>(33554436, 16777218, -16777218, 2147483648.0F, end));
    CHECK_EQ((CastAll<float, int32_t>(RoundMode::CAST_TRUNC, values)),
             Of<float>(33554432, 16777216, -16777216, 2147483520, end));
}

// precision_conversion: int16_t -> float loses nothing, int32_t -> int16_t saturates.
TEST(integers_to_other_widths) {
    CHECK_EQ((CastAll<float, int16_t>(RoundMode::CAST_NONE, {32767, -32768, 0})),
             Of<float>(32767, -32768, 0));
    CHECK_EQ((CastAll<int16_t, int32_t>(RoundMode::CAST_NONE, {2147483647, -40000, 32768, -5})),
             Of<int16_t>(32767, -32768, 32767, -5));
}

// Cast, constraints: int8_t counts 128 elements per iteration with half, in 4 blocks of 32.
TEST(iterations_with_bytes) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<int8_t>(pipe, Ramp<int8_t>(256, -128));
        const auto dst = Filled<half>(pipe, 256, 0xFFFF);
        AscendC::Cast(dst, src, RoundMode::CAST_NONE, 128, 2, {1, 1, 8, 4});
        CHECK_EQ(Changed(dst, 256, 0xFFFF), Positions({{0, 256}}));
        CHECK_EQ(Read(dst, 127, 2), Of<uint16_t>(0xBC00, 0x0000));
        const auto back = Filled<int8_t>(pipe, 256, 99);
        AscendC::Cast(back, dst, RoundMode::CAST_RINT, 33, 2, {2, 1, 4, 8});
        // 32 bytes and, a block further, one: of either iteration.
        CHECK_EQ(Changed(back, 256, 99), Positions({{0, 32}, {64, 1}, {128, 32}, {192, 1}}));
        CHECK_EQ(Read(back, 64, 1), Of<int8_t>(-96));
        CHECK_EQ(Read(back, 192, 1), Of<int8_t>(32));
    });
}
