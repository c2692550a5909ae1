#include "plan/plan_warm.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "plan/units.h"

namespace plan {

namespace {

static_assert(sizeof(WarmPlan::regions) / sizeof(WarmRegion) == kMostPrefetchRegions);

// At least 16 KB a load (AD: granularity); two of them in flight per core cover the start-up of
// ~235 cycles.
constexpr uint32_t kChunkBytes = 16 * 1024;
constexpr uint32_t kPadSlots = 3;

constexpr const char* kIdleReason = "as much as HBM brings while it would idle";
constexpr const char* kNothingReason = "HBM has no time left for it";
constexpr const char* kNoBudgetReason = "no budget, or no room to land in";

/// Bytes of a region that are wanted, and the chunks that hold them.
struct Share {
    std::string name;
    uint64_t bytes;
    uint64_t chunks;
};

}  // namespace

void CheckRegionCount(size_t regions) {
    if (regions > kMostPrefetchRegions) {
        throw std::invalid_argument("prefetch: at most " + std::to_string(kMostPrefetchRegions) +
                                    " regions, got " + std::to_string(regions));
    }
}

void AddToKey(PlanKey& key, const PrefetchRequest& request) {
    key.Add(request.regions.size());
    for (const PrefetchRegion& region : request.regions) key.Add(region.address, region.bytes);
    key.Add(request.passing_bytes.size());
    for (const uint64_t passing : request.passing_bytes) key.Add(passing);
    key.Add(request.bytes.has_value(), request.bytes.value_or(0));
}

uint64_t UsableL2Bytes(const arch::Chip& chip) {
    return static_cast<uint64_t>(arch::kUsableL2.value * (uint64_t{chip.l2_mib} << 20));
}

WarmSchedule PlanWarm(const arch::Chip& chip, const arch::TimingConstants& constants,
                      const PrefetchRequest& request, const std::vector<IdleWindow>& windows,
                      uint64_t ub_bytes, PlanReport* report) {
    CheckRegionCount(request.regions.size());
    const auto decide = [&](const std::string& weight, const IdleWindow& window, uint64_t bytes,
                            const std::string& reason) {
        if (report == nullptr) return;
        report->decisions.push_back({weight, window.name, window.idle_us, bytes, reason});
    };
    const uint64_t usable = UsableL2Bytes(chip);
    uint64_t budget = std::min(request.bytes.value_or(usable), usable) / kChunkBytes;
    if (ub_bytes < kChunkBytes) budget = 0;  // nowhere to land

    WarmSchedule schedule{};
    WarmPlan& warm = schedule.warm;
    warm.chunk_bytes = kChunkBytes;
    // The sequence of chunks runs through the regions; the first that L2 would lose ends it.
    std::vector<Share> shares;
    uint64_t in_flight = 0;
    for (size_t i = 0; i < request.regions.size(); ++i) {
        const PrefetchRegion& region = request.regions[i];
        const std::string name = "prefetch[" + std::to_string(i) + "]";
        const uint64_t passing =
            in_flight + (request.passing_bytes.empty() ? 0 : request.passing_bytes[i]);
        const uint64_t whole = region.bytes / kBlockBytes * kBlockBytes;
        const uint64_t room = usable > passing ? usable - passing : 0;
        const uint64_t bytes = std::min(whole, room / kBlockBytes * kBlockBytes);
        if (bytes == 0 && whole > 0) {
            decide(name, {"any", 0}, 0,
                   std::to_string(passing / 1000000) +
                       " MB pass through L2 before its use, which holds " +
                       std::to_string(usable / 1000000));
        }
        if (bytes > 0) {
            warm.regions[warm.region_count++] = {region.address, bytes};
            shares.push_back({name, bytes, CeilDiv(bytes, kChunkBytes)});
            in_flight += bytes;
        }
        if (bytes < whole) break;
    }

    auto share = shares.begin();
    uint32_t next_chunk = 0;
    for (const IdleWindow& idle : windows) {
        const bool rest = request.bytes && &idle == &windows.back();
        const auto idle_chunks =
            static_cast<uint64_t>(idle.idle_us * constants.hbm_rate) / kChunkBytes;
        uint64_t room = rest ? budget : std::min(idle_chunks, budget);
        WarmWindow window{next_chunk, 0, 0, chip.aiv_count, 0};
        if (room == 0 && share != shares.end()) {
            decide(share->name, idle, 0, budget == 0 ? kNoBudgetReason : kNothingReason);
        }
        while (room > 0 && share != shares.end()) {
            const uint64_t chunks = std::min(room, share->chunks);
            const uint64_t bytes = std::min(chunks * kChunkBytes, share->bytes);
            decide(share->name, idle, bytes,
                   rest ? "what is left of the caller's budget" : kIdleReason);
            window.chunk_count += static_cast<uint32_t>(chunks);
            budget -= chunks;
            room -= chunks;
            share->chunks -= chunks;
            share->bytes -= bytes;
            if (share->chunks == 0) ++share;
        }
        if (window.chunk_count > 0 && next_chunk == 0) {
            window.after_stream = 1;
            warm.await_stream = 1;
        }
        next_chunk += window.chunk_count;
        schedule.windows.push_back(window);
    }
    if (next_chunk > 0) {
        warm.pad_slots =
            static_cast<uint32_t>(std::min<uint64_t>(kPadSlots, ub_bytes / kChunkBytes));
    }
    return schedule;
}

}  // namespace plan
