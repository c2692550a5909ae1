#include "plan/plan_warm.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "plan/l2_room.h"
#include "plan/rounding.h"
#include "plan/units.h"

namespace plan {

namespace {

static_assert(sizeof(WarmPlan::regions) / sizeof(WarmRegion) == kMaxPrefetchRegions);

// A load is at least 16 KB (AD: granularity); two loads in flight per core hide the start-up of
// ~235 cycles.
constexpr uint32_t kChunkBytes = 16 * 1024;
constexpr uint32_t kPadSlots = 3;

constexpr const char* kIdleReason = "as much as HBM brings while it would idle";
constexpr const char* kBudgetReason = "what is left of the caller's budget";
constexpr const char* kNothingReason = "HBM has no time left for it";
constexpr const char* kNoBudgetReason = "no budget, or no room to land in";

/// The part of a requested region that is still to be fetched.
struct Share {
    size_t region;  ///< index in the request
    uint64_t bytes;
    uint64_t chunks;  ///< number of chunks that hold these bytes
};

std::string RegionName(size_t region) { return "prefetch[" + std::to_string(region) + "]"; }

/// The regions through which the chunk sequence runs.
struct Shares {
    std::array<Share, kMaxPrefetchRegions> list;
    size_t count = 0;
};

/// The most that passes through L2 behind any of a kernel's windows; absent if that is unknown.
std::optional<uint64_t> PassingBehind(const IdleWindows& windows) {
    std::optional<uint64_t> most = 0;
    for (size_t i = 0; i < windows.size() && most; ++i) {
        const std::optional<uint64_t> bytes = windows[i].passing_bytes;
        most = bytes ? std::optional(std::max(*most, *bytes)) : std::nullopt;
    }
    return most;
}

/// Takes the regions up to the first that does not fit L2 as a whole; that one ends the sequence.
/// `behind` passes through L2 before the use of each, in addition to what the request says.
Shares TakeRegions(WarmPlan& warm, const PrefetchRequest& request, std::optional<uint64_t> behind,
                   const arch::Chip& chip, PlanReport* report) {
    Shares shares;
    uint64_t in_flight = 0;
    for (size_t i = 0; i < request.regions.size(); ++i) {
        const PrefetchRegion& region = request.regions[i];
        const uint64_t told = request.passing_bytes.empty() ? 0 : request.passing_bytes[i];
        const auto passing = behind ? std::optional(*behind + told) : std::nullopt;
        const uint64_t whole = region.bytes / kBlockBytes * kBlockBytes;
        const uint64_t room = L2Room(chip, in_flight, passing);
        const uint64_t bytes = std::min(whole, room / kBlockBytes * kBlockBytes);
        if (bytes == 0 && whole > 0 && report != nullptr) {
            report->decisions.push_back(
                {RegionName(i), "any", 0, 0,
                 std::to_string((in_flight + passing.value_or(UsableL2Bytes(chip))) / 1000000) +
                     " MB pass through L2 before its use, which holds " +
                     std::to_string(UsableL2Bytes(chip) / 1000000)});
        }
        if (bytes > 0) {
            warm.regions[warm.region_count++] = {region.address, bytes};
            shares.list[shares.count++] = {i, bytes, CeilDiv(bytes, kChunkBytes)};
            in_flight += bytes;
        }
        if (bytes < whole) break;
    }
    return shares;
}

}  // namespace

void CheckRegionCount(size_t regions) {
    if (regions > kMaxPrefetchRegions) {
        throw std::invalid_argument("prefetch: at most " + std::to_string(kMaxPrefetchRegions) +
                                    " regions, got " + std::to_string(regions));
    }
}

WarmSchedule PlanWarm(const arch::Chip& chip, const WarmRoom& room, const PrefetchRequest& request,
                      PlanReport* report) {
    CheckRegionCount(request.regions.size());
    if (report != nullptr) report->us = room.times.us;
    const IdleWindows& windows = room.times.windows;
    const auto decide = [&](const Share& share, const KernelWindow& window, uint64_t bytes,
                            const char* reason) {
        if (report == nullptr) return;
        report->decisions.push_back(
            {RegionName(share.region), window.name, window.idle.short_us, bytes, reason});
    };
    const uint64_t usable = UsableL2Bytes(chip);
    uint64_t budget = std::min(request.bytes.value_or(usable), usable) / kChunkBytes;
    if (room.pad_bytes < kChunkBytes) budget = 0;  // UB has no room for a landing pad

    WarmSchedule schedule{};
    WarmPlan& warm = schedule.warm;
    warm.chunk_bytes = kChunkBytes;
    Shares shares = TakeRegions(warm, request, PassingBehind(windows), chip, report);
    Share* share = shares.list.data();
    const Share* const end = share + shares.count;
    uint32_t next_chunk = 0;
    for (size_t i = 0; i < windows.size(); ++i) {
        const KernelWindow& idle = windows[i];
        const bool rest = request.bytes && i + 1 == windows.size();
        const auto idle_chunks =
            static_cast<uint64_t>(idle.idle.short_us * room.hbm_rate) / kChunkBytes;
        uint64_t chunks_left = rest ? budget : std::min(idle_chunks, budget);
        WarmWindow& window = schedule.windows[i];
        window = {next_chunk, 0, 0, chip.aiv_count, 0};
        if (chunks_left == 0 && share != end) {
            decide(*share, idle, 0, budget == 0 ? kNoBudgetReason : kNothingReason);
        }
        while (chunks_left > 0 && share != end) {
            const uint64_t chunks = std::min(chunks_left, share->chunks);
            const uint64_t bytes = std::min(chunks * kChunkBytes, share->bytes);
            decide(*share, idle, bytes, rest ? kBudgetReason : kIdleReason);
            window.chunk_count += static_cast<uint32_t>(chunks);
            budget -= chunks;
            chunks_left -= chunks;
            share->chunks -= chunks;
            share->bytes -= bytes;
            if (share->chunks == 0) ++share;
        }
        if (window.chunk_count > 0 && next_chunk == 0) {
            window.after_stream = 1;
            warm.await_stream = 1;
        }
        next_chunk += window.chunk_count;
    }
    if (next_chunk > 0) {
        warm.pad_slots =
            static_cast<uint32_t>(std::min<uint64_t>(kPadSlots, room.pad_bytes / kChunkBytes));
    }
    return schedule;
}

}  // namespace plan
