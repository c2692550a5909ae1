// Accesses of several cores that nothing orders.
// Pages: 同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI)}.
#include <cstdint>
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

using namespace fixture;

// Two AICs, through the fixpipe and mode 0.
TEST(an_aic_reads_what_another_one_stores) {
    Aic aic;
    Pair("core-race",
         {"DataCopy (ND2NZ) on MTE2 reads", "GM tensor 'out'", "Fixpipe on FIX of AIC 0"},
         aic.Config(KernelKind::kMixAic1Aiv2, 2), [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIV
                 return;
             Cube cube;
             if (GetBlockIdx() == 0) {
                 FillL0c(cube, aic.in);
                 Fixpipe(Gm(aic.out), cube.l0c, StoreRows(16));
             }
             if (mended) {
                 CrossCoreSetFlag<0, PIPE_FIX>(0);
                 CrossCoreWaitFlag(0);
             }
             if (GetBlockIdx() == 0) return;
             const auto l1 = Allocate<kL1, float>(cube.pipe, 256);
             mark.Next();
             DataCopy(l1, Gm(aic.out), WholeMatrix(16, 16));
         });
}

// AIC -> AIV: the flag is missing, on another pipe than the store, before the store, waited for by
// one AIV only, or waited for after the load.
TEST(an_aiv_reads_what_its_aic_stores) {
    enum class Fault { kNone, kNoFlag, kOtherPipe, kSetEarly, kOneWaits, kWaitLate };
    for (const Fault fault : {Fault::kNoFlag, Fault::kOtherPipe, Fault::kSetEarly, Fault::kOneWaits,
                              Fault::kWaitLate}) {
        Aic aic;
        const std::string core = fault == Fault::kOneWaits ? "AIV 1" : "AIV 0";
        Pair(
            "core-race", {"DataCopy on MTE2 reads", "GM tensor 'out'", "CrossCoreSetFlag", core},
            aic.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
                const Fault now = mended ? Fault::kNone : fault;
                if ASCEND_IS_AIC {
                    Cube cube;
                    FillL0c(cube, aic.in);
                    if (now == Fault::kSetEarly) CrossCoreSetFlag<2, PIPE_FIX>(0);
                    Fixpipe(Gm(aic.out), cube.l0c, StoreRows(16));
                    if (now == Fault::kOtherPipe) CrossCoreSetFlag<2, PIPE_MTE2>(0);
                    if (now == Fault::kNone || now == Fault::kOneWaits || now == Fault::kWaitLate) {
                        CrossCoreSetFlag<2, PIPE_FIX>(0);
                    }
                    return;
                }
                TPipe pipe;
                const auto ub = Ub(pipe);
                const bool waits = now != Fault::kNoFlag && now != Fault::kWaitLate &&
                                   !(now == Fault::kOneWaits && GetSubBlockIdx() == 1);
                if (waits) CrossCoreWaitFlag(0);
                mark.Next();
                DataCopy(ub, Gm(aic.out), kCount);
                if (now == Fault::kWaitLate) CrossCoreWaitFlag(0);
            });
    }
}

// The two AIVs of a group, mode 1; a flag behind the wrong pipe is none.
TEST(an_aiv_reads_what_the_other_one_stores) {
    for (const bool wrong_pipe : {false, true}) {
        Aiv aiv;
        Pair("core-race", {"DataCopy on MTE2 reads", "DataCopy on MTE3 of AIV 0", "AIV 1"},
             aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
                 if ASCEND_IS_AIC
                     return;
                 TPipe pipe;
                 const auto ub = Ones(pipe);
                 if (GetSubBlockIdx() == 0) DataCopy(Gm(aiv.out), ub, kCount);
                 if (mended) {
                     CrossCoreSetFlag<1, PIPE_MTE3>(0);
                 } else if (wrong_pipe) {
                     CrossCoreSetFlag<1, PIPE_MTE2>(0);
                 }
                 if (mended || wrong_pipe) CrossCoreWaitFlag(0);
                 if (GetSubBlockIdx() == 0) return;
                 mark.Next();
                 DataCopy(ub, Gm(aiv.out), kCount);
             });
    }
}

// AIV -> AIC. Without flags the AIC comes first in the twin: the report names the AIV then, which
// writes what has been read.
TEST(an_aic_and_an_aiv_meet_in_gm_whoever_comes_first) {
    std::vector<half> ground(256, Half(1.0F));
    const auto config = Full(KernelKind::kMixAic1Aiv2, {Output("ground", ground)});
    const auto load = [&](TPipe& pipe, Mark& mark) {
        const auto l1 = Allocate<kL1, half>(pipe, 256);
        mark.Next();
        DataCopy(l1, Gm(ground), 256);
    };
    const auto store = [&](TPipe& pipe, Mark& mark) {
        const auto ub = Allocate<kUb, half>(pipe, 128);
        Duplicate(ub, Half(2.0F), 128);
        Sync<HardEvent::V_MTE3>();
        mark.Next();
        DataCopy(Gm(ground)[GetSubBlockIdx() * 128], ub, 128);
    };
    Pair("core-race", {"DataCopy on MTE3 writes", "which reads them", "AIV 0"}, config,
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             if ASCEND_IS_AIC {
                 if (mended) CrossCoreWaitFlag(0);
                 load(pipe, mark);
             } else {
                 store(pipe, mark);
                 if (mended) CrossCoreSetFlag<2, PIPE_MTE3>(0);
             }
         });
    // The other way round: the AIVs overwrite what the AIC has read.
    Pair("core-race", {"DataCopy on MTE3 writes", "which reads them"}, config,
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             if ASCEND_IS_AIC {
                 if (!mended) CrossCoreSetFlag<2, PIPE_MTE2>(0);  // before the load
                 load(pipe, mark);
                 if (mended) CrossCoreSetFlag<2, PIPE_MTE2>(0);
             } else {
                 CrossCoreWaitFlag(0);
                 store(pipe, mark);
             }
         });
}

TEST(two_cores_that_write_the_same_bytes_race) {
    Aiv aiv;
    Pair("core-race", {"writes", "which writes them", "AIV 1"},
         aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIC
                 return;
             TPipe pipe;
             const auto ub = Ones(pipe);
             const int64_t first = mended ? GetSubBlockIdx() * kCount : 0;
             mark.Next();
             DataCopy(Gm(aiv.out)[first], ub, kCount);
         });
}

// The words of a 32-byte block may belong to two cores, and so may the bytes of a word: a transfer
// writes the bytes that it names.
TEST(cores_may_share_a_block_of_gm) {
    Aiv aiv;
    const auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    const auto kernel = [&](uint32_t bytes, uint32_t apart) {
        return [&, bytes, apart] {
            if ASCEND_IS_AIC
                return;
            TPipe pipe;
            const auto ub = Allocate<kUb, half>(pipe, 16);
            Duplicate(ub, Half(1.0F), 16);
            Sync<HardEvent::V_MTE3>();
            const auto to = GmAt<half>(aiv.out, GetSubBlockIdx() * apart);
            DataCopyPad(to, ub, {1, bytes, 0, 0, 0});
        };
    };
    CHECK_EQ(CodeOf(config, kernel(16, 16)), std::string());
    CHECK_EQ(CodeOf(config, kernel(4, 4)), std::string());
    CHECK_EQ(CodeOf(config, kernel(8, 4)), std::string("core-race"));
}

// ---- order through a third party ----

TEST(order_goes_through_a_third_pipe) {
    Aiv aiv;
    Pair("pipe-race", {"DataCopy on MTE3 reads", "DataCopy on MTE2"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             DataCopy(ub, Gm(aiv.in), kCount);
             // Each event is there in both; in this order V hands on what it does not have yet.
             if (!mended) Sync<HardEvent::V_MTE3>();
             Sync<HardEvent::MTE2_V>();
             if (mended) Sync<HardEvent::V_MTE3>();
             mark.Next();
             DataCopy(Gm(aiv.out), ub, kCount);
         });
}

// AIV 0 -> AIC -> AIV 1, which never hears of AIV 0 otherwise.
TEST(order_goes_through_a_third_core) {
    Aiv aiv;
    Pair("core-race", {"DataCopy on MTE2 reads", "on MTE3 of AIV 0", "AIV 1"},
         aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIC {
                 if (mended) CrossCoreWaitFlag(0);
                 CrossCoreSetFlag<2, PIPE_FIX>(1);
                 if (!mended) CrossCoreWaitFlag(0);
                 return;
             }
             TPipe pipe;
             const auto ub = Ones(pipe);
             if (GetSubBlockIdx() == 0) DataCopy(Gm(aiv.out), ub, kCount);
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
             CrossCoreWaitFlag(1);
             if (GetSubBlockIdx() == 0) return;
             mark.Next();
             DataCopy(ub, Gm(aiv.out), kCount);
         });
}

// The same two ids over and over, two buffers in turn; without the events that hand the buffers
// back the second round overwrites what is still in use.
TEST(events_are_used_again_in_a_loop) {
    Aiv aiv;
    Pair("pipe-race", {"DataCopy on MTE2 writes", "V_MTE2"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const LocalTensor<float> in[] = {Ub(pipe), Ub(pipe)};
             const LocalTensor<float> out[] = {Ub(pipe), Ub(pipe)};
             for (int id = 0; id < 2; ++id) {
                 SetFlag<HardEvent::V_MTE2>(id);
                 SetFlag<HardEvent::MTE3_V>(id);
             }
             for (int i = 0; i < 6; ++i) {
                 const int id = i % 2;
                 if (mended || i < 2) WaitFlag<HardEvent::V_MTE2>(id);
                 PipeBarrier<PIPE_MTE2>();
                 mark.Next();
                 DataCopy(in[id], Gm(aiv.in), kCount);
                 Sync<HardEvent::MTE2_V>(true, id);
                 WaitFlag<HardEvent::MTE3_V>(id);
                 PipeBarrier<PIPE_V>();
                 Muls(out[id], in[id], 2.0F, kCount);
                 if (mended) SetFlag<HardEvent::V_MTE2>(id);
                 Sync<HardEvent::V_MTE3>(true, id);
                 PipeBarrier<PIPE_MTE3>();
                 DataCopy(Gm(aiv.out)[id * kCount], out[id], kCount);
                 SetFlag<HardEvent::MTE3_V>(id);
             }
             for (int id = 0; id < 2; ++id) {
                 WaitFlag<HardEvent::V_MTE2>(id);
                 WaitFlag<HardEvent::MTE3_V>(id);
             }
         });
}

// Sets count up: every round of waits takes what its own set knew, not what a later one does.
TEST(a_signal_knows_what_was_complete_at_its_set) {
    Aiv aiv;
    Pair("core-race", {"DataCopy on MTE2 reads", "AIV 1"}, aiv.Config(KernelKind::kMixAic1Aiv2),
         [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIC
                 return;
             TPipe pipe;
             const auto ub = Ones(pipe);
             for (int round = 0; round < 2; ++round) {
                 if (GetSubBlockIdx() == 0) DataCopy(Gm(aiv.out)[round * kCount], ub, kCount);
                 CrossCoreSetFlag<1, PIPE_MTE3>(0);
             }
             CrossCoreWaitFlag(0);
             if (mended) CrossCoreWaitFlag(0);
             if (GetSubBlockIdx() == 1) {
                 mark.Next();
                 DataCopy(ub, Gm(aiv.out)[kCount], kCount);
             }
             if (!mended) CrossCoreWaitFlag(0);
         });
}
