// The format of a linear layer: in which types its operands are multiplied, how its weight is
// stored, and by which scales its sums become results.
//
//   x_int8 = round(x / input_scale + input_offset)        static: one scale for the tensor
//   x_int8 = round(x / token_scale)                       dynamic: the kernel computes token scales
//   y = (x_int8 * weight_int8 + quant_bias) * dequant_scale [* token_scale]
//
// A new format is a new value here and: its packing (ascend_prefetch.packing), its check
// (ops/linear.h), its plan (plan/plan_linear.h), its product (kernels/gemm.h) and its
// dequantisation (kernels/dequantiser.h).
#pragma once

#include <cstdint>

#include "plan/element_type.h"
#include "plan/weight_layout.h"

// Kernels hold the format of each of their layers. Zeros are a 16-bit weight [out, in].
struct LinearFormat {
    uint32_t a_type;      // ElementType of the left matrix, which a quantiser makes unless it is 0
    uint32_t b_type;      // ElementType of the weight
    uint32_t layout;      // WeightLayout
    uint32_t scales;      // LinearScales
    uint32_t scale_type;  // ScaleType of dequant_scale, where there are scales
};

// GM addresses, 0 for an absent tensor.
struct QuantAddresses {
    uint64_t dequant_scale;
    uint64_t input_scale;  // present where the scales are static
    uint64_t input_offset;
    uint64_t quant_bias;
};

namespace plan {

// Which scales turn the sums of a product into its results. Scales of blocks of the K dimension
// would be a further value.
enum class LinearScales : uint32_t {
    kNone = 0,
    kStatic = 1,   // one of each output channel, the activations' scale included
    kDynamic = 2,  // one of each output channel and one of each token, which the kernel computes
};

/// How an element of dequant_scale is stored.
enum class ScaleType : uint32_t {
    kFloat = 0,        // fp32
    kPackedInt64 = 1,  // fp32 in the low half of an int64
};

}  // namespace plan
