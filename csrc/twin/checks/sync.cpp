// Events, cross-core flags, TPipe and the type of a kernel.
// Pages: 同步控制/核内同步/SetFlag-WaitFlag(ISASI),
//        同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI)},
//        资源管理/TPipe, Kernel-Tiling/设置Kernel类型.
#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::GetSubBlockIdx;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;

namespace {

std::vector<Pair> Events() {
    return {
        {"event-id",
         "the id of an event is beyond 7",
         {"SetFlag<MTE2_V>", "event id 8"},
         Aiv(),
         [](Run& run) {
             const int id = run.fixed() ? 5 : 8;
             run.Next();
             SetFlag<HardEvent::MTE2_V>(id);
             WaitFlag<HardEvent::MTE2_V>(id);
         }},
        {"event-id",
         "the id of an event is one of the framework's",
         {"SetFlag<MTE2_V>", "event id 6", "belong to the framework"},
         Aiv(),
         [](Run& run) {
             const int id = run.fixed() ? 5 : 6;
             run.Next();
             SetFlag<HardEvent::MTE2_V>(id);
             WaitFlag<HardEvent::MTE2_V>(id);
         }},
        {"event-id",
         "more ids of an event are taken than a kernel may",
         {"no event id of MTE2_V is free"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const int count = run.fixed() ? 6 : 7;
             AscendC::TEventID ids[7];
             for (int i = 0; i < count; ++i) {
                 run.Next();
                 ids[i] = pipe.AllocEventID<HardEvent::MTE2_V>();
             }
             for (int i = 0; i < count; ++i) pipe.ReleaseEventID<HardEvent::MTE2_V>(ids[i]);
         }},
        {"event-id",
         "the id of an event is never released",
         {"MTE2_V", "never released"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             run.Next();
             const auto id = pipe.AllocEventID<HardEvent::MTE2_V>();
             if (run.fixed()) pipe.ReleaseEventID<HardEvent::MTE2_V>(id);
         }},
        {"event-set-twice",
         "an event is set again before it was waited for",
         {"SetFlag<MTE2_V>(3)"},
         Aiv(),
         [](Run& run) {
             SetFlag<HardEvent::MTE2_V>(3);
             if (run.fixed()) {
                 WaitFlag<HardEvent::MTE2_V>(3);
                 Sync<HardEvent::V_MTE2>();
             }
             run.Next();
             SetFlag<HardEvent::MTE2_V>(3);
             WaitFlag<HardEvent::MTE2_V>(3);
         }},
        {"unpaired-event",
         "an event is set and never waited for",
         {"MTE2_V", "never waited for"},
         Aiv(),
         [](Run& run) {
             run.Next();
             SetFlag<HardEvent::MTE2_V>(0);
             if (run.fixed()) WaitFlag<HardEvent::MTE2_V>(0);
         }},
        {"unpaired-event",
         "an event is waited for that nothing has set",
         {"WaitFlag<MTE1_M>(2)"},
         Aic(),
         [](Run& run) {
             if (run.fixed()) SetFlag<HardEvent::MTE1_M>(2);
             run.Next();
             WaitFlag<HardEvent::MTE1_M>(2);
         }},
    };
}

std::vector<Pair> Flags() {
    return {
        {"cross-core-flag",
         "one flag is used in two modes at once",
         {"flag 6", "mode 1", "mode 2", "AIV 0"},
         Groups(),
         [](Run& run) {
             const uint16_t other = run.fixed() ? 7 : 6;
             if ASCEND_IS_AIC {
                 CrossCoreWaitFlag(other);
                 return;
             }
             CrossCoreSetFlag<1, PIPE_MTE3>(6);
             run.Next();
             CrossCoreSetFlag<2, PIPE_MTE3>(other);
             CrossCoreWaitFlag(6);
         }},
        {"cross-core-flag",
         "an AIC sets a flag of mode 1, which is between AIVs",
         {"mode 1", "AIC 0"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIV {
                 if (run.fixed()) CrossCoreWaitFlag(0);
             } else if (run.fixed()) {
                 CrossCoreSetFlag<2, PIPE_FIX>(0);
             } else {
                 run.Next();
                 CrossCoreSetFlag<1, PIPE_FIX>(0);
             }
         }},
        {"cross-core-flag",
         "a kernel of one core type sets a cross-core flag",
         {"CrossCoreSetFlag", "KERNEL_TYPE_AIV_ONLY"},
         Aiv(),
         [](Run& run) {
             if (run.fixed()) {
                 PipeBarrier<PIPE_ALL>();
             } else {
                 run.Next();
                 CrossCoreSetFlag<0, PIPE_MTE3>(0);
             }
         }},
        // "每一个计数器计数范围为0-15": the AIVs wait until all sets are done. The mode is kOff,
        // because kFull would report the second set.
        {"cross-core-counter",
         "a flag is set 16 times before anyone waits",
         {"flag 0", "15"},
         {KernelKind::kMixAic1Aiv2, 1, false, false, SanitizeMode::kOff},
         [](Run& run) {
             const int sets = run.fixed() ? 15 : 16;
             if ASCEND_IS_AIC {
                 for (int i = 0; i < sets; ++i) {
                     run.Next();
                     CrossCoreSetFlag<2, PIPE_FIX>(0);
                 }
                 CrossCoreSetFlag<2, PIPE_FIX>(1);
             } else {
                 CrossCoreWaitFlag(1);
                 for (int i = 0; i < sets; ++i) CrossCoreWaitFlag(0);
             }
         }},
        {"unpaired-cross-core-flag",
         "one of two AIVs does not wait for the flag of their AIC",
         {"flag 3", "1 time(s) more than waited for", "AIV 1"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIV {
                 if (run.fixed() || GetSubBlockIdx() == 0) CrossCoreWaitFlag(3);
                 return;
             }
             run.Next();
             CrossCoreSetFlag<2, PIPE_FIX>(3);
         }},
        {"unpaired-cross-core-flag",
         "one of two AIVs sets a flag for their AIC, and nobody waits",
         {"flag 3", "not matched"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC {
                 if (run.fixed()) CrossCoreWaitFlag(3);
             } else if (run.fixed() || GetSubBlockIdx() == 0) {
                 run.Next();
                 CrossCoreSetFlag<2, PIPE_MTE3>(3);
             }
         }},
        {"deadlock",
         "an AIC waits for a flag that one of its two AIVs does not set",
         {"AIC 0 waits for flag 5", "AIV 0 (mode 2"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIV {
                 if (run.fixed() || GetSubBlockIdx() == 0) CrossCoreSetFlag<2, PIPE_MTE3>(5);
                 return;
             }
             run.Next();
             CrossCoreWaitFlag(5);
         }},
        {"deadlock",
         "an AIC and its AIVs both wait before they set",
         {"AIC 0 waits for flag 0", "AIV 0", "AIV 1", "nobody has set it"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIV {
                 if (run.fixed()) CrossCoreSetFlag<2, PIPE_MTE3>(0);
                 CrossCoreWaitFlag(0);
                 if (!run.fixed()) CrossCoreSetFlag<2, PIPE_MTE3>(0);
                 return;
             }
             run.Next();
             CrossCoreWaitFlag(0);
             CrossCoreSetFlag<2, PIPE_FIX>(0);
         }},
    };
}

std::vector<Pair> Kernels() {
    return {
        {"kernel-type",
         "a kernel is launched as another type than it declares",
         {"KERNEL_TYPE_MIX_AIC_1_2", "KERNEL_TYPE_AIV_ONLY"},
         Aiv(),
         [](Run& run) {
             if (run.fixed()) {
                 KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
             } else {
                 run.Next();
                 KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
             }
         }},
    };
}

}  // namespace

std::vector<Pair> SyncPairs() {
    std::vector<Pair> all;
    for (const auto& part : {Events(), Flags(), Kernels()})
        all.insert(all.end(), part.begin(), part.end());
    return all;
}

}  // namespace twin::checks
