// Plans which bytes of a layer's next weights the SDMA engine prefetches, and when.
//
// For prefetches by SDMA (CMO) alone, each weight by itself; plan_windows.h plans a layer with
// every engine. What the kernels prefetch in their own idle time by MTE2 comes first and is not
// fetched again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "arch/timing_constants.h"
#include "plan/window.h"

namespace plan {

/// A weight and the windows before its use, in order of time.
struct LayerRegion {
    std::string name;
    uint64_t bytes;
    uint64_t warmed;  ///< bytes at its start that kernels prefetch
    std::vector<Window> windows;
};

/// The bytes [offset, offset + bytes) of a region that one window prefetches; 0 bytes where it does
/// not pay.
struct SdmaPiece {
    uint64_t offset;
    uint64_t bytes;
    std::string reason;  ///< why so many bytes, or why none
};

/// One piece for every window of the region, no larger than its short length allows. Throws
/// std::invalid_argument for a region with more warmed bytes than it has, and for a window of
/// negative length.
std::vector<SdmaPiece> PlanSdma(const LayerRegion& region, const arch::Chip& chip,
                                const arch::TimingConstants& constants);

}  // namespace plan
