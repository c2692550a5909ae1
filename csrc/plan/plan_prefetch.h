// From what a caller wants in L2 to the plan of the prefetch kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan_warm.h"
#include "plan/prefetch_plan.h"

namespace plan {

/// Bytes [offset, offset + bytes) of a tensor; inside it, at least one.
struct PrefetchRange {
    PrefetchRegion tensor;
    uint64_t offset = 0;
    uint64_t bytes = 0;
};

/// Loads `ranges` with `cores` vector cores that do nothing else.
///
/// Of each range these are the 32-byte blocks of GM in which it lies, as far as they belong to the
/// tensor. Ranges have no byte in common; a block that two of them share is loaded with the first.
/// Throws std::invalid_argument for more than kMostPrefetchRegions ranges.
PrefetchPlan PlanPrefetch(const std::vector<PrefetchRange>& ranges, uint32_t cores);

}  // namespace plan
