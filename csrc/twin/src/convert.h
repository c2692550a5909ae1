// Scalar conversions between the data types of the core (数据结构/precision_conversion,
// 数据结构/内置数据类型).
//
// half and bfloat16_t are passed as their 16 bits. Results that do not fit half or bfloat16_t
// follow IEEE 754 (infinity, or the largest finite value if the mode rounds towards it), and NaN
// stays NaN. This is the Inf/NaN mode, which the runtime of the Atlas A2/A3 series selects by
// default (aclrtFloatOverflowMode). The reset value of CTRL[48]
// (特殊寄存器访问/SetCtrlSpr(ISASI)) would saturate instead; the twin has no SetCtrlSpr. Results
// that do not fit an integer type saturate. NaN becomes the integer 0, which is an assumption: no
// page of the vector unit says what it becomes.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "ascendc/types.h"

namespace twin {

inline uint32_t FloatBits(float value) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

inline float FloatFromBits(uint32_t bits) {
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

inline float Bf16ToFloat(uint16_t bits) { return FloatFromBits(static_cast<uint32_t>(bits) << 16); }

/// All ones if `condition` holds, else 0. Selecting with such a mask keeps loops free of branches,
/// so that the compiler vectorises them.
inline uint32_t MaskOf(bool condition) { return 0u - static_cast<uint32_t>(condition); }
inline uint32_t Select(uint32_t mask, uint32_t a, uint32_t b) { return (a & mask) | (b & ~mask); }

/// Computes with normal floats only, because a host may flush subnormal floats to zero.
inline float HalfToFloat(uint16_t bits) {
    constexpr uint32_t kRebias = (127u - 15u) << 23;
    constexpr uint32_t kSmallestNormal = 113u << 23;  // 2^-14
    const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7FFF) << 13;
    // A subnormal m x 2^-24 is computed as (1 + m x 2^-10) x 2^-14 minus 2^-14. For other values,
    // nothing is subtracted.
    const uint32_t subnormal = MaskOf(magnitude < 1u << 23);
    const uint32_t special = MaskOf(magnitude >= 31u << 23);
    const uint32_t rebased = magnitude + kRebias + (subnormal & 1u << 23) + (special & kRebias);
    const float value = FloatFromBits(rebased) - FloatFromBits(subnormal & kSmallestNormal);
    return FloatFromBits(FloatBits(value) | static_cast<uint32_t>(bits & 0x8000) << 16);
}

/// Rounds to nearest, ties to even.
inline uint16_t FloatToBf16(float value) {
    const uint32_t bits = FloatBits(value);
    const uint32_t rounded = bits + 0x7FFFu + (bits >> 16 & 1u);
    const uint32_t nan = bits | 0x00400000u;
    return static_cast<uint16_t>(((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded) >> 16);
}

/// Rounds to nearest, ties to even.
inline uint16_t FloatToHalf(float value) {
    constexpr uint32_t kInfinity = 0x7F800000u;
    constexpr uint32_t kTooLarge = (127u + 16u) << 23;  // 2^16
    constexpr uint32_t kSmallestNormal = 113u << 23;    // 2^-14
    constexpr uint32_t kOneHalf = 126u << 23;           // 0.5, whose last bit is worth 2^-24
    const uint32_t bits = FloatBits(value);
    const uint32_t magnitude = bits & 0x7FFFFFFFu;
    const uint32_t nan = 0x7E00u | (magnitude >> 13 & 0x3FFu);
    const uint32_t special = Select(MaskOf(magnitude > kInfinity), nan, 0x7C00u);
    // The addition rounds to a multiple of 2^-24, the unit of the subnormal halves.
    const uint32_t small = MaskOf(magnitude < kSmallestNormal);
    const float sum = FloatFromBits(magnitude & small) + FloatFromBits(kOneHalf);
    const uint32_t normal = (magnitude - (112u << 23) + 0xFFFu + (magnitude >> 13 & 1u)) >> 13;
    const uint32_t finite = Select(small, FloatBits(sum) - kOneHalf, normal);
    const uint32_t half = Select(MaskOf(magnitude >= kTooLarge), special, finite);
    return static_cast<uint16_t>(half | (bits >> 16 & 0x8000u));
}

inline void ConvertBf16ToF32(const uint16_t* source, float* destination, size_t count) {
    for (size_t i = 0; i < count; ++i) destination[i] = Bf16ToFloat(source[i]);
}
inline void ConvertF16ToF32(const uint16_t* source, float* destination, size_t count) {
    for (size_t i = 0; i < count; ++i) destination[i] = HalfToFloat(source[i]);
}
inline void ConvertF32ToBf16(const float* source, uint16_t* destination, size_t count) {
    for (size_t i = 0; i < count; ++i) destination[i] = FloatToBf16(source[i]);
}
inline void ConvertF32ToF16(const float* source, uint16_t* destination, size_t count) {
    for (size_t i = 0; i < count; ++i) destination[i] = FloatToHalf(source[i]);
}

/// Returns magnitude / 2^shift, rounded by `mode` (precision_conversion, table 1). `negative` is
/// the sign of the value. The magnitude has to be below 2^40.
inline uint64_t RoundShift(uint64_t magnitude, int shift, bool negative, AscendC::RoundMode mode) {
    using AscendC::RoundMode;
    if (shift <= 0) return magnitude << -shift;
    if (shift > 42) shift = 42;  // the quotient is far below one half in both cases
    const uint64_t quotient = magnitude >> shift;
    const uint64_t rest = magnitude & ((uint64_t{1} << shift) - 1);
    const uint64_t half = uint64_t{1} << (shift - 1);
    const bool odd = (quotient & 1) != 0;
    bool up = false;
    switch (mode) {
        case RoundMode::CAST_NONE:
        case RoundMode::CAST_RINT:
            up = rest > half || (rest == half && odd);
            break;
        case RoundMode::CAST_FLOOR:
            up = negative && rest != 0;
            break;
        case RoundMode::CAST_CEIL:
            up = !negative && rest != 0;
            break;
        case RoundMode::CAST_ROUND:
            up = rest >= half;
            break;
        case RoundMode::CAST_TRUNC:
            break;
        case RoundMode::CAST_ODD:
            up = rest != 0 && !odd;
            break;
    }
    return quotient + (up ? 1 : 0);
}

/// Whether a finite value beyond the range of the type becomes infinity. If not, it becomes the
/// largest finite value.
inline bool OverflowsToInfinity(bool negative, AscendC::RoundMode mode) {
    using AscendC::RoundMode;
    if (mode == RoundMode::CAST_FLOOR) return negative;
    if (mode == RoundMode::CAST_CEIL) return !negative;
    return mode != RoundMode::CAST_TRUNC && mode != RoundMode::CAST_ODD;
}

/// The parts of a float. The magnitude of a finite one is mantissa x 2^exponent.
struct FloatParts {
    bool negative;
    bool finite;
    uint32_t mantissa;  ///< 24 bits
    int exponent;
};

inline FloatParts Decompose(float value) {
    const uint32_t bits = FloatBits(value);
    const uint32_t exponent = bits >> 23 & 0xFFu;
    const uint32_t fraction = bits & 0x7FFFFFu;
    return {(bits >> 31) != 0, exponent != 0xFFu, exponent == 0 ? fraction : fraction | 0x800000u,
            (exponent == 0 ? 1 : static_cast<int>(exponent)) - 150};
}

inline uint16_t FloatToHalf(float value, AscendC::RoundMode mode) {
    const FloatParts parts = Decompose(value);
    if (!parts.finite || parts.mantissa == 0) return FloatToHalf(value);
    // Subnormal halves share one exponent, that of the smallest normal half.
    const int exponent = parts.exponent < -37 ? -37 : parts.exponent;
    const uint64_t mantissa =
        RoundShift(parts.mantissa, exponent - parts.exponent + 13, parts.negative, mode);
    // The mantissa includes the leading bit, which half does not store. Adding it to the bits
    // increments the exponent field, which is therefore computed one too small.
    uint64_t bits = (static_cast<uint64_t>(exponent + 37) << 10) + mantissa;
    if (bits >= 0x7C00) bits = OverflowsToInfinity(parts.negative, mode) ? 0x7C00 : 0x7BFF;
    return static_cast<uint16_t>(bits | (parts.negative ? 0x8000 : 0));
}

inline uint16_t FloatToBf16(float value, AscendC::RoundMode mode) {
    const FloatParts parts = Decompose(value);
    if (!parts.finite) return FloatToBf16(value);
    // bfloat16_t is the upper half of a float, so a carry out of the mantissa correctly increments
    // the exponent.
    uint64_t bits = RoundShift(FloatBits(value) & 0x7FFFFFFFu, 16, parts.negative, mode);
    if (bits >= 0x7F80) bits = OverflowsToInfinity(parts.negative, mode) ? 0x7F80 : 0x7F7F;
    return static_cast<uint16_t>(bits | (parts.negative ? 0x8000 : 0));
}

/// Rounds to an integral value, which is returned as a float.
inline float RoundToIntegral(float value, AscendC::RoundMode mode) {
    const FloatParts parts = Decompose(value);
    if (!parts.finite || parts.exponent >= 0) return value;
    const auto rounded =
        static_cast<float>(RoundShift(parts.mantissa, -parts.exponent, parts.negative, mode));
    return parts.negative ? -rounded : rounded;
}

/// Rounds to an integer. Values beyond the range of the type saturate, and NaN becomes 0.
template <typename Integer>
Integer FloatToInteger(float value, AscendC::RoundMode mode) {
    static_assert(sizeof(Integer) <= 4, "the result is a double on its way");
    const double rounded = RoundToIntegral(value, mode);
    if (rounded != rounded) return 0;
    if (rounded <= static_cast<double>(std::numeric_limits<Integer>::min())) {
        return std::numeric_limits<Integer>::min();
    }
    if (rounded >= static_cast<double>(std::numeric_limits<Integer>::max())) {
        return std::numeric_limits<Integer>::max();
    }
    return static_cast<Integer>(rounded);
}

/// Rounds, by `mode`, to a value with `bits` significant bits (24 for float, 11 for half).
inline float IntegerToFloat(int32_t value, int bits, AscendC::RoundMode mode) {
    const bool negative = value < 0;
    const uint64_t magnitude =
        static_cast<uint64_t>(negative ? -static_cast<int64_t>(value) : value);
    int shift = 0;
    while (magnitude >> shift >> bits != 0) ++shift;
    const auto rounded = static_cast<float>(RoundShift(magnitude, shift, negative, mode) << shift);
    return negative ? -rounded : rounded;
}

}  // namespace twin
