// Static schedule of the weight warmer of a kernel.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/chip.h"
#include "plan/gemm_plan.h"
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
    std::optional<uint64_t> bytes;        ///< budget of the whole op; without it the default
};

constexpr size_t kMostPrefetchRegions = 8;

/// Throws std::invalid_argument for more than kMostPrefetchRegions regions.
void CheckRegionCount(size_t regions);

/// Beyond this a prefetch evicts what it has brought.
uint64_t UsableL2Bytes(const arch::Chip& chip);

/// Spends one budget window by window, in deadline order; call its members in that order.
///
/// Without a budget each window gets what HBM has left while the cube streams the phase it covers:
/// the share by which the vector cores' best read rate exceeds the cube's. A budget (bytes in all,
/// at most the usable share of L2) is spent first come first served; the part for the op's own
/// weights stays within the default.
class WarmPlanner {
public:
    /// `ub_bytes` are left for landing pads. Throws std::invalid_argument for more than
    /// kMostPrefetchRegions regions.
    WarmPlanner(const arch::Chip& chip, const PrefetchRequest& request, uint64_t ub_bytes);

    /// The start of each group's own share of `gemm`'s weight, while the cube streams the weight of
    /// `before`. Nothing where that product alone moves more than the usable share of L2 (prefill).
    void GroupShare(const GemmPlan& gemm, const GemmPlan& before);

    /// The start of a weight of the op itself, by `core_count` cores that would only wait.
    WarmWindow OwnWeight(const PrefetchRegion& weight, uint32_t first_core, uint32_t core_count);

    /// The caller's regions: one window per entry of `streamed_bytes`. What a budget has beyond
    /// their slack goes into the last one, where no hand-over is waiting behind the loads.
    std::vector<WarmWindow> RegionWindows(const std::vector<uint64_t>& streamed_bytes);

    WarmPlan Plan() const;

private:
    arch::Chip chip_;
    PrefetchRequest request_;
    WarmPlan plan_{};
    uint64_t ub_bytes_;
    uint64_t usable_;          ///< bytes of L2
    uint64_t budget_;          ///< chunks left
    uint64_t next_chunk_ = 0;  ///< of the chunk sequence
};

}  // namespace plan
