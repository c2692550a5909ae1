// Hand-overs between cube and vector cores, by cross-core flags only.
//
// A flag is set after the earlier work of its pipe, so whoever has waited for it sees what that
// pipe wrote to GM (CrossCoreSetFlag).
#pragma once

#include "kernel_operator.h"
#include "kernels/call_site.h"
#include "plan/hand_over_flags.h"

namespace kernels {

using plan::flags::kFlagCubeBarrier;
using plan::flags::kFlagOProj;
using plan::flags::kFlagStreamed;
using plan::flags::kFlagTileRead;
using plan::flags::kFlagTileStored;
using plan::flags::kFlagValue;
using plan::flags::kFlagVectorToCube;
using plan::flags::kNoFlag;

// AIC: no core continues before the fixpipe of every AIC has written everything issued to it. All
// cores have to be resident at once: on a device the kernel is launched in batch scheduling mode
// with as many blocks as the plan has AICs; otherwise it can deadlock beside another stream
// (CrossCoreSetFlag, constraints on mode 0).
__aicore__ inline void CubeBarrier(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreSetFlag<0, PIPE_FIX>(kFlagCubeBarrier AND_CALL_SITE);
    AscendC::CrossCoreWaitFlag(kFlagCubeBarrier AND_CALL_SITE);
}

// AIC: tells its own vector cores that everything this core has written so far is ready, for what
// they alone go on with. `product` is a product's flag.
__aicore__ inline void PublishToGroup(uint16_t product AND_CALL_SITE_PARAMETER) {
    AscendC::CrossCoreSetFlag<2, PIPE_FIX>(product AND_CALL_SITE);
}

// AIC: tells the vector cores that everything the AICs have written so far is ready.
__aicore__ inline void PublishToVector(uint16_t product AND_CALL_SITE_PARAMETER) {
    CubeBarrier(CALL_SITE);
    PublishToGroup(product AND_CALL_SITE);
}

__aicore__ inline void AwaitCube(uint16_t product AND_CALL_SITE_PARAMETER) {
    AscendC::CrossCoreWaitFlag(product AND_CALL_SITE);
}

// AIV: tells the cube cores that everything this core has stored so far is ready.
__aicore__ inline void PublishToCube(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(kFlagVectorToCube AND_CALL_SITE);
}

// AIC: continues when every vector core of the chip has called PublishToCube.
__aicore__ inline void AwaitVector(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreWaitFlag(kFlagVectorToCube AND_CALL_SITE);
    CubeBarrier(CALL_SITE);
}

}  // namespace kernels
