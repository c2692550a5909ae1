// The arguments of the matmul kernels, passed by value.
#pragma once

#include <cstdint>

#include "plan/gemm_plan.h"

struct MatmulPlan {
    GemmBuffers buffers;
    GemmPlan gemm;
};

// GM addresses of C = A x B.
struct MatmulAddresses {
    uint64_t a;
    uint64_t weight;
    uint64_t c;
};
