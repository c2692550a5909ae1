// The engines that can prefetch in a window between kernels, and what they cost there.
#pragma once

#include <cstdint>
#include <string>

#include "arch/chip.h"
#include "arch/timing_constants.h"

namespace plan {

/// Vector cores load into UB, cube cores into L1, the copy engine (SDMA) needs no core.
enum class Engine : uint8_t { kVector, kCube, kSdma };

/// As the op `prefetch` names it: "vector", "cube" or "sdma".
const char* NameOf(Engine engine);
/// The engine of such a name. Throws std::invalid_argument for another one.
Engine FindEngine(const std::string& name);

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

    /// For how long it moves bytes.
    double BusyUs(uint64_t bytes) const { return static_cast<double>(bytes) / rate; }

    /// Expected us by which spikes hold up the join of a window that is idle for so long.
    double SpikesUs(double idle_us, uint64_t bytes) const {
        return ExpectedSpike(idle_us - start_us - join_us - BusyUs(bytes));
    }

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
