#include "plan/plan_warm.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "plan/plan_gemm.h"
#include "plan/units.h"

namespace plan {

namespace {

static_assert(sizeof(WarmPlan::regions) / sizeof(WarmRegion) == kMostPrefetchRegions + 1,
              "a weight of the op and the caller's regions");

// At least 16 KB a load (AD: granularity); two of them in flight per core cover the start-up of
// ~235 cycles.
constexpr uint32_t kChunkBytes = 16 * 1024;
constexpr uint32_t kPadSlots = 3;
// Loads that a core with nothing to do may have in flight when it hands over: at 48 cores and
// 1.49 TB/s one chunk each is half a microsecond, which the norm of the others takes anyway.
constexpr uint32_t kChunksOfIdleCore = 1;

/// HBM bytes left over while the cube streams `bytes` of weights, in chunks.
uint64_t SlackChunks(uint64_t bytes) {
    const double share = arch::kHbmReadVector.value / arch::kHbmReadCube.value - 1.0;
    return static_cast<uint64_t>(static_cast<double>(bytes) * share) / kChunkBytes;
}

/// Bytes that a product brings through L2: weight, left matrix, sums.
uint64_t MovedBytes(const GemmPlan& gemm) {
    const uint64_t columns = uint64_t{gemm.batches} * gemm.k;
    return WeightBytes(gemm) + gemm.m * columns * gemm.element_bytes +
           uint64_t{gemm.m} * gemm.batches * gemm.n * sizeof(float);
}

bool SharesAreContiguous(const GemmPlan& gemm) { return gemm.b_layout == 0 || gemm.b_layout == 3; }

/// Chunks of a group's share that exist whatever the group; see WeightWarmer::WarmGroupShare.
uint64_t GroupChunksAvailable(const GemmPlan& gemm, uint32_t groups) {
    const uint64_t columns = uint64_t{gemm.n / gemm.strip / groups} * gemm.strip;  // the smallest
    if (columns == 0) return 0;
    if (SharesAreContiguous(gemm)) return columns * gemm.k * gemm.element_bytes / kChunkBytes;
    const uint64_t run = gemm.b_layout == 1 ? columns * kBlockBytes : columns * gemm.element_bytes;
    const uint64_t runs = gemm.b_layout == 1 ? gemm.k / kStrip : gemm.k;
    return run <= kChunkBytes ? runs / CeilDiv(kChunkBytes, run) : runs * (run / kChunkBytes);
}

void AddRegion(WarmPlan& plan, const PrefetchRegion& region) {
    plan.regions[plan.region_count++] = {region.address, region.bytes};
}

}  // namespace

void CheckRegionCount(size_t regions) {
    if (regions > kMostPrefetchRegions) {
        throw std::invalid_argument("prefetch: at most " + std::to_string(kMostPrefetchRegions) +
                                    " regions, got " + std::to_string(regions));
    }
}

uint64_t UsableL2Bytes(const arch::Chip& chip) {
    return static_cast<uint64_t>(arch::kUsableL2.value * (uint64_t{chip.l2_mib} << 20));
}

WarmPlanner::WarmPlanner(const arch::Chip& chip, const PrefetchRequest& request, uint64_t ub_bytes)
    : chip_(chip), request_(request), ub_bytes_(ub_bytes) {
    CheckRegionCount(request.regions.size());
    usable_ = UsableL2Bytes(chip);
    budget_ = std::min(request.bytes.value_or(usable_), usable_) / kChunkBytes;
    if (ub_bytes < kChunkBytes) budget_ = 0;  // nowhere to land
    plan_.chunk_bytes = kChunkBytes;
    plan_.pad_slot_bytes = kChunkBytes;
}

void WarmPlanner::GroupShare(const GemmPlan& gemm, const GemmPlan& before) {
    if (budget_ == 0 || MovedBytes(before) > usable_) return;
    const uint32_t groups = chip_.aic_count;
    // Runs of any length share a chunk, which may get twice as long.
    const uint32_t chunks_per_slot = SharesAreContiguous(gemm) ? 1 : 2;
    if (chunks_per_slot * kChunkBytes > ub_bytes_) return;
    const uint64_t cost = uint64_t{groups} * chunks_per_slot;
    const uint64_t chunks =
        std::min({GroupChunksAvailable(gemm, groups),
                  CeilDiv(SlackChunks(WeightBytes(before)), cost), budget_ / cost});
    if (chunks == 0) return;
    plan_.group_chunks = static_cast<uint32_t>(chunks);
    plan_.pad_slot_bytes = chunks_per_slot * kChunkBytes;
    budget_ -= chunks * cost;
}

WarmWindow WarmPlanner::OwnWeight(const PrefetchRegion& weight, uint32_t first_core,
                                  uint32_t core_count) {
    const uint64_t chunks =
        std::min({weight.bytes / kChunkBytes, uint64_t{core_count} * kChunksOfIdleCore, budget_});
    if (chunks == 0) return {};
    AddRegion(plan_, {weight.address, chunks * kChunkBytes});
    budget_ -= chunks;
    next_chunk_ = chunks;
    return {0, static_cast<uint32_t>(chunks), first_core, core_count};
}

std::vector<WarmWindow> WarmPlanner::RegionWindows(const std::vector<uint64_t>& streamed_bytes) {
    std::vector<WarmWindow> windows(streamed_bytes.size());
    if (budget_ == 0) return windows;
    uint64_t available = 0;
    for (const PrefetchRegion& region : request_.regions) {
        const uint64_t bytes = region.bytes / kBlockBytes * kBlockBytes;
        if (bytes == 0) continue;
        AddRegion(plan_, {region.address, bytes});
        available += CeilDiv(bytes, kChunkBytes);
    }
    available = std::min(available, budget_);
    for (size_t i = 0; i < windows.size(); ++i) {
        const bool last = i + 1 == windows.size();
        const uint64_t chunks = last && request_.bytes
                                    ? available
                                    : std::min(available, SlackChunks(streamed_bytes[i]));
        windows[i] = {static_cast<uint32_t>(next_chunk_), static_cast<uint32_t>(chunks), 0,
                      chip_.aiv_count};
        next_chunk_ += chunks;
        available -= chunks;
        budget_ -= chunks;
    }
    return windows;
}

WarmPlan WarmPlanner::Plan() const {
    WarmPlan plan = plan_;
    if (plan.group_chunks > 0 || next_chunk_ > 0) {
        plan.pad_slots =
            static_cast<uint32_t>(std::min<uint64_t>(kPadSlots, ub_bytes_ / plan.pad_slot_bytes));
    }
    return plan;
}

}  // namespace plan
