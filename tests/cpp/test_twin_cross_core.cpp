// Order between cores: the modes of cross-core flags, counters, deadlocks.
#include <cstdint>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::DataCopy;
using AscendC::GetBlockIdx;
using AscendC::GetSubBlockIdx;
using AscendC::HardEvent;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;

namespace {

/// One slot of 16 int32 for each core.
constexpr uint32_t kSlot = 16;

/// AIV: writes `value` to slot `index` through UB.
void StoreFromAiv(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index, int32_t value) {
    const auto ub = Allocate<kUb, int32_t>(pipe, kSlot);
    for (uint32_t i = 0; i < kSlot; ++i) ub.SetValue(i, value);
    SetFlag<HardEvent::S_MTE3>(0);
    WaitFlag<HardEvent::S_MTE3>(0);
    DataCopy(Gm(slots)[index * kSlot], ub, kSlot);
}

int32_t LoadOnAiv(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index) {
    const auto ub = Allocate<kUb, int32_t>(pipe, kSlot);
    DataCopy(ub, Gm(slots)[index * kSlot], kSlot);
    SetFlag<HardEvent::MTE2_S>(0);
    WaitFlag<HardEvent::MTE2_S>(0);
    return ub.GetValue(kSlot - 1);
}

/// AIC: writes `value` to slot `index` through L0C.
void StoreFromAic(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index, int32_t value) {
    const auto l0c = Allocate<TPosition::CO1, int32_t>(pipe, 256);
    for (uint32_t i = 0; i < kSlot; ++i) Poke(l0c, i, value);
    AscendC::FixpipeParamsV220 params;
    params.nSize = 16;
    params.mSize = 1;
    params.srcStride = 16;
    params.dstStride = 16;
    AscendC::Fixpipe(Gm(slots)[index * kSlot], l0c, params);
}

int32_t LoadOnAic(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index) {
    const auto l1 = Allocate<TPosition::A1, int32_t>(pipe, kSlot);
    DataCopy(l1, Gm(slots)[index * kSlot], kSlot);
    PipeBarrier<PIPE_ALL>();
    return Peek(l1, kSlot - 1);
}

}  // namespace

// ---- 同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI), 关键特性说明} ----

// Mode 0: all AICs wait for each other, and all AIVs. Every core writes its slot and then reads the
// next core's; the two types use the same id without meeting.
TEST(mode_0_joins_all_cores_of_a_type) {
    for (const char* chip : {"Ascend910_9391", "Ascend910B3"}) {
        const uint32_t aics = arch::FindChip(chip).aic_count;
        std::vector<int32_t> slots(3 * aics * kSlot, -1);
        std::vector<int32_t> aic_saw(aics);
        std::vector<int32_t> aiv_saw(2 * aics);
        twin::Launch(Config(KernelKind::kMixAic1Aiv2, {Output("slots", slots)}, 0, chip), [&] {
            TPipe pipe;
            const auto index = static_cast<uint32_t>(GetBlockIdx());
            if ASCEND_IS_AIC {
                StoreFromAic(pipe, slots, index, 1000 + static_cast<int32_t>(index));
                CrossCoreSetFlag<0, PIPE_FIX>(3);
                CrossCoreWaitFlag(3);
                aic_saw[index] = LoadOnAic(pipe, slots, (index + 1) % aics);
            } else {
                StoreFromAiv(pipe, slots, aics + index, 2000 + static_cast<int32_t>(index));
                CrossCoreSetFlag<0, PIPE_MTE3>(3);
                CrossCoreWaitFlag(3);
                aiv_saw[index] = LoadOnAiv(pipe, slots, aics + (index + 1) % (2 * aics));
            }
        });
        for (uint32_t i = 0; i < aics; ++i) CHECK_EQ(aic_saw[i], 1000 + (i + 1) % aics);
        for (uint32_t i = 0; i < 2 * aics; ++i) CHECK_EQ(aiv_saw[i], 2000 + (i + 1) % (2 * aics));
    }
}

// The counter of a core goes up when the last core has set: a core may set twice before the others
// once.
TEST(mode_0_counts_rounds) {
    std::vector<int> order;
    OnGroup({}, [&] {
        if ASCEND_IS_AIV {
            CrossCoreSetFlag<0, PIPE_MTE3>(0);
            if (GetBlockIdx() == 0) CrossCoreSetFlag<0, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
            order.push_back(1);
            if (GetBlockIdx() == 1) CrossCoreSetFlag<0, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
            order.push_back(2);
        }
    });
    CHECK_EQ(order.size(), 4u);
    CHECK_EQ(order[0], 1);
    CHECK_EQ(order[3], 2);
}

// Mode 1: the two AIVs of a group; "不同AI Core的AIV核之间不会互相影响同步".
TEST(mode_1_joins_the_aivs_of_a_group) {
    std::vector<int32_t> slots(48 * kSlot, -1);
    std::vector<int32_t> saw(48);
    twin::Launch(Config(KernelKind::kMixAic1Aiv2, {Output("slots", slots)}, 0), [&] {
        if ASCEND_IS_AIV {
            TPipe pipe;
            const auto index = static_cast<uint32_t>(GetBlockIdx());
            if (index / 2 == 7) return;  // a group that stays away
            StoreFromAiv(pipe, slots, index, 3000 + static_cast<int32_t>(index));
            CrossCoreSetFlag<1, PIPE_MTE3>(15);
            CrossCoreWaitFlag(15);
            saw[index] = LoadOnAiv(pipe, slots, index ^ 1);
        }
    });
    for (uint32_t i = 0; i < 48; ++i) CHECK_EQ(saw[i], i / 2 == 7 ? 0 : 3000 + int32_t(i ^ 1));
}

// Mode 2: "两个AIV都执行CrossCoreSetFlag后，AIC上CrossCoreWaitFlag后续的指令才能执行", and one set
// of the AIC frees both AIVs. The same id serves both directions: each core has its own counter.
TEST(mode_2_joins_an_aic_and_its_aivs) {
    std::vector<int32_t> slots(3 * 24 * kSlot, -1);
    std::vector<int32_t> aic_saw(48);
    std::vector<int32_t> aiv_saw(48);
    twin::Launch(Config(KernelKind::kMixAic1Aiv2, {Output("slots", slots)}, 0), [&] {
        TPipe pipe;
        const auto index = static_cast<uint32_t>(GetBlockIdx());
        if ASCEND_IS_AIC {
            CrossCoreWaitFlag(0);
            for (uint32_t i = 2 * index; i < 2 * index + 2; ++i)
                aic_saw[i] = LoadOnAic(pipe, slots, i);
            StoreFromAic(pipe, slots, 48 + index, 5000 + static_cast<int32_t>(index));
            CrossCoreSetFlag<2, PIPE_FIX>(0);
        } else {
            StoreFromAiv(pipe, slots, index, 4000 + static_cast<int32_t>(index));
            CrossCoreSetFlag<2, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
            aiv_saw[index] = LoadOnAiv(pipe, slots, 48 + index / 2);
        }
    });
    for (uint32_t i = 0; i < 48; ++i) {
        CHECK_EQ(aic_saw[i], 4000 + int32_t(i));
        CHECK_EQ(aiv_saw[i], 5000 + int32_t(i / 2));
    }
}

// CrossCoreWaitFlag: on this architecture mode and pipe of the wait have no effect.
TEST(mode_and_pipe_of_a_wait_have_no_effect) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIC {
            CrossCoreSetFlag<2, PIPE_MTE2>(4);
        } else if (GetSubBlockIdx() == 0) {
            CrossCoreWaitFlag<1, PIPE_V>(4);
            CHECK(true);
        } else {
            CrossCoreWaitFlag<2, PIPE_MTE2>(4);
            CHECK(true);
        }
    });
}

// An id may serve another mode once the first is done; a core has one counter for an id.
TEST(an_id_may_change_its_mode_when_all_is_paired) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIV {
            CrossCoreSetFlag<1, PIPE_MTE3>(6);
            CrossCoreWaitFlag(6);
            CrossCoreSetFlag<1, PIPE_MTE3>(7);  // both AIVs are past their wait for 6
            CrossCoreWaitFlag(7);
            CrossCoreSetFlag<2, PIPE_MTE3>(6);
            CrossCoreWaitFlag(6);
        } else {
            CrossCoreWaitFlag(6);
            CrossCoreSetFlag<2, PIPE_FIX>(6);
            CHECK(true);
        }
    });
}

// "须在模式切换前完成前一个模式的所有同步操作".
TEST(an_id_must_not_change_its_mode_before) {
    GroupBreaks("cross-core-flag", {"AIV 0", "flag 6", "mode 1", "mode 2"}, [] {
        if ASCEND_IS_AIV {
            CrossCoreSetFlag<1, PIPE_MTE3>(6);
            CrossCoreSetFlag<2, PIPE_MTE3>(6);
            CrossCoreWaitFlag(6);
        } else {
            CrossCoreWaitFlag(6);
        }
    });
}

// Pipes of CrossCoreSetFlag, as far as the core has them.
TEST(cross_core_flags_of_each_core_type) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIC {
            CrossCoreSetFlag<2, PIPE_M>(0);
            CrossCoreSetFlag<2, PIPE_MTE1>(0);
            CrossCoreSetFlag<2, PIPE_MTE2>(0);
            CrossCoreSetFlag<2, PIPE_MTE3>(0);
            CrossCoreSetFlag<2, PIPE_FIX>(0);
        } else {
            for (int i = 0; i < 5; ++i) CrossCoreWaitFlag(0);
            CrossCoreSetFlag<1, PIPE_V>(1);
            CrossCoreSetFlag<1, PIPE_MTE2>(2);
            CrossCoreSetFlag<1, PIPE_MTE3>(3);
            for (uint16_t id = 1; id < 4; ++id) CrossCoreWaitFlag(id);
            CHECK(true);
        }
    });
    GroupBreaks("wrong-core", {"AIC 0"}, [] {
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_V>(0);
    });
    GroupBreaks("wrong-core", {"AIV 0"}, [] {
        if ASCEND_IS_AIV
            CrossCoreSetFlag<2, PIPE_FIX>(0);
    });
    // Mode 1 is "AIV核之间的同步控制".
    GroupBreaks("cross-core-flag", {"AIC 0", "mode 1"}, [] {
        if ASCEND_IS_AIC
            CrossCoreSetFlag<1, PIPE_FIX>(0);
    });
}

// Mode 2 from one AIV only: the AIC waits for ever. The report names who waits for which flag and
// who has set.
TEST(mode_2_needs_both_aivs) {
    int line = 0;
    GroupBreaks("deadlock", {"AIC 0 waits for flag 5", "AIV 0"}, [&] {
        if ASCEND_IS_AIC {
            CrossCoreWaitFlag(5);
        } else if (GetSubBlockIdx() == 0) {
            CrossCoreSetFlag<2, PIPE_MTE3>(5);
        }
    });
    try {
        OnGroup({}, [&] {
            if ASCEND_IS_AIC {
                line = __LINE__ + 1;
                CrossCoreWaitFlag(5);
            } else if (GetSubBlockIdx() == 1) {
                CrossCoreSetFlag<2, PIPE_MTE3>(5);
            }
        });
        CHECK(false);
    } catch (const twin::Error& error) {
        CHECK_EQ(error.line, line);
        const std::string what = error.what();
        CHECK(what.find("AIC 0") != std::string::npos);
        CHECK(what.find("AIV 1") != std::string::npos);
    }
}

TEST(waiting_for_nobody_is_a_deadlock) {
    GroupBreaks("deadlock", {"AIV 1", "flag 9"}, [] {
        if ASCEND_IS_AIV {
            if (GetSubBlockIdx() == 1) CrossCoreWaitFlag(9);
        }
    });
    GroupBreaks("deadlock", {"AIC 0", "AIV 0", "AIV 1"}, [] {  // each waits for the other
        CrossCoreWaitFlag(0);
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(0);
        if ASCEND_IS_AIV
            CrossCoreSetFlag<2, PIPE_MTE3>(0);
    });
}

// Mode 0 without one of the 24 AICs, mode 1 without one of the two AIVs.
TEST(a_missing_core_is_a_deadlock) {
    Breaks("deadlock", {"AIC 0 waits for flag 2", "AIC 1"}, [] {
        twin::Launch(Config(KernelKind::kMixAic1Aiv2, {}, 0), [] {
            if ASCEND_IS_AIC {
                if (GetBlockIdx() == 17) return;
                CrossCoreSetFlag<0, PIPE_FIX>(2);
                CrossCoreWaitFlag(2);
            }
        });
    });
    GroupBreaks("deadlock", {"AIV 0 waits for flag 2"}, [] {
        if ASCEND_IS_AIV {
            if (GetSubBlockIdx() == 1) return;
            CrossCoreSetFlag<1, PIPE_MTE3>(2);
            CrossCoreWaitFlag(2);
        }
    });
}

// "每一个计数器计数范围为0-15...计数器的值超出该范围，则会异常报错": the AIVs hold still until all
// sets are there.
TEST(counters_end_at_15) {
    const auto kernel = [](int sets) {
        if ASCEND_IS_AIC {
            for (int i = 0; i < sets; ++i) CrossCoreSetFlag<2, PIPE_FIX>(0);
            CrossCoreSetFlag<2, PIPE_FIX>(1);
        } else {
            CrossCoreWaitFlag(1);
            for (int i = 0; i < sets; ++i) CrossCoreWaitFlag(0);
        }
    };
    OnGroup({}, [&] {
        kernel(15);
        CHECK(true);
    });
    GroupBreaks("cross-core-counter", {"flag 0", "AIV 0", "15"}, [&] { kernel(16); });
}

// "用户需要确保配套使用CrossCoreSetFlag和CrossCoreWaitFlag".
TEST(flags_are_waited_for_before_the_kernel_ends) {
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"}, [] {  // nobody waits
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(3);
    });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"}, [] {  // one of two waits
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(3);
        if ASCEND_IS_AIV {
            if (GetSubBlockIdx() == 0) CrossCoreWaitFlag(3);
        }
    });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"},
                [] {  // both AIVs set, the AIC does not wait
                    if ASCEND_IS_AIV
                        CrossCoreSetFlag<2, PIPE_MTE3>(3);
                });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"},
                [] {  // one AIV sets, which does not even count
                    if ASCEND_IS_AIV {
                        if (GetSubBlockIdx() == 0) CrossCoreSetFlag<2, PIPE_MTE3>(3);
                    }
                });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"},
                [] {  // a round of mode 0 that nobody waits for
                    if ASCEND_IS_AIV
                        CrossCoreSetFlag<0, PIPE_MTE3>(3);
                });
}

// "支持的取值范围为0-15". The hardware would take the low 4 bits, that is flag 0: no kernel means
// that.
TEST(flag_ids_are_0_to_15) {
    GroupBreaks("parameter-range", {"16", "15"}, [] {
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(16);
    });
    GroupBreaks("parameter-range", {"16", "15"}, [] {
        if ASCEND_IS_AIC
            CrossCoreWaitFlag(16);
    });
}

// Table 3 and its note: without the scheduling module of a mixed kernel there is no cross-core
// synchronisation; a kernel of one core type has mode 0 only.
TEST(cross_core_flags_need_a_mixed_kernel_type) {
    AicBreaks("cross-core-flag", {}, {}, [] { CrossCoreSetFlag<0, PIPE_FIX>(0); });
    AicBreaks("cross-core-flag", {}, {}, [] { CrossCoreWaitFlag(0); });
    AivBreaks("cross-core-flag", {}, {}, [] { CrossCoreSetFlag<0, PIPE_MTE3>(0); });
    AivBreaks("cross-core-flag", {}, {}, [] { CrossCoreWaitFlag(0); });

    std::vector<uint32_t> passed;
    twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}, 0), [&] {
        CrossCoreSetFlag<0, PIPE_MTE3>(0);
        CrossCoreWaitFlag(0);
        passed.push_back(static_cast<uint32_t>(GetBlockIdx()));
    });
    CHECK_EQ(passed.size(), 48u);
    twin::Launch(Config(KernelKind::kMixAic1Aiv0, {}, 0), [&] {
        CrossCoreSetFlag<0, PIPE_FIX>(0);
        CrossCoreWaitFlag(0);
        passed.push_back(static_cast<uint32_t>(GetBlockIdx()));
    });
    CHECK_EQ(passed.size(), 72u);

    Breaks("cross-core-flag", {}, [] {
        twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}, 2), [] {
            CrossCoreSetFlag<1, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
        });
    });
    Breaks("cross-core-flag", {}, [] {
        twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}, 2),
                     [] { CrossCoreSetFlag<2, PIPE_MTE3>(0); });
    });
    Breaks("cross-core-flag", {}, [] {
        twin::Launch(Config(KernelKind::kMixAic1Aiv0, {}, 2),
                     [] { CrossCoreSetFlag<2, PIPE_FIX>(0); });
    });
}
