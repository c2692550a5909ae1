// How work is cut up and dealt out to cores, and helpers for addresses and sizes.
#pragma once

#include "kernel_operator.h"
#include "kernels/call_site.h"
#include "plan/units.h"

namespace kernels {

using plan::kBlockBytes;
using plan::kStrip;

__aicore__ inline GM_ADDR Gm(uint64_t address) { return reinterpret_cast<GM_ADDR>(address); }

__aicore__ inline uint32_t Min(uint32_t a, uint32_t b) { return a < b ? a : b; }
template <typename T>
__aicore__ inline T CeilDiv(T value, T unit AND_CALL_SITE_PARAMETER) {
    return ROUNDED("CeilDiv", (value + unit - 1) / unit, value / unit, value / unit);
}
template <typename T>
__aicore__ inline T RoundUp(T value, T unit AND_CALL_SITE_PARAMETER) {
    return ROUNDED("RoundUp", (value + unit - 1) / unit * unit, value, value / unit * unit);
}

// The first unit of share `index` when `units` units are dealt out in order to `shares` shares as
// evenly as possible.
__aicore__ inline uint32_t ShareBegin(uint32_t units, uint32_t shares, uint32_t index) {
    return static_cast<uint32_t>(static_cast<uint64_t>(units) * index / shares);
}

}  // namespace kernels
