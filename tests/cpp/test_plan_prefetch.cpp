// Plans of the prefetch kernel: which bytes of GM, in which chunks, by how many cores.
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "arch/chip.h"
#include "arch/dav_c220.h"
#include "check.h"
#include "plan/l2_room.h"
#include "plan/plan_prefetch.h"

namespace {

constexpr uint64_t kBase = 0x40000;
constexpr uint64_t kMib = 1 << 20;
constexpr auto kVector = plan::LoadingCores::kVector;
constexpr auto kCube = plan::LoadingCores::kCube;

using Region = std::pair<uint64_t, uint64_t>;

plan::PrefetchRange Range(uint64_t address, uint64_t tensor_bytes, uint64_t offset,
                          uint64_t bytes) {
    return {{address, tensor_bytes}, offset, bytes};
}

/// Start, from kBase, and bytes of every region.
std::vector<Region> Regions(const PrefetchPlan& plan) {
    std::vector<Region> regions;
    for (uint32_t r = 0; r < plan.warm.region_count; ++r) {
        regions.emplace_back(plan.warm.regions[r].address - kBase, plan.warm.regions[r].bytes);
    }
    return regions;
}

std::vector<Region> RegionsOf(const std::vector<plan::PrefetchRange>& ranges) {
    return Regions(plan::PlanPrefetch(ranges, kVector, 48));
}

}  // namespace

TEST(a_range_is_widened_to_its_blocks) {
    CHECK(RegionsOf({Range(kBase, 4096, 0, 4096)}) == (std::vector<Region>{{0, 4096}}));
    CHECK(RegionsOf({Range(kBase, 4096, 64, 32)}) == (std::vector<Region>{{64, 32}}));
    CHECK(RegionsOf({Range(kBase, 4096, 63, 1)}) == (std::vector<Region>{{32, 32}}));
    CHECK(RegionsOf({Range(kBase, 4096, 63, 2)}) == (std::vector<Region>{{32, 64}}));
    CHECK(RegionsOf({Range(kBase, 4096, 95, 34)}) == (std::vector<Region>{{64, 96}}));
}

TEST(but_not_beyond_its_tensor) {
    CHECK(RegionsOf({Range(kBase, 1, 0, 1)}) == (std::vector<Region>{{0, 1}}));
    CHECK(RegionsOf({Range(kBase, 100, 97, 3)}) == (std::vector<Region>{{96, 4}}));
    CHECK(RegionsOf({Range(kBase + 5, 100, 0, 100)}) == (std::vector<Region>{{5, 100}}));
    CHECK(RegionsOf({Range(kBase + 5, 100, 3, 20)}) == (std::vector<Region>{{5, 27}}));
    CHECK(RegionsOf({Range(kBase + 5, 100, 30, 60)}) == (std::vector<Region>{{32, 64}}));
}

TEST(a_block_of_two_ranges_is_loaded_with_the_first) {
    const auto first = Range(kBase, 4096, 0, 100);
    const auto second = Range(kBase, 4096, 100, 100);
    CHECK(RegionsOf({first, second}) == (std::vector<Region>{{0, 128}, {128, 96}}));
    CHECK(RegionsOf({second, first}) == (std::vector<Region>{{96, 128}, {0, 96}}));
    // Nothing is left of a range whose blocks belong to others.
    const auto within = Range(kBase, 4096, 101, 7);
    const auto after = Range(kBase, 4096, 108, 92);
    CHECK(RegionsOf({first, after, within}) == (std::vector<Region>{{0, 128}, {128, 96}}));
    // Two views of one storage: the first ends inside a block.
    CHECK(RegionsOf({Range(kBase, 40, 0, 40), Range(kBase + 40, 60, 0, 60)}) ==
          (std::vector<Region>{{0, 40}, {40, 60}}));
    // Far apart they do not touch.
    CHECK(RegionsOf({Range(kBase + kMib, 50, 1, 1), Range(kBase, 64, 40, 1)}) ==
          (std::vector<Region>{{kMib, 32}, {32, 32}}));
}

TEST(chunks_cover_all_regions_and_the_pads_fit) {
    for (const auto type : {kVector, kCube}) {
        // All that UB and L1 have for large chunks.
        const uint32_t pad = type == kCube ? 480 * 1024 : 160 * 1024;
        for (const uint32_t cores : {1u, 7u, 24u, 48u}) {
            for (const uint64_t bytes : {uint64_t{1}, uint64_t{16384}, uint64_t{16385},
                                         6 * kMib - 32, 6 * kMib, 100 * kMib + 3}) {
                const PrefetchPlan plan = plan::PlanPrefetch(
                    {Range(kBase, bytes, 0, bytes), Range(kBase + 200 * kMib, bytes, 0, 1)}, type,
                    cores);
                const WarmPlan& warm = plan.warm;
                CHECK_EQ(plan.window.first_chunk, 0u);
                CHECK_EQ(plan.window.first_core, 0u);
                CHECK_EQ(plan.window.core_count, cores);
                CHECK_EQ(plan.window.chunk_count,
                         (bytes + warm.chunk_bytes - 1) / warm.chunk_bytes + 1);
                CHECK_EQ(warm.pad_slots * warm.chunk_bytes, pad);
                CHECK_EQ(warm.await_stream, 0u);
            }
        }
    }
    CHECK(160 * 1024 <= arch::DavC220::kUsableUbBytes);
    CHECK(480 * 1024 <= arch::DavC220::kUsableL1Bytes);
}

TEST(chunks_are_large_once_every_core_has_four) {
    const auto chunk = [](uint64_t bytes, uint32_t cores) {
        return plan::PlanPrefetch({Range(kBase, bytes, 0, bytes)}, kVector, cores).warm.chunk_bytes;
    };
    CHECK_EQ(chunk(48 * 128 * 1024 - 32, 48), 16384u);
    CHECK_EQ(chunk(48 * 128 * 1024, 48), 32768u);
    CHECK_EQ(chunk(128 * 1024, 1), 32768u);
    CHECK_EQ(chunk(128 * 1024, 2), 16384u);
}

TEST(the_usable_share_of_l2_is_seven_tenths) {
    CHECK_EQ(plan::UsableL2Bytes(arch::FindChip("Ascend910_9391")), 140928614u);  // of 192 MiB
    CHECK_EQ(plan::UsableL2Bytes(arch::FindChip("Ascend910B4")), 70464307u);      // of 96 MiB
}

// Rule 1, the only place where it stands.
TEST(room_in_l2_is_what_neither_waits_in_it_nor_passes_through) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    const uint64_t usable = plan::UsableL2Bytes(chip);
    CHECK_EQ(plan::L2Room(chip, 0, 0), usable);
    CHECK_EQ(plan::L2Room(chip, 1000, 200), usable - 1200);
    CHECK_EQ(plan::L2Room(chip, usable - 200, 200), uint64_t{0});
    CHECK_EQ(plan::L2Room(chip, usable, 200), uint64_t{0});
    CHECK_EQ(plan::L2Room(chip, 0, usable + 1), uint64_t{0});
    CHECK_EQ(plan::L2Room(chip, ~uint64_t{0}, ~uint64_t{0}), uint64_t{0});
    CHECK_EQ(plan::L2Room(chip, 0, std::nullopt), uint64_t{0});
}

TEST(at_most_eight_ranges) {
    std::vector<plan::PrefetchRange> ranges;
    for (uint64_t i = 0; i < 8; ++i) ranges.push_back(Range(kBase + i * 64, 64, 0, 64));
    CHECK_EQ(Regions(plan::PlanPrefetch(ranges, kVector, 1)).size(), 8u);
    ranges.push_back(Range(kBase + 512, 64, 0, 64));
    CHECK_THROWS_WITH(plan::PlanPrefetch(ranges, kVector, 1), std::invalid_argument,
                      "prefetch: at most 8 regions, got 9");
}
