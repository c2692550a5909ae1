// Ids of the cross-core flags of this architecture; each has one meaning within a kernel.
#pragma once

#include <cstdint>

namespace plan::flags {

constexpr uint16_t kFlagCubeBarrier = 0;   ///< all AIC
constexpr uint16_t kFlagVectorToCube = 2;  ///< the AIVs of a group to their AIC
constexpr uint16_t kFlagStreamed = 3;      ///< an AIC to its AIVs: its last weight is in L1
// An AIC to its AIVs: a product of all tokens is complete. The AICs run ahead of the AIVs, and a
// flag must not be set again before it has been waited for
// (高级编程/硬件实现/架构规格/NPU架构版本2201), so each product has an id of its own.
constexpr uint16_t kFlagQkvA = 1;
constexpr uint16_t kFlagQueryB = 4;  ///< q_b, and the indexer's products of the hidden states
constexpr uint16_t kFlagIndexerQuery = 5;
constexpr uint16_t kFlagQueryNope = 6;
constexpr uint16_t kFlagValue = 7;
constexpr uint16_t kFlagOProj = 8;
constexpr uint16_t kFlagQueryA = 9;  ///< of prologs, which have no tiles with flags
// An AIC to its AIVs and back: a tile of sums is in its slot, and has been read from it. The next
// slot has the next id (kSumsRingSlots of plan/units.h). Kernels that use them have no product of
// kFlagIndexerQuery and kFlagQueryNope.
constexpr uint16_t kFlagTileStored = 9;
constexpr uint16_t kFlagTileRead = 5;
// Ids 11-14 belong to SyncAll and stay unused.
constexpr uint16_t kNoFlag = 0xFFFF;

}  // namespace plan::flags
