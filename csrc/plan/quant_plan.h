// W8A8 quantisation of one linear layer, as kernels see it.
//
//   x_int8 = round(x / input_scale + input_offset)        static: one scale for the tensor
//   x_int8 = round(x / token_scale)                       dynamic: the kernel computes token scales
//   y = (x_int8 * weight_int8 + quant_bias) * dequant_scale [* token_scale]
#pragma once

#include <cstdint>

struct QuantPlan {
    uint32_t scale_bytes;  // size of an element of dequant_scale: 4 (fp32) or 8 (fp32 in the low
                           // half of an int64); 0: the layer is not quantised
};

// GM addresses, 0 for an absent tensor. Without input_scale the quantisation is dynamic.
struct QuantAddresses {
    uint64_t dequant_scale;
    uint64_t input_scale;
    uint64_t input_offset;
    uint64_t quant_bias;
};
