// How a linear layer's weight is stored and quantised, and the GEMM of all tokens with it.
#pragma once

#include <cstdint>
#include <string>

#include "arch/chip.h"
#include "plan/plan_cache.h"
#include "plan/plan_gemm.h"
#include "plan/quant_plan.h"

namespace plan {

struct LinearFormat {
    WeightLayout layout = WeightLayout::kOutIn;
    uint32_t scale_bytes = 0;  ///< QuantPlan::scale_bytes; the weight is int8 unless this is 0
    bool has_input_scale = false;

    bool quantised() const { return scale_bytes > 0; }
    bool dynamic() const { return quantised() && !has_input_scale; }
};

/// Whether a kernel's layer is int8.
inline bool Quantised(const QuantPlan& quant) { return quant.scale_bytes > 0; }

/// Adds every field of a format to the key.
inline void AddToKey(PlanKey& key, const LinearFormat& format) {
    key.Add(format.layout, format.scale_bytes, format.has_input_scale);
}

/// The format of a 16-bit weight.
inline LinearFormat Plain(WeightLayout layout) { return {layout, 0, false}; }

/// The smallest piece size, a multiple of 64 elements, with which the dynamic quantiser can process
/// a row of `width` elements.
uint32_t LeastPiece(uint32_t width);
/// Throws std::invalid_argument where a row is too long for the dynamic quantiser.
void RequireQuantisedWidth(const std::string& quantity, uint32_t width);

/// The product of `tokens` rows with a layer from `k` to `n` features; rows of A and C are dense.
GemmProblem TokenProduct(const std::string& name, uint32_t tokens, uint32_t n, uint32_t k,
                         const LinearFormat& format, const arch::Chip& chip);

}  // namespace plan
