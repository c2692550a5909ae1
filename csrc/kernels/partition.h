// How work is cut up and dealt out to cores.
#pragma once

#include "kernel_operator.h"

namespace kernels {

// Columns of a fractal: the unit in which weights are shared out.
constexpr uint32_t kStrip = 16;

__aicore__ inline uint32_t Min(uint32_t a, uint32_t b) { return a < b ? a : b; }
__aicore__ inline uint32_t RoundUp(uint32_t value, uint32_t unit) {
    return (value + unit - 1) / unit * unit;
}

// First unit of share `index` when `units` are dealt out to `shares` as evenly as possible, in
// order.
__aicore__ inline uint32_t ShareBegin(uint32_t units, uint32_t shares, uint32_t index) {
    return static_cast<uint32_t>(static_cast<uint64_t>(units) * index / shares);
}

}  // namespace kernels
