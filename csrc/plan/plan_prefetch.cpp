#include "plan/plan_prefetch.h"

#include <algorithm>

#include "arch/dav_c220.h"
#include "plan/rounding.h"
#include "plan/units.h"

namespace plan {

namespace {

// In the last round a core idles for half a chunk on average, which costs more than the some 6 %
// that large chunks gain as long as a core loads fewer than four of them.
constexpr uint32_t kSmallChunkBytes = 16 * 1024;
constexpr uint32_t kFewestLargeChunksPerCore = 4;
// The landing pad drains whenever it is full, which costs the start-up of a load (~235 cycles on a
// vector core, ~180 on a cube core, KPP); these sizes, all the large chunks that the buffer holds,
// make that a few percent.
constexpr uint32_t PadBytes(uint32_t usable) {
    return usable / kLargeChunkBytes * kLargeChunkBytes;
}
constexpr uint32_t kUbPadBytes = PadBytes(arch::DavC220::kUsableUbBytes);
constexpr uint32_t kL1PadBytes = PadBytes(arch::DavC220::kUsableL1Bytes);

struct Span {
    uint64_t begin;
    uint64_t end;
};

Span RangeSpan(const PrefetchRange& range) {
    const uint64_t begin = range.tensor.address + range.offset;
    return {begin, begin + range.bytes};
}

/// The 32-byte blocks that a range touches, cut off at the ends of its tensor.
Span BlockSpan(const PrefetchRange& range) {
    const Span span = RangeSpan(range);
    return {std::max(range.tensor.address, span.begin / kBlockBytes * kBlockBytes),
            std::min(range.tensor.address + range.tensor.bytes, RoundUp(span.end, kBlockBytes))};
}

std::vector<PrefetchRegion> BlocksOf(const std::vector<PrefetchRange>& ranges) {
    std::vector<PrefetchRegion> regions;
    for (size_t i = 0; i < ranges.size(); ++i) {
        Span blocks = BlockSpan(ranges[i]);
        for (size_t earlier = 0; earlier < i; ++earlier) {
            const Span taken = BlockSpan(ranges[earlier]);
            if (RangeSpan(ranges[earlier]).end <= RangeSpan(ranges[i]).begin) {
                blocks.begin = std::max(blocks.begin, taken.end);
            } else {
                blocks.end = std::min(blocks.end, taken.begin);
            }
        }
        if (blocks.begin < blocks.end) {
            regions.push_back({blocks.begin, blocks.end - blocks.begin});
        }
    }
    return regions;
}

}  // namespace

PrefetchPlan PlanPrefetch(const std::vector<PrefetchRange>& ranges, LoadingCores type,
                          uint32_t cores) {
    CheckRegionCount(ranges.size());
    const std::vector<PrefetchRegion> regions = BlocksOf(ranges);
    uint64_t bytes = 0;
    for (const PrefetchRegion& region : regions) bytes += region.bytes;
    const bool large = bytes >= uint64_t{kFewestLargeChunksPerCore} * kLargeChunkBytes * cores;
    const uint32_t chunk = large ? kLargeChunkBytes : kSmallChunkBytes;

    PrefetchPlan plan{};
    plan.warm.chunk_bytes = chunk;
    plan.warm.pad_slots = (type == LoadingCores::kCube ? kL1PadBytes : kUbPadBytes) / chunk;
    plan.window.core_count = cores;
    for (const PrefetchRegion& region : regions) {
        plan.warm.regions[plan.warm.region_count++] = {region.address, region.bytes};
        plan.window.chunk_count += static_cast<uint32_t>(CeilDiv(region.bytes, chunk));
    }
    return plan;
}

}  // namespace plan
