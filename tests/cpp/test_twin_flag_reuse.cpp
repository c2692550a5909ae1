// Events and cross-core flags that are used again too early: right in the order that the twin ran,
// undefined in another one.
// Pages: 同步控制/核内同步/SetFlag-WaitFlag(ISASI), 资源管理/TPipe/FetchEventID,
//        同步控制/核间同步/CrossCoreSetFlag(ISASI), 高级编程/硬件实现/硬件约束/NPU架构版本2201.
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

using namespace fixture;

TEST(what_frees_an_event_id) {
    Aiv aiv;
    const auto code = [&](const auto& between) {
        return CodeOf(aiv.Config(), [&] {
            TPipe pipe;
            Sync<HardEvent::MTE2_V>();
            between();
            Sync<HardEvent::MTE2_V>();
        });
    };
    CHECK_EQ(code([] {}), std::string("event-reuse"));
    CHECK_EQ(code([] { Sync<HardEvent::V_MTE2>(); }), std::string());
    CHECK_EQ(code([] { PipeBarrier<PIPE_ALL>(); }), std::string());
    // By way of the store and of the scalar unit.
    CHECK_EQ(code([] {
                 Sync<HardEvent::V_MTE3>();
                 Sync<HardEvent::MTE3_MTE2>();
             }),
             std::string());
    CHECK_EQ(code([] { Sync<HardEvent::V_S>(); }), std::string());
    // Barriers of one pipe, and the way back of another id's wait, do not.
    CHECK_EQ(code([] { PipeBarrier<PIPE_V>(); }), std::string("event-reuse"));
    CHECK_EQ(code([] { PipeBarrier<PIPE_MTE2>(); }), std::string("event-reuse"));
    CHECK_EQ(code([] { Sync<HardEvent::MTE2_MTE3>(); }), std::string("event-reuse"));
    CHECK_EQ(code([] { Sync<HardEvent::MTE2_V>(true, 1); }), std::string("event-reuse"));
}

// The scalar unit goes on when its wait is over, and issues the next set after that.
TEST(an_event_of_the_scalar_unit_is_free_after_its_wait) {
    Aiv aiv;
    const std::string code = CodeOf(aiv.Config(), [&] {
        TPipe pipe;
        Sync<HardEvent::V_S>();
        Sync<HardEvent::V_S>();
    });
    CHECK_EQ(code, std::string());
    CHECK_EQ(CodeOf(aiv.Config(),
                    [&] {
                        TPipe pipe;
                        Sync<HardEvent::S_V>();
                        Sync<HardEvent::S_V>();
                    }),
             std::string("event-reuse"));
}

// A wait can be met by the set behind either pipe.
TEST(sets_of_one_flag_behind_two_pipes_are_not_told_apart) {
    Aiv aiv;
    Pair("cross-core-order", {"flag 0 is set behind MTE2", "behind MTE3", "AIV"},
         aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
             const uint16_t other = mended ? 1 : 0;
             if ASCEND_IS_AIC {
                 CrossCoreWaitFlag(0);
                 CrossCoreWaitFlag(other);
                 return;
             }
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
             mark.Next();
             CrossCoreSetFlag<2, PIPE_MTE2>(other);
         });
    // A signal back says that the first one has been waited for.
    const auto with_answer = [&](bool answer) {
        return CodeOf(aiv.Config(KernelKind::kMixAic1Aiv2), [&, answer] {
            if ASCEND_IS_AIC {
                CrossCoreWaitFlag(0);
                CrossCoreSetFlag<2, PIPE_FIX>(1);
                CrossCoreWaitFlag(0);
                return;
            }
            CrossCoreSetFlag<2, PIPE_MTE3>(0);
            if (answer) CrossCoreWaitFlag(1);
            CrossCoreSetFlag<2, PIPE_MTE2>(0);
            if (!answer) CrossCoreWaitFlag(1);
        });
    };
    CHECK_EQ(with_answer(true), std::string());
    CHECK_EQ(with_answer(false), std::string("cross-core-order"));
}

// "不允许连续设置同一个flagId": in this run every set is waited for before the next one, but
// nothing makes the core that sets wait for that.
TEST(a_flag_is_set_again_after_a_signal_back) {
    Aiv aiv;
    for (const int rounds : {1, 2, 40}) {
        const auto code = [&](bool answer) {
            return CodeOf(aiv.Config(KernelKind::kMixAic1Aiv2), [&, answer] {
                for (int i = 0; i < rounds; ++i) {
                    if ASCEND_IS_AIC {
                        CrossCoreSetFlag<2, PIPE_MTE2>(0);
                        if (answer) CrossCoreWaitFlag(1);
                    } else {
                        CrossCoreWaitFlag(0);
                        if (answer) CrossCoreSetFlag<2, PIPE_MTE3>(1);
                    }
                }
            });
        };
        CHECK_EQ(code(false), std::string(rounds > 1 ? "cross-core-repeat" : ""));
        CHECK_EQ(code(true), std::string());
    }
    // The AIVs: their AIC answers, or does not.
    const auto from_vector = [&](bool answer) {
        return CodeOf(aiv.Config(KernelKind::kMixAic1Aiv2), [&, answer] {
            for (int i = 0; i < 2; ++i) {
                if ASCEND_IS_AIV {
                    CrossCoreSetFlag<2, PIPE_MTE3>(0);
                    if (answer) CrossCoreWaitFlag(1);
                } else {
                    CrossCoreWaitFlag(0);
                    if (answer) CrossCoreSetFlag<2, PIPE_FIX>(1);
                }
            }
        });
    };
    CHECK_EQ(from_vector(false), std::string("cross-core-repeat"));
    CHECK_EQ(from_vector(true), std::string());
    // Cores that join in mode 0 or 1 wait for each other in every round.
    CHECK_EQ(CodeOf(Full(KernelKind::kMixAiv1Aic0, {}, 3),
                    [&] {
                        for (int i = 0; i < 40; ++i) {
                            CrossCoreSetFlag<0, PIPE_MTE3>(0);
                            CrossCoreWaitFlag(0);
                        }
                    }),
             std::string());
    CHECK_EQ(CodeOf(Full(KernelKind::kMixAiv1Aic0, {}, 3),
                    [&] {
                        for (int i = 0; i < 2; ++i) CrossCoreSetFlag<0, PIPE_MTE3>(0);
                        for (int i = 0; i < 2; ++i) CrossCoreWaitFlag(0);
                    }),
             std::string("cross-core-repeat"));
}

// The counter of an AIC does not know who has raised it: all AICs, or its own AIVs.
TEST(a_flag_is_signalled_by_one_group_at_a_time) {
    Aiv aiv;
    Pair("cross-core-order", {"flag 0 is signalled to AIC 0", "by other cores"},
         aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
             const uint16_t own = mended ? 1 : 0;
             if ASCEND_IS_AIC {
                 CrossCoreSetFlag<0, PIPE_FIX>(own);
                 CrossCoreWaitFlag(own);
                 CrossCoreWaitFlag(0);
                 return;
             }
             mark.Next();
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
         });
    // The AIVs set it after they have heard from the AIC.
    CHECK_EQ(CodeOf(aiv.Config(KernelKind::kMixAic1Aiv2),
                    [&] {
                        if ASCEND_IS_AIC {
                            CrossCoreSetFlag<0, PIPE_FIX>(0);
                            CrossCoreWaitFlag(0);
                            CrossCoreSetFlag<2, PIPE_FIX>(1);
                            CrossCoreWaitFlag(0);
                            return;
                        }
                        CrossCoreWaitFlag(1);
                        CrossCoreSetFlag<2, PIPE_MTE3>(0);
                    }),
             std::string());
}
