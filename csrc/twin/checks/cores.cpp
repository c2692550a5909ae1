// Order between cores that access the same bytes of GM.
// Pages: 同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI)}.
#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::DataCopy;
using AscendC::Duplicate;
using AscendC::Fixpipe;
using AscendC::GetBlockIdx;
using AscendC::GetSubBlockIdx;

namespace {

/// What is wrong in the synchronisation by which an AIC passes data to its AIVs.
enum class Fault { kNone, kNoFlag, kOtherPipe, kSetEarly, kOneWaits, kWaitLate };

template <Fault fault>
void AicToAivs(Run& run) {
    const Fault now = run.fixed() ? Fault::kNone : fault;
    if ASCEND_IS_AIC {
        Cube cube;
        FillL0c(cube, run.In<half>());
        if (now == Fault::kSetEarly) CrossCoreSetFlag<2, PIPE_FIX>(0);
        Fixpipe(run.Out<float>(), cube.l0c, StoreRows(16));
        if (now == Fault::kOtherPipe) {
            CrossCoreSetFlag<2, PIPE_MTE2>(0);
        } else if (now != Fault::kNoFlag && now != Fault::kSetEarly) {
            CrossCoreSetFlag<2, PIPE_FIX>(0);
        }
        return;
    }
    TPipe pipe;
    const auto ub = Ub(pipe);
    const bool waits = now != Fault::kNoFlag && now != Fault::kWaitLate &&
                       !(now == Fault::kOneWaits && GetSubBlockIdx() == 1);
    if (waits) CrossCoreWaitFlag(0);
    run.Next();
    DataCopy(ub, run.Out<float>(), kCount);
    if (now == Fault::kWaitLate) CrossCoreWaitFlag(0);
}

/// LoadL1 loads "out" to L1; StoreHalf stores an AIV's half of "out".
void LoadL1(Run& run) {
    TPipe pipe;
    const auto l1 = Allocate<kL1, half>(pipe, 256);
    run.Next();
    DataCopy(l1, run.Out<half>(), 256);
}

void StoreHalf(Run& run) {
    TPipe pipe;
    const auto ub = Allocate<kUb, half>(pipe, 128);
    Duplicate(ub, kHalfOne, 128);
    Sync<HardEvent::V_MTE3>();
    run.Next();
    DataCopy(run.Out<half>()[GetSubBlockIdx() * 128], ub, 128);
}

std::vector<Pair> BetweenTypes() {
    return {
        {"core-race",
         "an AIV reads what its AIC stores through the fixpipe, without a flag",
         {"DataCopy on MTE2 reads", "GM tensor 'out'", "Fixpipe on FIX of ", "AIV 0"},
         Groups(),
         AicToAivs<Fault::kNoFlag>},
        {"core-race",
         "the flag of the AIC is set behind another pipe than that of the store",
         {"DataCopy on MTE2 reads", "CrossCoreSetFlag", "AIV 0"},
         Groups(),
         AicToAivs<Fault::kOtherPipe>},
        {"core-race",
         "the flag of the AIC is set before the store",
         {"DataCopy on MTE2 reads", "CrossCoreSetFlag", "AIV 0"},
         Groups(),
         AicToAivs<Fault::kSetEarly>},
        {"core-race",
         "one of two AIVs does not wait for the flag of their AIC",
         {"DataCopy on MTE2 reads", "CrossCoreSetFlag", "AIV 1"},
         Groups(),
         AicToAivs<Fault::kOneWaits>},
        {"core-race",
         "an AIV waits for the flag of its AIC after the load",
         {"DataCopy on MTE2 reads", "CrossCoreSetFlag", "AIV 0"},
         Groups(),
         AicToAivs<Fault::kWaitLate>},
        // The twin runs the AIC first, so the report names the AIV, which writes the bytes that the
        // AIC has read.
        {"core-race",
         "an AIC reads what its AIVs store, without a flag",
         {"DataCopy on MTE3 writes", "which reads them", "AIV 0"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC {
                 if (run.fixed()) CrossCoreWaitFlag(0);
                 LoadL1(run);
             } else {
                 StoreHalf(run);
                 if (run.fixed()) CrossCoreSetFlag<2, PIPE_MTE3>(0);
             }
         }},
        {"core-race",
         "AIVs overwrite what their AIC may still read",
         {"DataCopy on MTE3 writes", "which reads them"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC {
                 if (!run.fixed()) CrossCoreSetFlag<2, PIPE_MTE2>(0);  // before the load
                 LoadL1(run);
                 if (run.fixed()) CrossCoreSetFlag<2, PIPE_MTE2>(0);
             } else {
                 CrossCoreWaitFlag(0);
                 StoreHalf(run);
             }
         }},
    };
}

/// AIV 0 stores and AIV 1 loads. With `flag`, the broken form sets a flag on the wrong pipe;
/// without, it sets none.
template <bool flag>
void AivToAiv(Run& run) {
    if ASCEND_IS_AIC
        return;
    TPipe pipe;
    const auto ub = Ones(pipe);
    if (GetSubBlockIdx() == 0) DataCopy(run.Out<float>(), ub, kCount);
    if (run.fixed()) {
        CrossCoreSetFlag<1, PIPE_MTE3>(0);
    } else if (flag) {
        CrossCoreSetFlag<1, PIPE_MTE2>(0);
    }
    if (run.fixed() || flag) CrossCoreWaitFlag(0);
    if (GetSubBlockIdx() == 0) return;
    run.Next();
    DataCopy(ub, run.Out<float>(), kCount);
}

std::vector<Pair> BetweenEquals() {
    return {
        {"core-race",
         "an AIV reads what the other one stores, without a flag",
         {"DataCopy on MTE2 reads", "DataCopy on MTE3 of ", "AIV 1"},
         Groups(),
         AivToAiv<false>},
        {"core-race",
         "the flag of an AIV is set behind another pipe than that of the store",
         {"DataCopy on MTE2 reads", "DataCopy on MTE3 of ", "AIV 1"},
         Groups(),
         AivToAiv<true>},
        {"core-race",
         "two AIVs write the same bytes",
         {"DataCopy on MTE3 writes", "which writes them", "AIV 1"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC
                 return;
             TPipe pipe;
             const auto ub = Ones(pipe);
             const int64_t first = run.fixed() ? GetSubBlockIdx() * kCount : 0;
             run.Next();
             DataCopy(run.Out<float>()[static_cast<uint64_t>(first)], ub, kCount);
         }},
        {"core-race",
         "an AIC reads what another one stores through the fixpipe, without a flag",
         {"DataCopy on MTE2 reads", "GM tensor 'out'", "Fixpipe on FIX of "},
         Groups(2),
         [](Run& run) {
             if ASCEND_IS_AIV
                 return;
             Cube cube;
             if (GetBlockIdx() == 0) {
                 FillL0c(cube, run.In<half>());
                 Fixpipe(run.Out<float>(), cube.l0c, StoreRows(16));
             }
             if (run.fixed()) {
                 CrossCoreSetFlag<0, PIPE_FIX>(0);
                 CrossCoreWaitFlag(0);
             }
             if (GetBlockIdx() == 0) return;
             const auto l1 = Allocate<kL1, float>(cube.pipe, 256);
             run.Next();
             DataCopy(l1, run.Out<float>(), 256);
         }},
        // The data passes from AIV 0 to AIV 1, and the AIC in between passes on the flag. No other
        // flag orders the two AIVs.
        {"core-race",
         "a core in between passes the flag on before it has it",
         {"DataCopy on MTE2 reads", "DataCopy on MTE3 of ", "AIV 1"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC {
                 if (run.fixed()) CrossCoreWaitFlag(0);
                 CrossCoreSetFlag<2, PIPE_FIX>(1);
                 if (!run.fixed()) CrossCoreWaitFlag(0);
                 return;
             }
             TPipe pipe;
             const auto ub = Ones(pipe);
             if (GetSubBlockIdx() == 0) DataCopy(run.Out<float>(), ub, kCount);
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
             CrossCoreWaitFlag(1);
             if (GetSubBlockIdx() == 0) return;
             run.Next();
             DataCopy(ub, run.Out<float>(), kCount);
         }},
        {"core-race",
         "of two rounds the first flag is waited for, and the second round used",
         {"DataCopy on MTE2 reads", "AIV 1"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIC
                 return;
             TPipe pipe;
             const auto ub = Ones(pipe);
             for (uint32_t round = 0; round < 2; ++round) {
                 if (GetSubBlockIdx() == 0) DataCopy(run.Out<float>()[round * kCount], ub, kCount);
                 CrossCoreSetFlag<1, PIPE_MTE3>(static_cast<uint16_t>(round));
             }
             CrossCoreWaitFlag(0);
             if (run.fixed()) CrossCoreWaitFlag(1);
             if (GetSubBlockIdx() == 1) {
                 run.Next();
                 DataCopy(ub, run.Out<float>()[kCount], kCount);
             }
             if (!run.fixed()) CrossCoreWaitFlag(1);
         }},
    };
}

}  // namespace

std::vector<Pair> CorePairs() {
    std::vector<Pair> pairs = BetweenTypes();
    const std::vector<Pair> equals = BetweenEquals();
    pairs.insert(pairs.end(), equals.begin(), equals.end());
    return pairs;
}

}  // namespace twin::checks
