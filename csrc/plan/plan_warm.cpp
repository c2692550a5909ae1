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

WarmPlanner::WarmPlanner(const arch::Chip& chip, const arch::TimingConstants& constants,
                         const PrefetchRequest& request, uint64_t ub_bytes, PlanReport* report)
    : chip_(chip), constants_(constants), request_(request), report_(report), ub_bytes_(ub_bytes) {
    CheckRegionCount(request.regions.size());
    request_.passing_bytes.resize(request.regions.size());
    usable_ = UsableL2Bytes(chip);
    budget_ = std::min(request.bytes.value_or(usable_), usable_) / kChunkBytes;
    if (ub_bytes < kChunkBytes) budget_ = 0;  // nowhere to land
    plan_.chunk_bytes = kChunkBytes;
}

uint64_t WarmPlanner::IdleChunks(const IdleWindow& window) const {
    return static_cast<uint64_t>(window.idle_us * constants_.hbm_rate) / kChunkBytes;
}

void WarmPlanner::Decide(const std::string& weight, const IdleWindow& window, uint64_t bytes,
                         const std::string& reason) {
    if (report_ == nullptr) return;
    report_->decisions.push_back({weight, window.name, window.idle_us, bytes, reason});
}

std::vector<WarmWindow> WarmPlanner::RegionWindows(const std::vector<IdleWindow>& windows) {
    std::vector<WarmWindow> result(windows.size());
    // The sequence of chunks runs through the regions; the first that L2 would lose ends it.
    struct Share {
        size_t region;
        uint64_t chunks;
        uint64_t bytes;
    };
    std::vector<Share> shares;
    uint64_t in_flight = next_chunk_ * kChunkBytes;
    for (size_t i = 0; i < request_.regions.size(); ++i) {
        const PrefetchRegion& region = request_.regions[i];
        const uint64_t passing = request_.passing_bytes[i];
        const uint64_t room = usable_ > passing + in_flight ? usable_ - passing - in_flight : 0;
        const uint64_t bytes = std::min(region.bytes, room) / kBlockBytes * kBlockBytes;
        if (bytes == 0 && region.bytes >= kBlockBytes) {
            const std::string reason = std::to_string((passing + in_flight) / 1000000) +
                                       " MB pass through L2 before its use, which holds " +
                                       std::to_string(usable_ / 1000000);
            Decide("prefetch[" + std::to_string(i) + "]", {"any", true, 0}, 0, reason);
            break;
        }
        if (bytes == 0) continue;
        AddRegion(plan_, {region.address, bytes});
        shares.push_back({i, CeilDiv(bytes, kChunkBytes), bytes});
        in_flight += bytes;
        if (bytes < region.bytes / kBlockBytes * kBlockBytes) break;
    }
    size_t share = 0;
    for (size_t i = 0; i < windows.size(); ++i) {
        const bool rest = request_.bytes && i + 1 == windows.size();
        uint64_t room = rest ? budget_ : std::min(IdleChunks(windows[i]), budget_);
        if (!windows[i].open) room = 0;
        WarmWindow& window = result[i];
        window = {static_cast<uint32_t>(next_chunk_), 0, 0, chip_.aiv_count, 0};
        if (share == shares.size()) continue;
        if (room == 0) {
            Decide("prefetch[" + std::to_string(shares[share].region) + "]", windows[i], 0,
                   budget_ == 0 ? kNoBudgetReason : kNothingReason);
        }
        while (room > 0 && share < shares.size()) {
            const uint64_t chunks = std::min(room, shares[share].chunks);
            const uint64_t bytes = std::min(chunks * kChunkBytes, shares[share].bytes);
            Decide("prefetch[" + std::to_string(shares[share].region) + "]", windows[i], bytes,
                   rest ? "what is left of the caller's budget" : kIdleReason);
            window.chunk_count += static_cast<uint32_t>(chunks);
            next_chunk_ += chunks;
            budget_ -= chunks;
            room -= chunks;
            shares[share].chunks -= chunks;
            shares[share].bytes -= bytes;
            if (shares[share].chunks == 0) ++share;
        }
        if (window.chunk_count > 0 && plan_.await_stream == 0) {
            window.after_stream = 1;
            plan_.await_stream = 1;
        }
    }
    return result;
}

WarmPlan WarmPlanner::Plan() const {
    WarmPlan plan = plan_;
    if (next_chunk_ > 0) {
        plan.pad_slots =
            static_cast<uint32_t>(std::min<uint64_t>(kPadSlots, ub_bytes_ / kChunkBytes));
    }
    return plan;
}

}  // namespace plan
