// The arguments of the quantise kernel, passed by value.
#pragma once

#include <cstdint>

struct QuantisePlan {
    uint32_t rows;
    uint32_t width;  // elements of a row, a multiple of 64
    uint32_t held;   // elements of a piece of a row, which are in UB as fp32; a multiple of 64
};

// GM addresses of a matrix [rows, width] and of its quantised form.
struct QuantiseAddresses {
    uint64_t source;
    uint64_t target;  // int8 [rows, width]
    uint64_t scales;  // fp32 [rows, 8], a row's all equal
};
