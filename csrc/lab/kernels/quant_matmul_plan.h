// The arguments of the quant_matmul kernels, passed by value.
#pragma once

#include <cstdint>

#include "plan/gemm_plan.h"
#include "plan/linear_format.h"

struct QuantMatmulPlan {
    GemmBuffers buffers;
    GemmPlan gemm;
    LinearFormat format;
};

// GM addresses of C = (A x B) * column scale * row scale, with A and B in int8.
struct QuantMatmulAddresses {
    uint64_t a;
    uint64_t a_scales;  // fp32 [m, 8], a row's all equal
    uint64_t weight;
    QuantAddresses quant;
    uint64_t sums;  // int32 [cube cores, kSumsRingSlots, tile_m, tile_n] (lab/kernels/sums_ring.h)
    uint64_t c;
};
