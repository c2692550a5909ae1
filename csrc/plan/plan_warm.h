// The call plan of a fused kernel: what its vector cores warm, within what its shape plan leaves.
//
// Addresses and what passes through L2 change from call to call; shapes do not. A shape plan is
// kept and a call plan is made anew, so that a hint that grows with every step costs no more than a
// fixed one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "plan/idle_time.h"
#include "plan/warm_plan.h"

namespace plan {

/// A range of GM that is wanted in L2, e.g. the o_proj weight.
struct PrefetchRegion {
    uint64_t address = 0;
    uint64_t bytes = 0;
};

/// What a caller asks an op to warm beside its own weights.
struct PrefetchRequest {
    std::vector<PrefetchRegion> regions;  ///< in deadline order
    /// For each region, bytes that pass through L2 before its use; empty: none.
    std::vector<uint64_t> passing_bytes;
    std::optional<uint64_t> bytes;  ///< budget of the whole op; without it the planner decides
};

/// What the planner decided about a weight in a window, and why.
struct PrefetchDecision {
    std::string weight;
    std::string window;
    double idle_us;  ///< of HBM in the window, as the planner expects it
    uint64_t bytes;
    std::string reason;
};

constexpr size_t kMostPrefetchRegions = 8;

/// Throws std::invalid_argument for more than kMostPrefetchRegions regions.
void CheckRegionCount(size_t regions);

/// Beyond this a prefetch evicts what it has brought.
uint64_t UsableL2Bytes(const arch::Chip& chip);

/// What the planner expects of an op, and its decisions.
struct PlanReport {
    double us = 0;  ///< of the kernel, without launch and prefetches
    std::vector<PrefetchDecision> decisions;
};

/// What a kernel of a shape leaves to prefetches.
struct WarmRoom {
    KernelTimes times;
    double hbm_rate;     ///< bytes per us that HBM brings in the windows
    uint64_t pad_bytes;  ///< of UB, for landing pads
};

/// What the shape of a call decides, which may be kept from one call to the next.
template <typename KernelPlan>
struct ShapePlan {
    KernelPlan kernel;
    WarmRoom room;
};

/// What a kernel's vector cores warm in each of its windows; unused windows are zero.
struct WarmSchedule {
    WarmPlan warm;
    std::array<WarmWindow, IdleWindows::kMax> windows;
};

/// Spends the idle time of HBM window by window, regions in deadline order.
///
/// The rules, of which each decision names the one that bounded it:
/// 1. What is in flight and what passes through L2 before its use fit the usable share of L2.
/// 2. Regions are fetched in deadline order.
/// 3. MTE2 fits windows inside a kernel only; plan_layer.h has those of the SDMA engine.
/// 4. Nothing is fetched twice: regions lie apart from each other and from what the kernel reads.
/// 5. A window gets the bytes that HBM brings while it would idle.
/// 6. What does not pay is not done: nothing less than a chunk.
///
/// A budget of the caller's replaces rule 5: it is spent first come first served, at most the
/// usable share of L2, and what the windows' idle time leaves goes into the last one, where no
/// hand-over is waiting behind the loads.
///
/// `report` is told the kernel's time and the decisions, if not null. Without it no memory is
/// allocated and no text is made. Throws std::invalid_argument for more than kMostPrefetchRegions
/// regions.
WarmSchedule PlanWarm(const arch::Chip& chip, const WarmRoom& room, const PrefetchRequest& request,
                      PlanReport* report);

}  // namespace plan
