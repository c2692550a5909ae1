// The formats of linear layers as planners use them, and the GEMM of all tokens with a layer.
#pragma once

#include <cstdint>
#include <string>

#include "arch/chip.h"
#include "plan/linear_format.h"
#include "plan/plan_cache.h"
#include "plan/plan_gemm.h"

namespace plan {

/// The format of a 16-bit weight.
constexpr LinearFormat Plain(WeightLayout layout) {
    return {0, 0, static_cast<uint32_t>(layout), 0, 0};
}

/// The format of an int8 weight and int8 activations.
constexpr LinearFormat W8A8(WeightLayout layout, LinearScales scales,
                            ScaleType scale_type = ScaleType::kFloat) {
    constexpr auto kInt8 = static_cast<uint32_t>(ElementType::kInt8);
    return {kInt8, kInt8, static_cast<uint32_t>(layout), static_cast<uint32_t>(scales),
            static_cast<uint32_t>(scale_type)};
}

/// Whether the activations are quantised before the product.
constexpr bool Quantised(const LinearFormat& format) {
    return format.scales != static_cast<uint32_t>(LinearScales::kNone);
}

/// Whether the weight is int8.
constexpr bool HoldsInt8(const LinearFormat& format) {
    return format.b_type == static_cast<uint32_t>(ElementType::kInt8);
}

/// Whether the kernel computes a scale for each token.
constexpr bool Dynamic(const LinearFormat& format) {
    return format.scales == static_cast<uint32_t>(LinearScales::kDynamic);
}

/// Bytes of an element of dequant_scale, of a quantised layer.
constexpr uint32_t ScaleBytes(const LinearFormat& format) {
    const bool packed = format.scale_type == static_cast<uint32_t>(ScaleType::kPackedInt64);
    return packed ? sizeof(int64_t) : sizeof(float);
}

/// The layout of the layer's weight.
constexpr WeightLayout LayoutOf(const LinearFormat& format) {
    return static_cast<WeightLayout>(format.layout);
}

/// Adds every field of a format to the key.
inline void AddToKey(PlanKey& key, const LinearFormat& format) {
    key.Add(format.a_type, format.b_type, format.layout, format.scales, format.scale_type);
}

/// The smallest piece size, a multiple of 64 elements, with which the dynamic quantiser can process
/// a row of `width` elements.
uint32_t LeastPiece(uint32_t width);
/// Throws std::invalid_argument where a row is too long for the dynamic quantiser.
void RequireQuantisedWidth(const std::string& quantity, uint32_t width);

/// The product of `tokens` rows with a layer from `k` to `n` features; rows of A and C are dense.
GemmProblem TokenProduct(const std::string& name, uint32_t tokens, uint32_t n, uint32_t k,
                         const LinearFormat& format, const arch::Chip& chip);

}  // namespace plan
