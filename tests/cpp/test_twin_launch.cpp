// How a kernel is launched: kernel types, indices of blocks and sub-blocks.
#include <cstdint>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::GetBlockIdx;
using AscendC::GetBlockNum;
using AscendC::GetSubBlockIdx;

// ---- Kernel-Tiling/设置Kernel类型 ----

TEST(a_kernel_is_launched_as_the_type_it_declares) {
    twin::Launch(Config(KernelKind::kMixAic1Aiv2, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2); });
    twin::Launch(Config(KernelKind::kAicOnly, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY); });
    twin::Launch(Config(KernelKind::kAivOnly, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY); });
    twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0); });
    twin::Launch(Config(KernelKind::kMixAic1Aiv0, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_0); });
    AivBreaks("kernel-type", {"KERNEL_TYPE_MIX_AIC_1_2", "KERNEL_TYPE_AIV_ONLY"}, {},
              [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2); });
    AicBreaks("kernel-type", {"KERNEL_TYPE_MIX_AIC_1_0", "KERNEL_TYPE_AIC_ONLY"}, {},
              [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_0); });
    GroupBreaks("kernel-type", {"KERNEL_TYPE_AIV_ONLY", "KERNEL_TYPE_MIX_AIC_1_2"},
                [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY); });
}

// ---- 工具接口/系统资源与变量/{GetBlockIdx, GetBlockNum, GetSubBlockIdx(ISASI)} ----

namespace {

struct Core {
    bool aic;
    int64_t block;
    int64_t sub_block;
    int64_t blocks;
};

std::vector<Core> CoresOf(KernelKind kind, uint32_t blocks, const char* chip) {
    std::vector<Core> cores;
    twin::Launch(Config(kind, {}, blocks, chip), [&] {
        cores.push_back({twin::IsAic(), GetBlockIdx(), GetSubBlockIdx(), GetBlockNum()});
    });
    return cores;
}

/// Cores of the type have indices 0, 1, ... `count` - 1, each once, sub-block index % `sub_blocks`.
void CheckCores(const std::vector<Core>& cores, bool aic, size_t count, int64_t sub_blocks,
                int64_t blocks) {
    std::set<int64_t> indices;
    for (const Core& core : cores) {
        if (core.aic != aic) continue;
        CHECK(indices.insert(core.block).second);
        CHECK_EQ(core.sub_block, core.block % sub_blocks);
        CHECK_EQ(core.blocks, blocks);
    }
    CHECK_EQ(indices.size(), count);
    if (count != 0) {
        CHECK_EQ(*indices.begin(), 0);
        CHECK_EQ(*indices.rbegin(), static_cast<int64_t>(count) - 1);
    }
}

}  // namespace

// "AIC上取值范围为[0, numBlocks)，AIV上取值范围为[0, 2 * numBlocks)"; sub-blocks 0 and 1.
TEST(indices_of_a_mixed_kernel) {
    const auto a3 = CoresOf(KernelKind::kMixAic1Aiv2, 0, "Ascend910_9391");
    CheckCores(a3, true, 24, 1, 24);
    CheckCores(a3, false, 48, 2, 24);
    const auto b3 = CoresOf(KernelKind::kMixAic1Aiv2, 0, "Ascend910B3");
    CheckCores(b3, true, 20, 1, 20);
    CheckCores(b3, false, 40, 2, 20);
    const auto ten = CoresOf(KernelKind::kMixAic1Aiv2, 10, "Ascend910_9391");
    CheckCores(ten, true, 10, 1, 10);
    CheckCores(ten, false, 20, 2, 10);
}

// "仅启动AIC或AIV的场景，索引的范围为[0, numBlocks)".
TEST(indices_of_kernels_of_one_core_type) {
    CheckCores(CoresOf(KernelKind::kAivOnly, 0, "Ascend910_9391"), false, 48, 1, 48);
    CheckCores(CoresOf(KernelKind::kAivOnly, 0, "Ascend910B3"), false, 40, 1, 40);
    CheckCores(CoresOf(KernelKind::kAivOnly, 10, "Ascend910B3"), false, 10, 1, 10);
    CheckCores(CoresOf(KernelKind::kAivOnly, 10, "Ascend910B3"), true, 0, 1, 10);
    CheckCores(CoresOf(KernelKind::kAicOnly, 0, "Ascend910_9391"), true, 24, 1, 24);
    CheckCores(CoresOf(KernelKind::kAicOnly, 0, "Ascend910B3"), true, 20, 1, 20);
    CheckCores(CoresOf(KernelKind::kMixAiv1Aic0, 0, "Ascend910B3"), false, 40, 1, 40);
    CheckCores(CoresOf(KernelKind::kMixAic1Aiv0, 0, "Ascend910B3"), true, 20, 1, 20);
}

// The pages' prototypes return int64_t: in GetBlockIdx() - 1 the difference may be negative.
TEST(indices_are_signed_64_bit) {
    CHECK((std::is_same_v<decltype(GetBlockIdx()), int64_t>));
    CHECK((std::is_same_v<decltype(GetSubBlockIdx()), int64_t>));
    CHECK((std::is_same_v<decltype(GetBlockNum()), int64_t>));
}

// A launch that no chip can run is the host's mistake.
TEST(launches_that_cannot_be_are_refused) {
    const auto launch = [](KernelKind kind, uint32_t blocks) {
        twin::Launch(Config(kind, {}, blocks), [] {});
    };
    launch(KernelKind::kAivOnly, 48);
    CHECK_THROWS_WITH(launch(KernelKind::kAivOnly, 49), std::invalid_argument, "49");
    CHECK_THROWS_WITH(launch(KernelKind::kMixAic1Aiv2, 25), std::invalid_argument, "25");
    CHECK_THROWS_WITH(launch(KernelKind::kAicOnly, 25), std::invalid_argument, "25");
    twin::LaunchConfig nothing = Config(KernelKind::kAivOnly, {});
    nothing.chip = nullptr;
    CHECK_THROWS_WITH(twin::Launch(nothing, [] {}), std::invalid_argument, "chip");
    CHECK(TwinWorks());
}
