// Hand-overs between cube and vector cores: cross-core flags only, each id with one meaning.
//
// A set follows earlier work of its pipe, so what that pipe wrote to GM is there for whoever waited
// (CrossCoreSetFlag). Ids 11-14 belong to SyncAll and stay unused.
#pragma once

#include "kernel_operator.h"
#include "kernels/call_site.h"

namespace kernels {

constexpr uint16_t kFlagCubeBarrier = 0;   // all AIC
constexpr uint16_t kFlagCubeToVector = 1;  // an AIC to its AIVs
constexpr uint16_t kFlagVectorToCube = 2;  // the AIVs of a group to their AIC
constexpr uint16_t kFlagStreamed = 3;      // an AIC to its AIVs: its last weight is in L1

// AIC: no core goes on before the fixpipe of every AIC has written what it was given. All cores
// have to be resident at once: on a device the kernel is launched in batch scheduling mode with as
// many blocks as the plan has AICs, or it can deadlock beside another stream (CrossCoreSetFlag,
// constraints on mode 0).
__aicore__ inline void CubeBarrier(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreSetFlag<0, PIPE_FIX>(kFlagCubeBarrier AND_CALL_SITE);
    AscendC::CrossCoreWaitFlag(kFlagCubeBarrier AND_CALL_SITE);
}

// AIC: what all AICs have written so far is ready for the vector cores.
__aicore__ inline void PublishToVector(CALL_SITE_PARAMETER) {
    CubeBarrier(CALL_SITE);
    AscendC::CrossCoreSetFlag<2, PIPE_FIX>(kFlagCubeToVector AND_CALL_SITE);
}

__aicore__ inline void AwaitCube(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreWaitFlag(kFlagCubeToVector AND_CALL_SITE);
}

// AIV: what this core has stored so far is ready for the cube cores.
__aicore__ inline void PublishToCube(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(kFlagVectorToCube AND_CALL_SITE);
}

// AIC: goes on when every vector core of the chip has published.
__aicore__ inline void AwaitVector(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreWaitFlag(kFlagVectorToCube AND_CALL_SITE);
    CubeBarrier(CALL_SITE);
}

}  // namespace kernels
