// Hands tiles of sums to the vector cores of a cube core's group one by one, instead of a whole
// product to all of them.
//
// Each cube core has a ring of slots in GM. Sums so stay in L2 however large the product is, and
// the vector cores finish one tile while the cube core sums up the next.
#pragma once

#include "kernel_operator.h"
#include "kernels/gemm_tiles.h"
#include "kernels/hand_over.h"
#include "plan/gemm_plan.h"
#include "plan/units.h"

namespace kernels {

// A slot's flags are its number more than those of the first.
constexpr uint32_t kRingSlots = plan::kSumsRingSlots;

// Sums of either type of 4 bytes: the offset in a ring of a cube core's slot.
__aicore__ inline uint64_t RingOffset(const GemmPlan& plan, uint32_t group, uint32_t slot) {
    return static_cast<uint64_t>(group * kRingSlots + slot) * plan.tile_m * plan.tile_n;
}

// AIC: where Gemm::RunTo stores its tiles.
class SumsRing {
public:
    __aicore__ inline void Open(GM_ADDR ring, uint32_t group) {
        ring_ = ring;
        group_ = group;
        slot_ = 0;
        used_ = 0;
    }

    __aicore__ inline TileOfC Place(const GemmPlan& plan, const Tile& tile, uint32_t) {
        if (used_ == kRingSlots) {
            AscendC::CrossCoreWaitFlag(kFlagTileRead + slot_);
        } else {
            ++used_;
        }
        return {ring_, RingOffset(plan, group_, slot_), tile.columns};
    }

    __aicore__ inline void Stored() {
        AscendC::CrossCoreSetFlag<2, PIPE_FIX>(kFlagTileStored + slot_);
        slot_ = (slot_ + 1) % kRingSlots;
    }

    // Waits until the vector cores have read all tiles.
    __aicore__ inline void Close() {
        for (uint32_t i = 0; i < used_; ++i) {
            AscendC::CrossCoreWaitFlag(kFlagTileRead +
                                       (slot_ + kRingSlots - used_ + i) % kRingSlots);
        }
    }

private:
    GM_ADDR ring_;
    uint32_t group_;
    uint32_t slot_;
    uint32_t used_;
};

// AIV: the same tiles in the same order.
class SumsRingReader {
public:
    __aicore__ inline void Open(uint32_t group) {
        group_ = group;
        slot_ = 0;
    }

    // Waits for the next tile and returns the offset of its sums, row after row.
    __aicore__ inline uint64_t Await(const GemmPlan& plan) const {
        AscendC::CrossCoreWaitFlag(kFlagTileStored + slot_);
        return RingOffset(plan, group_, slot_);
    }

    // Both vector cores of a group call it when they have issued their loads of the tile.
    __aicore__ inline void Release() {
        AscendC::CrossCoreSetFlag<2, PIPE_MTE2>(kFlagTileRead + slot_);
        slot_ = (slot_ + 1) % kRingSlots;
    }

private:
    uint32_t group_;
    uint32_t slot_;
};

}  // namespace kernels
