// SyncAll, the form without workspace (同步控制/核间同步/SyncAll).
#include <set>
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

using namespace fixture;
using AscendC::SyncAll;

namespace {

constexpr uint32_t kBlocks = 3;

twin::LaunchConfig Launched(KernelKind kind, std::vector<GmTensor> tensors = {}) {
    return Full(kind, std::move(tensors), kBlocks);
}

}  // namespace

// "纯Vector算子的全核同步": every AIV stores its part, and reads that of all others.
TEST(sync_all_joins_the_aivs) {
    std::vector<float> parts(kBlocks * kCount, 0.0F);
    std::vector<float> seen(kBlocks * kBlocks, 0.0F);
    Pair("core-race", {"DataCopy on MTE3 writes", "which reads them", "AIV 1"},
         Launched(KernelKind::kMixAiv1Aic0, {Output("parts", parts)}),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto core = static_cast<uint32_t>(GetBlockIdx());
             for (int round = 0; round < 2; ++round) {
                 Duplicate(ub, static_cast<float>(core + 10 * round), kCount);
                 All();
                 mark.Next();
                 DataCopy(Gm(parts)[core * kCount], ub, kCount);
                 if (mended) SyncAll();
                 for (uint32_t other = 0; other < kBlocks; ++other) {
                     All();
                     DataCopy(ub, Gm(parts)[other * kCount], kCount);
                     All();
                     seen[core * kBlocks + other] = Peek(ub, 0);
                 }
                 // It follows MTE3: that MTE2 has read everything takes an event.
                 Sync<HardEvent::MTE2_MTE3>();
                 if (mended) SyncAll<true>();
             }
         });
    for (uint32_t i = 0; i < seen.size(); ++i) CHECK_EQ(seen[i], 10.0F + i % kBlocks);
}

// "融合算子的全核同步": what any core of either type has stored is there for all.
TEST(sync_all_joins_cubes_and_vectors) {
    Aic aic;
    std::vector<float> out(kBlocks * 3 * 256, 0.0F);
    std::vector<float> seen(kBlocks * 3, 0.0F);
    Pair("core-race", {"DataCopy on MTE3 writes", "which reads them", "AIV 1"},
         Launched(KernelKind::kMixAic1Aiv2, {Input("in", aic.in), Output("out", out)}),
         [&](bool mended, Mark& mark) {
             const auto core = static_cast<uint32_t>(GetBlockIdx());
             const uint32_t mine = (ASCEND_IS_AIC ? 0 : kBlocks) + core;
             const uint32_t other = (mine + 4) % (3 * kBlocks);
             if ASCEND_IS_AIC {
                 Cube cube;
                 FillL0c(cube, aic.in);
                 Fixpipe(Gm(out)[mine * 256], cube.l0c, StoreRows(16));
                 if (mended) SyncAll<false>();
                 const auto l1 = Allocate<kL1, float>(cube.pipe, 256);
                 DataCopy(l1, Gm(out)[other * 256], WholeMatrix(16, 16));
                 All();
                 seen[mine] = Peek(l1, 0);
             } else {
                 TPipe pipe;
                 const auto ub = Ones(pipe);
                 mark.Next();
                 DataCopy(Gm(out)[mine * 256], ub, kCount);
                 if (mended) SyncAll<false>();
                 const auto to = Ub(pipe);
                 DataCopy(to, Gm(out)[other * 256], kCount);
                 All();
                 seen[mine] = Peek(to, 0);
             }
         });
    for (uint32_t i = 0; i < seen.size(); ++i) {
        CHECK_EQ(seen[i], (i + 4) % (3 * kBlocks) < kBlocks ? 16.0F : 1.0F);
    }
}

TEST(sync_all_follows_mte3) {
    Aiv aiv;
    Pair("core-race", {"DataCopy on MTE3 writes", "which reads them"},
         Launched(KernelKind::kMixAiv1Aic0, {Output("out", aiv.out)}),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto ones = Ones(pipe);
             if (GetBlockIdx() == 0) DataCopy(ub, Gm(aiv.out), kCount);
             Sync<HardEvent::MTE2_MTE3>(mended);
             SyncAll();
             if (GetBlockIdx() != 1) return;
             mark.Next();
             DataCopy(Gm(aiv.out), ones, kCount);
         });
}

// "对于纯Vector算子，模板参数isAIVOnly必须设置为true，否则会导致程序卡死"; with true, a mixed
// kernel joins its AIVs only; kernels of one core type have no scheduling.
TEST(sync_all_needs_its_kernel_type) {
    const auto code = [](KernelKind kind, auto kernel) { return CodeOf(Launched(kind), kernel); };
    const std::string wrong = "cross-core-flag";
    const auto vectors = [] { SyncAll<true>(); };
    const auto both = [] { SyncAll<false>(); };
    CHECK_EQ(code(KernelKind::kMixAiv1Aic0, vectors), std::string());
    CHECK_EQ(code(KernelKind::kMixAiv1Aic0, both), wrong);
    CHECK_EQ(code(KernelKind::kAivOnly, vectors), wrong);
    CHECK_EQ(code(KernelKind::kAicOnly, both), wrong);
    CHECK_EQ(code(KernelKind::kMixAic1Aiv0, both), wrong);
    CHECK_EQ(code(KernelKind::kMixAic1Aiv2, both), std::string());
    CHECK_EQ(code(KernelKind::kMixAic1Aiv2, vectors), wrong);  // on an AIC
    CHECK_EQ(code(KernelKind::kMixAic1Aiv2,
                  [] {
                      if ASCEND_IS_AIV
                          SyncAll<true>();
                  }),
             std::string());
}

TEST(sync_all_waits_for_every_core) {
    Breaks("deadlock", {"waits for flag 11"}, [] {
        twin::Launch(Launched(KernelKind::kMixAiv1Aic0), [] {
            if (GetBlockIdx() != 1) SyncAll();
        });
    });
    Breaks("deadlock", {"waits for flag 12"}, [] {
        twin::Launch(Launched(KernelKind::kMixAic1Aiv2), [] {
            bool stays_away = false;
            if ASCEND_IS_AIV
                stays_away = GetBlockIdx() == 4;
            if (!stays_away) SyncAll<false>();
        });
    });
}

// "SyncAll硬件同步接口flagId占用范围为[11-14]": whichever comes first.
TEST(sync_all_and_its_flags_exclude_each_other) {
    for (uint16_t flag = 0; flag < 16; ++flag) {
        for (const bool before : {false, true}) {
            const std::string code = CodeOf(Launched(KernelKind::kMixAiv1Aic0), [&] {
                if (!before) SyncAll();
                CrossCoreSetFlag<0, PIPE_MTE3>(flag);
                CrossCoreWaitFlag(flag);
                if (before) SyncAll();
            });
            CHECK_EQ(code, std::string(flag < 11 || flag > 14 ? "" : "cross-core-flag"));
        }
        // Without SyncAll they are flags like others.
        CHECK_EQ(CodeOf(Launched(KernelKind::kMixAiv1Aic0),
                        [&] {
                            CrossCoreSetFlag<0, PIPE_MTE3>(flag);
                            CrossCoreWaitFlag(flag);
                        }),
                 std::string());
    }
    Breaks("cross-core-flag", {"flag 12, which belongs to SyncAll", "test_twin_sync_all.cpp:"}, [] {
        twin::Launch(Launched(KernelKind::kMixAiv1Aic0), [] {
            SyncAll();
            CrossCoreWaitFlag(12);
        });
    });
}

// It is one call, which can be left out like any other.
TEST(sync_all_is_one_call) {
    twin::CallLog log;
    auto config = Launched(KernelKind::kMixAic1Aiv2);
    config.calls = &log;
    const auto kernel = [] { SyncAll<false>(); };
    twin::Launch(config, kernel);
    CHECK_EQ(log.calls.size(), size_t{1});
    CHECK_EQ(log.calls.begin()->first.kind, std::string("SyncAll<false>"));
    CHECK(log.met.empty());
    const twin::Mutation left_out{{log.calls.begin()->first}};
    config.mutation = &left_out;
    CHECK_EQ(CodeOf(config, kernel), std::string());
}
