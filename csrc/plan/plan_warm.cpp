#include "plan/plan_warm.h"

#include <algorithm>
#include <stdexcept>

namespace plan {

namespace {

static_assert(sizeof(WarmPlan::regions) / sizeof(WarmRegion) == kMostPrefetchRegions + 1,
              "W_UK and the caller's regions");

constexpr uint64_t kElementBytes = 2;
constexpr uint32_t kBlock = 32;
// At least 16 KB a load (AD: granularity); two of them in flight per core cover the start-up of
// ~235 cycles.
constexpr uint32_t kChunkBytes = 16 * 1024;
constexpr uint32_t kPadSlots = 3;
constexpr uint32_t kPadSlotBytes =
    2 * kChunkBytes;  // the start of an NZ share comes in runs of any length
// Loads that a core with nothing to norm may have in flight when q_c is published: at 48 cores
// and 1.49 TB/s one chunk each is half a microsecond, which the norm takes anyway.
constexpr uint32_t kNormChunksPerCore = 1;

uint64_t WeightBytes(const GemmPlan& gemm) {
    return uint64_t{gemm.batches} * gemm.n * gemm.k * kElementBytes;
}

/// HBM bytes left over while the cube streams `bytes` of weights.
uint64_t SlackBytes(uint64_t bytes) {
    const double share = arch::kHbmReadVector.value / arch::kHbmReadCube.value - 1.0;
    return static_cast<uint64_t>(static_cast<double>(bytes) * share);
}

uint64_t Chunks(uint64_t bytes) { return (bytes + kChunkBytes - 1) / kChunkBytes; }

/// Chunks of a group's share of q_b that exist whatever the group; see
/// WeightWarmer::WarmGroupShare.
uint64_t GroupChunksAvailable(const GemmPlan& gemm, uint32_t groups) {
    const uint64_t rows = uint64_t{gemm.n / kStrip / groups} * kStrip;  // of the smallest share
    if (rows == 0) return 0;
    if (gemm.b_layout == 0) return rows * gemm.k * kElementBytes / kChunkBytes;
    const uint64_t run = rows * kBlock;
    const uint64_t runs = gemm.k / kStrip;
    return run <= kChunkBytes ? runs / ((kChunkBytes + run - 1) / run) : runs * (run / kChunkBytes);
}

/// Weight tiles of the core with the smallest share.
uint32_t FewestTiles(const GemmPlan& gemm, uint32_t cores) {
    const uint32_t columns = gemm.batches * (gemm.n / kStrip) / cores * kStrip;
    const uint32_t row_tiles = (gemm.m + gemm.tile_m - 1) / gemm.tile_m;
    const uint32_t column_tiles = (columns + gemm.tile_n - 1) / gemm.tile_n;
    const uint32_t depth_tiles = (gemm.k + gemm.tile_k - 1) / gemm.tile_k;
    return row_tiles * column_tiles * depth_tiles;
}

}  // namespace

void PlanWarm(MlaPrologPlan& plan, const arch::Chip& chip,
              const std::vector<PrefetchRegion>& regions, std::optional<uint64_t> budget_bytes) {
    if (regions.size() > kMostPrefetchRegions) {
        throw std::invalid_argument("prefetch: at most " + std::to_string(kMostPrefetchRegions) +
                                    " regions, got " + std::to_string(regions.size()));
    }
    WarmPlan& warm = plan.warm;
    warm = WarmPlan{};
    warm.chunk_bytes = kChunkBytes;
    // Beyond the usable share of L2 a prefetch evicts what it has brought.
    const auto usable =
        static_cast<uint64_t>(arch::kUsableL2.value * (uint64_t{chip.l2_mib} << 20));
    uint64_t budget = std::min(budget_bytes.value_or(usable), usable) / kChunkBytes;
    if (budget == 0) return;
    warm.pad_slots = kPadSlots;
    warm.pad_slot_bytes = kPadSlotBytes;

    // Before anything else this op's q_b, each group its own share, while qkv_a streams.
    const uint32_t groups = chip.aic_count;
    const uint64_t slack = SlackBytes(WeightBytes(plan.qkv_a)) / kChunkBytes;
    // An NZ chunk may be as large as a landing slot: two chunks of the budget.
    const uint64_t cost = groups * (plan.q_b.b_layout == 0 ? 1 : kPadSlotBytes / kChunkBytes);
    const uint64_t group_chunks = std::min(
        {GroupChunksAvailable(plan.q_b, groups), (slack + cost - 1) / cost, budget / cost});
    warm.group_chunks = static_cast<uint32_t>(group_chunks);
    budget -= group_chunks * cost;

    // The chunk sequence: W_UK as far as the idle cores of the norm get, then the caller's regions.
    const uint32_t busy = (plan.tokens + plan.rows_per_core - 1) / plan.rows_per_core;
    const uint32_t idle = chip.aiv_count - busy;
    // Where q_b has fewer tiles than the ring has slots, the cube's weight stream is at W_UK
    // already while the norm is pending: nothing could be ordered before it.
    const bool stream_is_behind = FewestTiles(plan.q_b, chip.aic_count) >= plan.buffers.b_slots;
    const uint64_t own_chunks = WeightBytes(plan.absorb) / kChunkBytes;
    const uint64_t own =
        stream_is_behind ? std::min({own_chunks, uint64_t{idle} * kNormChunksPerCore, budget}) : 0;
    budget -= own;
    uint64_t next = 0;
    if (own > 0) {
        warm.regions[warm.region_count++] = {0, own * kChunkBytes};
        warm.while_norm = {0, static_cast<uint32_t>(own), busy, idle};
        next = own;
    }
    uint64_t available = 0;
    for (const PrefetchRegion& region : regions) {
        const uint64_t bytes = region.bytes / kBlock * kBlock;
        if (bytes == 0) continue;
        warm.regions[warm.region_count++] = {region.address, bytes};
        available += Chunks(bytes);
    }

    // The caller's regions: the windows behind q_b and W_UK, each with what HBM has left meanwhile.
    // What a budget has beyond that goes into the last window, where no hand-over is waiting behind
    // the loads.
    const uint64_t q_b_slack = SlackBytes(WeightBytes(plan.q_b)) / kChunkBytes;
    const uint64_t absorb_slack = SlackBytes(WeightBytes(plan.absorb)) / kChunkBytes;
    const uint64_t later = std::min(available, budget_bytes ? budget : q_b_slack + absorb_slack);
    const uint64_t first = std::min(later, q_b_slack);
    warm.while_q_b = {static_cast<uint32_t>(next), static_cast<uint32_t>(first), 0, chip.aiv_count};
    warm.while_absorb = {static_cast<uint32_t>(next + first), static_cast<uint32_t>(later - first),
                         0, chip.aiv_count};
}

}  // namespace plan
