// LaunchConfig::schedule_seed: another order of the cores, the same one for the same seed.
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::DataCopy;
using AscendC::Duplicate;
using AscendC::GetBlockIdx;
using AscendC::PipeBarrier;

namespace {

constexpr uint32_t kCount = 8;
constexpr uint32_t kBlocks = 6;

/// Every core stores its number in the same place: who comes last wins. With `ordered` each stores
/// in a place of its own, and takes over what its neighbour has stored when all have.
std::vector<int32_t> Store(uint64_t seed, bool ordered) {
    std::vector<int32_t> out(kCount * (kBlocks + 1), -1);
    auto config = Config(KernelKind::kMixAiv1Aic0, {Output("out", out)}, kBlocks);
    config.schedule_seed = seed;
    twin::Launch(config, [&] {
        TPipe pipe;
        const auto ub = Allocate<TPosition::VECCALC, int32_t>(pipe, kCount);
        const auto core = static_cast<int32_t>(GetBlockIdx());
        Duplicate(ub, core, kCount);
        PipeBarrier<PIPE_ALL>();
        DataCopy(Gm(out)[ordered ? core * kCount : 0], ub, kCount);
        CrossCoreSetFlag<0, PIPE_MTE3>(0);
        CrossCoreWaitFlag(0);
        if (!ordered) return;
        const uint32_t next = (core + 1) % kBlocks;
        PipeBarrier<PIPE_ALL>();
        DataCopy(ub, Gm(out)[next * kCount], kCount);
        PipeBarrier<PIPE_ALL>();
        CrossCoreSetFlag<0, PIPE_MTE2>(1);
        CrossCoreWaitFlag(1);
        DataCopy(Gm(out)[core * kCount], ub, kCount);
    });
    return out;
}

}  // namespace

TEST(a_racy_kernel_depends_on_the_schedule) {
    std::set<int32_t> winners;
    for (uint64_t seed = 1; seed <= 50; ++seed) winners.insert(Store(seed, false).front());
    CHECK_EQ(winners.size(), size_t{kBlocks});
    CHECK_EQ(Store(0, false).front(), static_cast<int32_t>(kBlocks - 1));
}

TEST(a_kernel_that_waits_does_not) {
    const std::vector<int32_t> expected = Store(0, true);
    for (uint32_t core = 0; core < kBlocks; ++core) {
        CHECK_EQ(expected[core * kCount], static_cast<int32_t>((core + 1) % kBlocks));
    }
    for (uint64_t seed = 1; seed <= 50; ++seed) CHECK_EQ(Store(seed, true), expected);
}

TEST(a_seed_stands_for_one_schedule) {
    for (const uint64_t seed : {uint64_t{3}, uint64_t{4}, ~uint64_t{0}}) {
        CHECK_EQ(Store(seed, false), Store(seed, false));
    }
}

// A core loses its turn at a set: the one that was first does not stay ahead.
TEST(cores_lose_their_turn_at_a_set) {
    std::set<std::string> orders;
    for (uint64_t seed = 0; seed <= 20; ++seed) {
        std::string order;
        auto config = Config(KernelKind::kMixAic1Aiv2, {}, 1);
        config.schedule_seed = seed;
        twin::Launch(config, [&] {
            for (uint16_t flag = 0; flag < 3; ++flag) {
                if ASCEND_IS_AIC {
                    CrossCoreSetFlag<2, PIPE_FIX>(flag);
                    order += "s";
                } else {
                    CrossCoreWaitFlag(flag);
                    order += "w";
                }
            }
        });
        if (seed == 0) CHECK_EQ(order, std::string("ssswwwwww"));
        orders.insert(order);
    }
    CHECK(orders.size() > 5);
}

// What is reported does not depend on the order either, and cores that paused are unwound.
TEST(errors_come_in_every_schedule) {
    for (uint64_t seed = 0; seed <= 20; ++seed) {
        auto config = Config(KernelKind::kMixAic1Aiv2, {}, 2);
        config.schedule_seed = seed;
        Breaks("deadlock", {"waits for flag 1"}, [&] {
            twin::Launch(config, [] {
                if ASCEND_IS_AIC {
                    CrossCoreSetFlag<2, PIPE_FIX>(0);
                } else {
                    CrossCoreWaitFlag(GetBlockIdx() == 3 ? 1 : 0);
                }
            });
        });
        Breaks("parameter-range", {"flagId"}, [&] {
            twin::Launch(config, [] {
                if ASCEND_IS_AIC {
                    CrossCoreSetFlag<2, PIPE_FIX>(GetBlockIdx() == 1 ? 16 : 0);
                } else {
                    CrossCoreWaitFlag(0);
                }
            });
        });
    }
}
