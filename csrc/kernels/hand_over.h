// Hand-overs between cube and vector cores: cross-core flags only, each id with one meaning.
//
// A set follows earlier work of its pipe, so what that pipe wrote to GM is there for whoever waited
// (CrossCoreSetFlag). Ids 11-14 belong to SyncAll and stay unused.
#pragma once

#include "kernel_operator.h"
#include "kernels/call_site.h"

namespace kernels {

constexpr uint16_t kFlagCubeBarrier = 0;   // all AIC
constexpr uint16_t kFlagVectorToCube = 2;  // the AIVs of a group to their AIC
constexpr uint16_t kFlagStreamed = 3;      // an AIC to its AIVs: its last weight is in L1
// An AIC to its AIVs: a product of all tokens is there. The AICs run ahead, and a flag is not to be
// set again before its wait (高级编程/硬件实现/架构规格/NPU架构版本2201): an id for each product.
constexpr uint16_t kFlagQkvA = 1;
constexpr uint16_t kFlagQueryB = 4;  // and the indexer's products of the hidden states
constexpr uint16_t kFlagIndexerQuery = 5;
constexpr uint16_t kFlagQueryNope = 6;
constexpr uint16_t kFlagValue = 7;
constexpr uint16_t kFlagOProj = 8;

// AIC: no core goes on before the fixpipe of every AIC has written what it was given. All cores
// have to be resident at once: on a device the kernel is launched in batch scheduling mode with as
// many blocks as the plan has AICs, or it can deadlock beside another stream (CrossCoreSetFlag,
// constraints on mode 0).
__aicore__ inline void CubeBarrier(CALL_SITE_PARAMETER) {
    AscendC::CrossCoreSetFlag<0, PIPE_FIX>(kFlagCubeBarrier AND_CALL_SITE);
    AscendC::CrossCoreWaitFlag(kFlagCubeBarrier AND_CALL_SITE);
}

// AIC: what all AICs have written so far is ready for the vector cores. `product` is one of the
// flags above.
__aicore__ inline void PublishToVector(uint16_t product AND_CALL_SITE_PARAMETER) {
    CubeBarrier(CALL_SITE);
    AscendC::CrossCoreSetFlag<2, PIPE_FIX>(product AND_CALL_SITE);
}

__aicore__ inline void AwaitCube(uint16_t product AND_CALL_SITE_PARAMETER) {
    AscendC::CrossCoreWaitFlag(product AND_CALL_SITE);
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
