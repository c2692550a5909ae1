// Loads weights that nobody on this core reads, so that they are in L2 when their consumer asks.
//
// There is no L2 prefetch instruction on this architecture; a vector core loads into a landing pad
// and discards. Loads are issued just before the core blocks on a flag and stay in flight
// meanwhile. MTE2 works in order, so they delay the core's own next load: the plan bounds their
// number.
#pragma once

#include "kernel_operator.h"
#include "kernels/partition.h"
#include "plan/gemm_plan.h"
#include "plan/warm_plan.h"

namespace kernels {

class WeightWarmer {
public:
    __aicore__ inline void Open(AscendC::TPipe* pipe, const WarmPlan& plan, uint32_t core) {
        core_ = core;
        slot_ = 0;
        used_ = false;
        if (plan.pad_slots > 0) pipe->InitBuffer(pad_, plan.pad_slots * plan.pad_slot_bytes);
    }

    // The start of the share of a weight that this group's cube core will read: its columns, in the
    // runs in which they lie. `sub_block` of two vector cores takes every other chunk. The cube
    // reads tile by tile, so it has to wait for all of it.
    __aicore__ inline void WarmGroupShare(const WarmPlan& plan, const GemmPlan& gemm,
                                          GM_ADDR weight, uint32_t group, uint32_t groups,
                                          uint32_t sub_block) {
        if (plan.group_chunks == 0) return;
        const uint32_t strips = gemm.n / gemm.strip;
        const uint64_t column = ShareBegin(strips, groups, group) * gemm.strip;
        const uint64_t columns = ShareBegin(strips, groups, group + 1) * gemm.strip - column;
        uint64_t run_bytes;  // contiguous bytes of the share
        uint64_t run_stride;
        uint64_t start;
        uint32_t runs = 1;
        if (gemm.b_layout == 0 || gemm.b_layout == 3) {  // whole columns lie together
            run_bytes = columns * gemm.k * gemm.element_bytes;
            run_stride = run_bytes;
            start = column * gemm.k * gemm.element_bytes;
        } else {  // a run for every strip of depth (NZ) or every row
            const uint32_t bytes = gemm.b_layout == 1 ? kBlockBytes : gemm.element_bytes;
            run_bytes = columns * bytes;
            run_stride = static_cast<uint64_t>(gemm.b_stride) * bytes;
            start = column * bytes;
            runs = gemm.b_layout == 1 ? gemm.k / kStrip : gemm.k;
        }
        const bool whole_runs = run_bytes <= plan.chunk_bytes;
        // Short runs go together into a chunk or somewhat more: at most two, the size of a landing
        // slot.
        const uint32_t runs_per_chunk =
            whole_runs ? static_cast<uint32_t>(CeilDiv<uint64_t>(plan.chunk_bytes, run_bytes)) : 1;
        const uint32_t chunks_per_run =
            whole_runs ? 1 : static_cast<uint32_t>(run_bytes / plan.chunk_bytes);
        for (uint32_t chunk = sub_block; chunk < plan.group_chunks; chunk += 2) {
            const uint32_t run = chunk / chunks_per_run * runs_per_chunk;
            if (run >= runs) return;
            const uint32_t count = Min(runs_per_chunk, runs - run);
            const uint64_t within =
                static_cast<uint64_t>(chunk % chunks_per_run) * plan.chunk_bytes;
            const uint64_t bytes = whole_runs ? run_bytes : plan.chunk_bytes;
            Load(plan, weight + start + run * run_stride + within, bytes, count, run_stride);
        }
    }

    // This core's chunks of a window.
    __aicore__ inline void WarmWindowChunks(const WarmPlan& plan, const WarmWindow& window) {
        if (core_ < window.first_core || core_ >= window.first_core + window.core_count) return;
        for (uint32_t i = core_ - window.first_core; i < window.chunk_count;
             i += window.core_count) {
            LoadChunk(plan, window.first_chunk + i);
        }
    }

private:
    // The chunk sequence runs through the regions in order; a chunk never crosses from one to the
    // next.
    __aicore__ inline void LoadChunk(const WarmPlan& plan, uint32_t chunk) {
        uint64_t offset = static_cast<uint64_t>(chunk) * plan.chunk_bytes;
        for (uint32_t r = 0; r < plan.region_count; ++r) {
            const uint64_t bytes = plan.regions[r].bytes;
            if (offset < bytes) {
                const uint64_t length =
                    bytes - offset < plan.chunk_bytes ? bytes - offset : plan.chunk_bytes;
                Load(plan, Gm(plan.regions[r].address) + offset, length, 1, length);
                return;
            }
            offset -= RoundUp<uint64_t>(bytes, plan.chunk_bytes);
        }
    }

    // `count` runs of `bytes`; a multiple of 32 where it is more than one run.
    __aicore__ inline void Load(const WarmPlan& plan, GM_ADDR address, uint64_t bytes,
                                uint32_t count, uint64_t stride) {
        if (slot_ == 0 && used_)
            AscendC::PipeBarrier<PIPE_MTE2>();  // the pad is about to be overwritten
        used_ = true;
        AscendC::GlobalTensor<uint8_t> gm;
        gm.SetGlobalBuffer(address);
        const AscendC::LocalTensor<uint8_t> slot = pad_.Get<uint8_t>()[slot_ * plan.pad_slot_bytes];
        slot_ = slot_ + 1 == plan.pad_slots ? 0 : slot_ + 1;
        if (bytes % kBlockBytes != 0) {  // the end of a tensor: DataCopy would read beyond it
            AscendC::DataCopyPad(slot, gm, AscendC::DataCopyExtParams(1, bytes, 0, 0, 0),
                                 AscendC::DataCopyPadExtParams<uint8_t>());
            return;
        }
        AscendC::DataCopyParams params;
        params.blockCount = count;
        params.blockLen = bytes / kBlockBytes;
        // One run has no gap behind it; that of a long one would not fit.
        params.srcStride = count == 1 ? 0 : (stride - bytes) / kBlockBytes;
        params.dstStride = 0;
        AscendC::DataCopy(slot, gm, params);
    }

    AscendC::TBuf<AscendC::TPosition::VECIN> pad_;
    uint32_t core_;
    uint32_t slot_;
    bool used_;
};

}  // namespace kernels
