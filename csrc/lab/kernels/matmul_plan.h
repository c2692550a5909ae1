// A plain matrix product as a kernel of its own. Passed by value.
#pragma once

#include <cstdint>

#include "plan/gemm_plan.h"

struct MatmulPlan {
    GemmBuffers buffers;
    uint32_t c_float;  // 1: C is fp32; 0: of the type of A. That of int8 is int32
    GemmPlan gemm;
};

// GM addresses of C = A x B.
struct MatmulAddresses {
    uint64_t a;
    uint64_t weight;
    uint64_t c;
};
