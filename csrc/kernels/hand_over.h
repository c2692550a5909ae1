// Hand-overs between cube and vector cores: cross-core flags only, each id with one meaning.
//
// A set follows earlier work of its pipe, so what that pipe wrote to GM is there for whoever waited
// (CrossCoreSetFlag). Ids 11-14 belong to SyncAll and stay unused.
#pragma once

#include "kernel_operator.h"

namespace kernels {

constexpr uint16_t kFlagCubeBarrier = 0;   // all AIC
constexpr uint16_t kFlagCubeToVector = 1;  // an AIC to its AIVs
constexpr uint16_t kFlagVectorToCube = 2;  // the AIVs of a group to their AIC
constexpr uint16_t kFlagWarmed = 3;  // likewise: the group's share of the next weight is in L2

// AIC: no core goes on before the fixpipe of every AIC has written what it was given. All cores
// have to be resident at once: on a device the kernel is launched in batch scheduling mode with as
// many blocks as the plan has AICs, or it can deadlock beside another stream (CrossCoreSetFlag,
// constraints on mode 0).
__aicore__ inline void CubeBarrier() {
    AscendC::CrossCoreSetFlag<0, PIPE_FIX>(kFlagCubeBarrier);
    AscendC::CrossCoreWaitFlag(kFlagCubeBarrier);
}

// AIC: what all AICs have written so far is ready for the vector cores.
__aicore__ inline void PublishToVector() {
    CubeBarrier();
    AscendC::CrossCoreSetFlag<2, PIPE_FIX>(kFlagCubeToVector);
}

__aicore__ inline void AwaitCube() { AscendC::CrossCoreWaitFlag(kFlagCubeToVector); }

// AIV: what this core has stored so far is ready for the cube cores.
__aicore__ inline void PublishToCube() {
    AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(kFlagVectorToCube);
}

// AIC: goes on when every vector core of the chip has published.
__aicore__ inline void AwaitVector() {
    AscendC::CrossCoreWaitFlag(kFlagVectorToCube);
    CubeBarrier();
}

}  // namespace kernels
