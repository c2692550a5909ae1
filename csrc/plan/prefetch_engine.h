// The engines that can prefetch in a window between kernels, and what they cost there.
#pragma once

#include <cstdint>

#include "arch/chip.h"
#include "arch/timing_constants.h"

namespace plan {

/// Vector cores load into UB, cube cores into L1, the copy engine (SDMA) needs no core.
enum class Engine : uint8_t { kVector, kCube, kSdma };

/// As the op `prefetch` names it: "vector", "cube" or "sdma".
const char* NameOf(Engine engine);

/// What an engine takes to bring bytes in a window. Times in us.
struct EngineCost {
    double start_us;  ///< from the window's begin until the first byte
    double rate;      ///< bytes per us
    double join_us;   ///< of the window's kernel being joined with the engine's stream again
    /// Of the share by which the window's kernel is slowed down while bytes move (plan_windows.h):
    /// an engine that takes a part of HBM's rate slows it down by as much less (assumed).
    double slowing;
    /// A round of it that takes `spike_us` longer than it should, and the share of such rounds.
    double spike_us;
    double spike_share;

    /// Expected us by which such rounds hold up the join, when the round has `slack_us` to spare.
    double ExpectedSpike(double slack_us) const {
        const double late = spike_us - (slack_us > 0 ? slack_us : 0);
        return late > 0 ? spike_share * late : 0;
    }
};

/// The cost of an engine with all of its cores.
///
/// The kernel of an engine that has cores is launched with that of the window, so that its launch
/// passes beside the other one, which no window's length holds either: what it waits for is the
/// fork.
EngineCost CostOf(Engine engine, const arch::Chip& chip, const arch::TimingConstants& constants);

}  // namespace plan
