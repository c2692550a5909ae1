// A W8A8 product alone, with its dequantisation: what frameworks run behind the kernel that
// quantises A. As in CANN's quant_batch_matmul_v3_pertoken_basic.h (cann-ops-adv @015e205cdb5d),
// one vector core of each group dequantises its cube core's tiles, a part of a tile at a time.
//
//   AIC   tile | next tile | ...
//   AIV        | dequantise the tile | the next tile | ...
#include "arch/dav_c220.h"
#include "kernel_operator.h"
#include "kernels/copy_rows.h"
#include "kernels/dequantiser.h"
#include "kernels/events.h"
#include "kernels/gemm_tiles.h"
#include "kernels/partition.h"
#include "kernels/vector_math.h"
#include "lab/kernels/matmul.h"
#include "lab/kernels/quant_matmul_plan.h"
#include "lab/kernels/sums_ring.h"

namespace kernels {

// Dequantises the tiles of its group's cube core.
template <typename T>
class QuantMatmulVector {
public:
    __aicore__ inline void Run(const QuantMatmulAddresses& addresses, const QuantMatmulPlan& plan) {
        const GemmPlan& gemm = plan.gemm;
        const uint32_t group = AscendC::GetBlockIdx() / kCoresOfGroup;
        Open(addresses, plan, group);
        TileCursor cursor;
        for (cursor.Open(gemm, group, AscendC::GetBlockNum()); !cursor.Done(); cursor.Next(gemm)) {
            const Tile tile = cursor.Get(gemm);
            if (tile.last) Finish(addresses, gemm, tile);
        }
        landed_.Close(&pipe_);
        stored_.Close(&pipe_);
    }

private:
    static constexpr uint32_t kCoresOfGroup = arch::DavC220::kAivPerAic;
    static constexpr uint32_t kParts = 4;  // of a tile's rows
    static constexpr uint32_t kSlots = 2;

    __aicore__ inline void Open(const QuantMatmulAddresses& addresses, const QuantMatmulPlan& plan,
                                uint32_t group) {
        rows_ = CeilDiv(plan.gemm.tile_m, kParts);
        elements_ = rows_ * plan.gemm.tile_n;
        slot_ = 0;
        ring_.Open(group);
        pipe_.InitBuffer(sums_, kSlots * elements_ * sizeof(int32_t));
        pipe_.InitBuffer(scales_, kSlots * rows_ * kBlockBytes);
        pipe_.InitBuffer(out_, kSlots * elements_ * sizeof(T));
        landed_.Open(&pipe_);
        stored_.Open(&pipe_);
        for (Dequantiser& side : sides_) {
            side.Open(&pipe_, plan.gemm.tile_n);
            side.Bind(plan.format, addresses.quant, nullptr, 0, nullptr);
        }
    }

    __aicore__ inline void Finish(const QuantMatmulAddresses& addresses, const GemmPlan& gemm,
                                  const Tile& tile) {
        const uint64_t sums = ring_.Await(gemm);
        if (AscendC::GetBlockIdx() % kCoresOfGroup == 0) {
            Dequantiser& dequantiser = sides_[tile.side];
            if (!dequantiser.Holds(tile.column, tile.columns)) {
                dequantiser.LoadColumns(tile.column, tile.columns);
            }
            for (uint32_t row = 0; row < tile.rows; row += rows_) {
                FinishRows(dequantiser, addresses, gemm, tile, row, sums);
            }
        }
        ring_.Release();
    }

    // Rows of a tile, from its row `first` on; its sums start at `tile_sums`.
    __aicore__ inline void FinishRows(Dequantiser& dequantiser,
                                      const QuantMatmulAddresses& addresses, const GemmPlan& gemm,
                                      const Tile& tile, uint32_t first, uint64_t tile_sums) {
        const uint32_t rows = Min(rows_, tile.rows - first);
        const uint64_t offset = tile_sums + static_cast<uint64_t>(first) * tile.columns;
        const AscendC::LocalTensor<int32_t> sums = sums_.Get<int32_t>()[slot_ * elements_];
        const AscendC::LocalTensor<float> x = sums_.Get<float>()[slot_ * elements_];
        const AscendC::LocalTensor<float> scales =
            scales_.Get<float>()[slot_ * rows_ * kBlockFloats];
        const AscendC::LocalTensor<T> out = out_.template Get<T>()[slot_ * elements_];
        const uint32_t count = rows * tile.columns;
        const uint64_t row = tile.row + first;
        AscendC::GlobalTensor<int32_t> sums_gm;
        sums_gm.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t*>(addresses.sums));
        AscendC::GlobalTensor<float> scales_gm;
        scales_gm.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(addresses.a_scales));
        AscendC::GlobalTensor<T> target;
        target.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(addresses.c));

        landed_.WaitFree(slot_);
        AscendC::DataCopy(sums, sums_gm[offset], count);
        AscendC::DataCopy(scales, scales_gm[row * kBlockFloats], rows * kBlockFloats);
        landed_.SetFull(slot_);
        landed_.WaitFull(slot_);
        dequantiser.Rows(x, sums, scales, rows);
        stored_.WaitFree(slot_);
        FromFloat(out, x, count);
        landed_.SetFree(slot_);
        stored_.SetFull(slot_);
        stored_.WaitFull(slot_);
        StoreRows(target[row * gemm.n + tile.column], out, rows, tile.columns, gemm.n);
        stored_.SetFree(slot_);
        slot_ = (slot_ + 1) % kSlots;
    }

    AscendC::TPipe pipe_;
    SumsRingReader ring_;
    Dequantiser sides_[2];  // for each of the tiles that are summed up in turns
    RingEvents<AscendC::HardEvent::MTE2_V, AscendC::HardEvent::V_MTE2, kSlots> landed_;
    RingEvents<AscendC::HardEvent::V_MTE3, AscendC::HardEvent::MTE3_V, kSlots> stored_;
    uint32_t rows_;      // of a slot
    uint32_t elements_;  // of a slot
    uint32_t slot_;
    AscendC::TBuf<AscendC::TPosition::VECIN> sums_;
    AscendC::TBuf<AscendC::TPosition::VECIN> scales_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> out_;
};

template <typename T>
__aicore__ inline void QuantMatmul(const QuantMatmulAddresses& addresses,
                                   const QuantMatmulPlan& plan) {
    if ASCEND_IS_AIC {
        SumsRing ring;
        ring.Open(Gm(addresses.sums), AscendC::GetBlockIdx());
        Matmul<int8_t>(plan.buffers, plan.gemm, addresses.a, addresses.weight, ring);
        ring.Close();
    }
    if ASCEND_IS_AIV {
        QuantMatmulVector<T> vector;
        vector.Run(addresses, plan);
    }
}

}  // namespace kernels

extern "C" __global__ __aicore__ void quant_matmul_bf16(QuantMatmulAddresses addresses,
                                                        QuantMatmulPlan plan) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    kernels::QuantMatmul<bfloat16_t>(addresses, plan);
}
