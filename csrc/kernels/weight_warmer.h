// Prefetches weights that this core does not use itself, so that they are in L2 when their consumer
// reads them.
//
// This architecture has no L2 prefetch instruction: a core loads the data into a landing pad, in UB
// on a vector core and in L1 on a cube core, and discards it. Inside a fused kernel loads are
// issued just before the core blocks on a flag and stay in flight while it waits. MTE2 works in
// order, so they delay the core's own next load; the plan bounds their number.
#pragma once

#include "kernel_operator.h"
#include "kernels/hand_over.h"
#include "kernels/partition.h"
#include "plan/warm_plan.h"

namespace kernels {

// Landing pads in the UB of a vector core. LoadTail loads bytes that end inside a block, which
// DataCopy would read beyond.
struct LandInUb {
    static constexpr AscendC::TPosition kPosition = AscendC::TPosition::VECIN;

    __aicore__ static inline void LoadTail(const AscendC::LocalTensor<uint8_t>& slot,
                                           const AscendC::GlobalTensor<uint8_t>& gm,
                                           uint32_t bytes) {
        AscendC::DataCopyPad(slot, gm, AscendC::DataCopyExtParams(1, bytes, 0, 0, 0),
                             AscendC::DataCopyPadExtParams<uint8_t>());
    }
};

// Landing pads in the L1 of a cube core. This architecture has no DataCopyPad into L1
// (DataCopyPad（GMToL1非对齐数据搬运）), so a tail is loaded as a matrix of one row: ND2NZ reads
// its bytes alone, and fills the last block with zeros (DataCopy（GMToL1随路转换-ND2NZ搬运）).
struct LandInL1 {
    static constexpr AscendC::TPosition kPosition = AscendC::TPosition::B1;

    __aicore__ static inline void LoadTail(const AscendC::LocalTensor<uint8_t>& slot,
                                           const AscendC::GlobalTensor<uint8_t>& gm,
                                           uint32_t bytes) {
        AscendC::Nd2NzParams params;
        params.ndNum = 1;
        params.nValue = 1;
        params.dValue = bytes;
        params.srcNdMatrixStride = 0;
        params.srcDValue = bytes;
        params.dstNzC0Stride = 1;
        params.dstNzNStride = 1;
        params.dstNzMatrixStride = 0;
        AscendC::DataCopy(slot, gm, params);
    }
};

template <typename Landing = LandInUb>
class WeightWarmer {
public:
    __aicore__ inline void Open(AscendC::TPipe* pipe, const WarmPlan& plan, uint32_t core) {
        core_ = core;
        slot_ = 0;
        used_ = false;
        if (plan.pad_slots > 0) pipe->InitBuffer(pad_, plan.pad_slots * plan.chunk_bytes);
    }

    // Loads this core's chunks of a window. The first window with chunks waits for the end of the
    // weight stream, so that prefetches do not compete with the kernel's own weights for HBM.
    __aicore__ inline void WarmWindowChunks(const WarmPlan& plan, const WarmWindow& window) {
        if (window.after_stream != 0) AscendC::CrossCoreWaitFlag(kFlagStreamed);
        if (core_ < window.first_core || core_ >= window.first_core + window.core_count) return;
        for (uint32_t i = core_ - window.first_core; i < window.chunk_count;
             i += window.core_count) {
            LoadChunk(plan, window.first_chunk + i);
        }
    }

private:
    // The chunk sequence runs through the regions in order; a chunk never spans two regions.
    __aicore__ inline void LoadChunk(const WarmPlan& plan, uint32_t chunk) {
        uint64_t offset = static_cast<uint64_t>(chunk) * plan.chunk_bytes;
        for (uint32_t r = 0; r < plan.region_count; ++r) {
            const uint64_t bytes = plan.regions[r].bytes;
            if (offset < bytes) {
                const uint64_t length =
                    bytes - offset < plan.chunk_bytes ? bytes - offset : plan.chunk_bytes;
                Load(plan, Gm(plan.regions[r].address) + offset, length);
                return;
            }
            offset -= RoundUp<uint64_t>(bytes, plan.chunk_bytes);
        }
    }

    __aicore__ inline void Load(const WarmPlan& plan, GM_ADDR address, uint64_t bytes) {
        if (slot_ == 0 && used_)
            AscendC::PipeBarrier<PIPE_MTE2>();  // the pad is about to be overwritten
        used_ = true;
        AscendC::GlobalTensor<uint8_t> gm;
        gm.SetGlobalBuffer(address);
        const AscendC::LocalTensor<uint8_t> slot =
            pad_.template Get<uint8_t>()[slot_ * plan.chunk_bytes];
        slot_ = slot_ + 1 == plan.pad_slots ? 0 : slot_ + 1;
        if (bytes % kBlockBytes != 0) {  // the end of a tensor
            Landing::LoadTail(slot, gm, static_cast<uint32_t>(bytes));
            return;
        }
        AscendC::DataCopyParams params;
        params.blockCount = 1;
        params.blockLen = bytes / kBlockBytes;
        params.srcStride = 0;
        params.dstStride = 0;
        AscendC::DataCopy(slot, gm, params);
    }

    AscendC::TBuf<Landing::kPosition> pad_;
    uint32_t core_;
    uint32_t slot_;
    bool used_;
};

}  // namespace kernels
