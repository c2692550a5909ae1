// Events and cross-core flags that are used again, correctly in the interleaving that the twin runs
// but not in every one.
// Pages: 同步控制/核内同步/SetFlag-WaitFlag(ISASI), 同步控制/核间同步/CrossCoreSetFlag(ISASI),
//        高级编程/硬件实现/架构规格/NPU架构版本2201.
#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::SetFlag;
using AscendC::WaitFlag;

std::vector<Pair> ReusePairs() {
    return {
        {"event-reuse",
         "an event is set again while the other pipe may still be ahead of its wait",
         {"SetFlag<MTE2_V>(0) again", "V is past the WaitFlag", "AIV 0"},
         Aiv(),
         [](Run& run) {
             Sync<HardEvent::MTE2_V>();
             Sync<HardEvent::V_MTE2>(run.fixed());
             run.Next();
             SetFlag<HardEvent::MTE2_V>(0);
             WaitFlag<HardEvent::MTE2_V>(0);
         }},
        {"cross-core-order",
         "a flag is set behind two pipes, either of which may meet the first wait",
         {"flag 0 is set behind MTE2", "behind MTE3", "AIV"},
         Groups(),
         [](Run& run) {
             const uint16_t other = run.fixed() ? 1 : 0;
             if ASCEND_IS_AIC {
                 CrossCoreWaitFlag(0);
                 CrossCoreWaitFlag(other);
                 return;
             }
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
             run.Next();
             CrossCoreSetFlag<2, PIPE_MTE2>(other);
         }},
        // The counter of an AIC does not tell which group has signalled it: all AICs, or its own
        // AIVs.
        {"cross-core-order",
         "a flag is signalled to an AIC by all AICs and by its own AIVs",
         {"flag 0 is signalled to ", "by other cores"},
         Groups(),
         [](Run& run) {
             const uint16_t own = run.fixed() ? 1 : 0;
             if ASCEND_IS_AIC {
                 CrossCoreSetFlag<0, PIPE_FIX>(own);
                 CrossCoreWaitFlag(own);
                 CrossCoreWaitFlag(0);
                 return;
             }
             run.Next();
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
         }},
        // In this run, every set is waited for before the next one, but nothing makes the AIC wait
        // until then.
        {"cross-core-repeat",
         "a flag is set again without a signal back",
         {"flag 0 is set again", "a signal back"},
         Groups(),
         [](Run& run) {
             for (int i = 0; i < 2; ++i) {
                 if ASCEND_IS_AIC {
                     run.Next();
                     CrossCoreSetFlag<2, PIPE_MTE2>(0);
                     if (run.fixed()) CrossCoreWaitFlag(1);
                 } else {
                     CrossCoreWaitFlag(0);
                     if (run.fixed()) CrossCoreSetFlag<2, PIPE_MTE3>(1);
                 }
             }
         }},
        {"cross-core-repeat",
         "a flag is set again while one of two AIVs may not have waited",
         {"flag 0 is set again", "AIC 0"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC {
                 CrossCoreSetFlag<2, PIPE_MTE2>(0);
                 CrossCoreWaitFlag(1);
                 run.Next();
                 CrossCoreSetFlag<2, PIPE_MTE2>(0);
                 return;
             }
             const bool first = AscendC::GetSubBlockIdx() == 0;
             if (first || run.fixed()) CrossCoreWaitFlag(0);
             CrossCoreSetFlag<2, PIPE_MTE3>(1);
             if (!first && !run.fixed()) CrossCoreWaitFlag(0);
             CrossCoreWaitFlag(0);
         }},
        {"cross-core-flag",
         "a flag changes its mode while another core may not have waited yet",
         {"with mode 2", "with mode 1"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC {
                 CrossCoreWaitFlag(0);
                 return;
             }
             CrossCoreSetFlag<1, PIPE_MTE3>(0);
             CrossCoreWaitFlag(0);
             if (run.fixed()) {
                 CrossCoreSetFlag<1, PIPE_MTE3>(1);
                 CrossCoreWaitFlag(1);
             }
             run.Next();
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
         }},
    };
}

}  // namespace twin::checks
