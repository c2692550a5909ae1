// Hand-overs between cube and vector cores, by cross-core flags only. Each flag id has one meaning.
//
// A flag is set after the earlier work of its pipe, so whoever has waited for it sees what that
// pipe wrote to GM (CrossCoreSetFlag). Ids 11-14 belong to SyncAll and stay unused.
#pragma once

#include "kernel_operator.h"
#include "kernels/call_site.h"

namespace kernels {

constexpr uint16_t kFlagCubeBarrier = 0;   // all AIC
constexpr uint16_t kFlagVectorToCube = 2;  // the AIVs of a group to their AIC
constexpr uint16_t kFlagStreamed = 3;      // an AIC to its AIVs: its last weight is in L1
// An AIC to its AIVs: a product of all tokens is complete. The AICs run ahead of the AIVs, and a
// flag must not be set again before it has been waited for
// (高级编程/硬件实现/架构规格/NPU架构版本2201), so each product has an id of its own.
constexpr uint16_t kFlagQkvA = 1;
constexpr uint16_t kFlagQueryB = 4;  // q_b, and the indexer's products of the hidden states
constexpr uint16_t kFlagIndexerQuery = 5;
constexpr uint16_t kFlagQueryNope = 6;
constexpr uint16_t kFlagValue = 7;
constexpr uint16_t kFlagOProj = 8;

// AIC: no core continues before the fixpipe of every AIC has written everything issued to it. All
// cores have to be resident at once: on a device the kernel is launched in batch scheduling mode
// with as many blocks as the plan has AICs; otherwise it can deadlock beside another stream
// (CrossCoreSetFlag, constraints on mode 0).
__aicore__ inline void CubeBarrier(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreSetFlag<0, PIPE_FIX>(kFlagCubeBarrier AND_CALL_SITE);
    AscendC::CrossCoreWaitFlag(kFlagCubeBarrier AND_CALL_SITE);
}

// AIC: tells the vector cores that everything the AICs have written so far is ready. `product` is
// one of the flags above.
__aicore__ inline void PublishToVector(uint16_t product AND_CALL_SITE_PARAMETER) {
    CubeBarrier(CALL_SITE);
    AscendC::CrossCoreSetFlag<2, PIPE_FIX>(product AND_CALL_SITE);
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
