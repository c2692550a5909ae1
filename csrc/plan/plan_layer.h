// Which bytes of a layer's next weights the SDMA engine brings, and when.
//
// Windows between kernels outlive every kernel, so only SDMA (CMO) fits them; what the kernels
// bring in their own idle time by MTE2 comes first and is not fetched again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "arch/timing_constants.h"

namespace plan {

/// A window between kernels in which HBM idles.
struct LayerWindow {
    std::string name;  ///< for people
    double idle_us;    ///< of HBM
    uint64_t
        passing_bytes;  ///< that go through L2 between the window and the use of what it brings
};

/// A weight and the windows before its use, in order of time.
struct LayerRegion {
    std::string name;
    uint64_t bytes;
    uint64_t warmed;  ///< bytes of its start that kernels bring
    std::vector<LayerWindow> windows;
};

/// What one window brings of a region: [offset, offset + bytes); nothing where it does not pay.
struct SdmaPiece {
    uint64_t offset;
    uint64_t bytes;
    std::string reason;  ///< why so much, or why nothing
};

/// One piece for every window of the region. Throws std::invalid_argument for a region that is
/// warmed beyond its end, and for a window of negative length.
std::vector<SdmaPiece> PlanSdma(const LayerRegion& region, const arch::Chip& chip,
                                const arch::TimingConstants& constants);

}  // namespace plan
