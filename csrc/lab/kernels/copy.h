// Reads a matrix and discards it: the microbenchmark from which memory rates are derived.
//
// Its two kernels are in separate files because a toolkit gives all kernels of a file the type that
// it finds first in that file.
#pragma once

#include "kernel_operator.h"
#include "kernels/partition.h"
#include "lab/kernels/copy_plan.h"

namespace kernels {

// Loads into L1 with ND2NZ (kToL1), or into UB row by row.
template <bool kToL1>
class Copy {
public:
    __aicore__ inline void Run(const CopyPlan& plan) {
        constexpr uint32_t kHalves = sizeof(half);
        AscendC::TPipe pipe;
        const uint32_t slot_bytes = plan.tile_rows * plan.tile_bytes;
        pipe.InitBuffer(pad_, plan.slots * slot_bytes);
        const uint32_t cores = AscendC::GetBlockNum();
        const uint32_t begin = ShareBegin(plan.rows, cores, AscendC::GetBlockIdx());
        const uint32_t end = ShareBegin(plan.rows, cores, AscendC::GetBlockIdx() + 1);
        const uint32_t slice_bytes = plan.row_bytes / plan.slices;
        AscendC::GlobalTensor<half> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ half*>(plan.address));
        uint32_t slot = 0;
        bool used = false;
        for (uint32_t part = 0; part < plan.slices * plan.repeats; ++part) {
            const uint32_t first = part / plan.repeats * slice_bytes;
            for (uint32_t row = begin; row < end; row += plan.tile_rows) {
                const uint32_t rows = Min(plan.tile_rows, end - row);
                for (uint32_t at = first; at < first + slice_bytes; at += plan.tile_bytes) {
                    // The landing pad is about to be overwritten.
                    if (slot == 0 && used) AscendC::PipeBarrier<PIPE_MTE2>();
                    used = true;
                    const uint64_t offset = static_cast<uint64_t>(row) * plan.row_bytes + at;
                    Load(plan, pad_.template Get<half>()[slot * slot_bytes / kHalves],
                         gm[offset / kHalves], rows);
                    slot = slot + 1 == plan.slots ? 0 : slot + 1;
                }
            }
        }
    }

private:
    __aicore__ inline void Load(const CopyPlan& plan, const AscendC::LocalTensor<half>& slot,
                                const AscendC::GlobalTensor<half>& gm, uint32_t rows) {
        if (kToL1) {
            AscendC::Nd2NzParams params;
            params.ndNum = 1;
            params.nValue = rows;
            params.dValue = plan.tile_bytes / sizeof(half);
            params.srcNdMatrixStride = 0;
            params.srcDValue = plan.row_bytes / sizeof(half);
            params.dstNzC0Stride = rows;
            params.dstNzNStride = 1;
            params.dstNzMatrixStride = 0;
            AscendC::DataCopy(slot, gm, params);
        } else {
            AscendC::DataCopyParams params;
            params.blockCount = rows;
            params.blockLen = plan.tile_bytes / kBlockBytes;
            params.srcStride = (plan.row_bytes - plan.tile_bytes) / kBlockBytes;
            params.dstStride = 0;
            AscendC::DataCopy(slot, gm, params);
        }
    }

    static constexpr AscendC::TPosition kPosition =
        kToL1 ? AscendC::TPosition::B1 : AscendC::TPosition::VECIN;
    AscendC::TBuf<kPosition> pad_;
};

}  // namespace kernels
