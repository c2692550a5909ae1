// Questions that kernels ask of the format of a linear layer.
#pragma once

#include "kernel_operator.h"
#include "plan/linear_format.h"

namespace kernels {

// Whether the activations are quantised before the product.
__aicore__ inline bool Quantised(const LinearFormat& format) {
    return format.scales != static_cast<uint32_t>(plan::LinearScales::kNone);
}

// Whether a quantiser computes a scale for each token.
__aicore__ inline bool Dynamic(const LinearFormat& format) {
    return format.scales == static_cast<uint32_t>(plan::LinearScales::kDynamic);
}

// Whether the scales of the output channels are the low halves of int64.
__aicore__ inline bool HasPackedScales(const LinearFormat& format) {
    return format.scale_type == static_cast<uint32_t>(plan::ScaleType::kPackedInt64);
}

}  // namespace kernels
