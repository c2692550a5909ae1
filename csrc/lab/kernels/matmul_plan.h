// The arguments of the matmul kernels, passed by value.
#pragma once

#include <cstdint>

#include "plan/gemm_plan.h"

struct MatmulPlan {
    GemmBuffers buffers;
    uint32_t c_float;  // 1: C is fp32; 0: C has the type of A. If A is int8, C is always int32
    GemmPlan gemm;
};

// GM addresses of C = A x B.
struct MatmulAddresses {
    uint64_t a;
    uint64_t weight;
    uint64_t c;
};
