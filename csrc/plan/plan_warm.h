// The call plan of a fused kernel: what its vector cores warm, within the room that its shape plan
// leaves.
//
// Addresses and the bytes that pass through L2 change from call to call; shapes do not. So a shape
// plan is cached while a call plan is made in every call, and a hint that grows with every step
// costs no more than a fixed one.
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

/// What a caller asks an op to warm, which are not the op's own weights.
struct PrefetchRequest {
    std::vector<PrefetchRegion> regions;  ///< in deadline order
    /// For each region, the bytes that pass through L2 before its use; empty: 0 for each region.
    std::vector<uint64_t> passing_bytes;
    std::optional<uint64_t> bytes;  ///< budget of the whole op; if absent the planner decides
};

/// What the planner decided about a weight in a window, and why.
struct PrefetchDecision {
    std::string weight;
    std::string window;
    double idle_us;  ///< us in which the planner expects HBM to idle in the window
    uint64_t bytes;
    std::string reason;
};

constexpr size_t kMaxPrefetchRegions = 8;

/// Throws std::invalid_argument for more than kMaxPrefetchRegions regions.
void CheckRegionCount(size_t regions);

/// The kernel time that the planner expects of an op, and its decisions.
struct PlanReport {
    double us = 0;  ///< time of the kernel, without launch and prefetches
    std::vector<PrefetchDecision> decisions;
};

/// The time and the UB that a kernel, for a shape, leaves to prefetches.
struct WarmRoom {
    KernelTimes times;
    double hbm_rate;     ///< bytes per us that HBM delivers in the windows
    uint64_t pad_bytes;  ///< bytes of UB that are free for landing pads
};

/// The part of a plan that depends on shapes alone and may be cached between calls.
template <typename KernelPlan>
struct ShapePlan {
    KernelPlan kernel;
    WarmRoom room;
};

/// What a kernel's vector cores warm in each of its windows; unused windows are all zeros.
struct WarmSchedule {
    WarmPlan warm;
    std::array<WarmWindow, IdleWindows::kMax> windows;
};

/// Fills the idle time of HBM window by window, with the regions in deadline order.
///
/// Each decision names the rule that bounded it. The rules are:
/// 1. What is in flight, together with what passes through L2 before its use, fits the usable share
///    of L2 (plan/l2_room.h).
/// 2. Regions are fetched in deadline order.
/// 3. Only windows inside the kernel are its own; plan_windows.h plans those between kernels.
/// 4. Nothing is fetched twice: regions overlap neither each other nor what the kernel reads.
/// 5. A window gets as many bytes as HBM delivers in the time in which it would idle, at whichever
///    end of the constants' ranges that is shortest.
/// 6. A prefetch that does not pay is not made: none is smaller than a chunk.
///
/// A budget set by the caller replaces rule 5. It is limited to the usable share of L2 and spent in
/// order; what exceeds the windows' idle time goes into the last window, where no hand-over has to
/// wait for the loads.
///
/// If `report` is not null, the kernel's time and the decisions are written to it; if it is null,
/// no memory is allocated and no text is made. Throws std::invalid_argument for more than
/// kMaxPrefetchRegions regions.
WarmSchedule PlanWarm(const arch::Chip& chip, const WarmRoom& room, const PrefetchRequest& request,
                      PlanReport* report);

}  // namespace plan
