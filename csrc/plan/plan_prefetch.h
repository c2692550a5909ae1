// Plans the kernels prefetch and prefetch_cube for the ranges that a caller wants in L2.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan_warm.h"
#include "plan/prefetch_plan.h"

namespace plan {

/// Bytes of a load of the prefetch kernels where there are many. The larger the copies the better
/// HBM is used: 48 vector cores read 1.25 TB/s in copies of 8 KB and 1.46 TB/s in copies of 32 KB
/// (ADx).
constexpr uint32_t kLargeChunkBytes = 32 * 1024;

/// Bytes [offset, offset + bytes) of a tensor: at least one byte, and all inside the tensor.
struct PrefetchRange {
    PrefetchRegion tensor;
    uint64_t offset = 0;
    uint64_t bytes = 0;
};

/// The cores that load: vector cores into UB, by the kernel prefetch, or cube cores into L1, by
/// prefetch_cube.
enum class LoadingCores : uint8_t { kVector, kCube };

/// Plans loading `ranges` with `cores` cores that do nothing else.
///
/// A range is rounded out to whole 32-byte blocks of GM, but not beyond its tensor. Ranges must not
/// overlap; a block that two of them touch is loaded with the first. Throws std::invalid_argument
/// for more than kMaxPrefetchRegions ranges.
PrefetchPlan PlanPrefetch(const std::vector<PrefetchRange>& ranges, LoadingCores type,
                          uint32_t cores);

}  // namespace plan
