// Streams the weights of all of a kernel's GEMMs through one ring buffer in L1.
//
// Weights depend on no other result, so the stream runs ahead of the GEMM that consumes it and into
// the weight of the next GEMM: while a hand-over is pending the ring keeps filling.
//
// Weights of all types pass through the same ring: NZ rows are 32 bytes whatever the type, so an
// int8 matrix is moved like a 16-bit matrix with half as many columns.
#pragma once

#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/gemm_tiles.h"
#include "kernels/hand_over.h"
#include "plan/gemm_plan.h"

namespace kernels {

template <uint32_t kMaxPhases>
class WeightStream {
public:
    // Each slot takes one event id of MTE1 and MTE2 in either direction. With the two slots of A in
    // Gemm these are the six ids that a kernel may allocate.
    static constexpr uint32_t kMaxSlots = 4;
    static constexpr uint32_t kUnlimited = 0xFFFFFFFF;

    __aicore__ inline void Open(AscendC::TPipe* pipe, const GemmBuffers& buffers, uint32_t core,
                                uint32_t cores) {
        slots_ = buffers.b_slots;
        slot_bytes_ = buffers.b_slot_bytes;
        core_ = core;
        cores_ = cores;
        phases_ = 0;
        phase_ = 0;
        begun_ = 0;
        loaded_ = 0;
        fill_ = 0;
        drain_ = 0;
        in_flight_ = 0;
        acquired_ = false;
        pipe->InitBuffer(buffer_, buffers.b_slots * buffers.b_slot_bytes);
        events_.Open(pipe);
    }

    // Appends the weight of a GEMM, of which at most `ahead` tiles are loaded before that GEMM
    // begins: MTE2 works in order, so that its A would wait for all that is loaded ahead.
    __aicore__ inline void AddPhase(const GemmPlan& plan, GM_ADDR weight,
                                    uint32_t ahead = kUnlimited) {
        plans_[phases_] = plan;
        ahead_[phases_] = ahead;
        weights_[phases_].SetGlobalBuffer(reinterpret_cast<__gm__ half*>(weight));
        ++phases_;
    }

    // `end_flag` is a cross-core flag for the vector cores of the group, set when the last tile has
    // arrived.
    //
    // Start loads at most one tile, since the first product needs A before a second tile. Cores
    // with an even index load none and start with A: if all cores did, they would read the same
    // bytes at once, and HBM would idle meanwhile.
    __aicore__ inline void Start(uint16_t end_flag = kNoFlag) {
        end_flag_ = end_flag;
        EnterPhase();
        if (core_ % 2 != 0 && MayLoad()) Load();
    }

    // The next GEMM begins. The first one needs no call.
    __aicore__ inline void BeginNext() { ++begun_; }

    // Loads tiles until all slots but `spare` are in use.
    __aicore__ inline void Fill(uint32_t spare = 0) {
        while (in_flight_ + spare < slots_ && MayLoad()) Load();
    }

    // Returns the oldest tile, whose elements are of type T. May be called any number of times;
    // call Release after the last read.
    template <typename T>
    __aicore__ inline AscendC::LocalTensor<T> Acquire() {
        if (!acquired_) events_.WaitFull(drain_);
        acquired_ = true;
        return buffer_.template Get<T>()[drain_ * slot_bytes_ / sizeof(T)];
    }

    __aicore__ inline void Release() {
        acquired_ = false;
        events_.SetFree(drain_);
        drain_ = drain_ + 1 == slots_ ? 0 : drain_ + 1;
        --in_flight_;
        if (MayLoad()) Load();
    }

    __aicore__ inline void Close(AscendC::TPipe* pipe) { events_.Close(pipe); }

private:
    __aicore__ inline bool MayLoad() const {
        return phase_ < phases_ && (phase_ <= begun_ || loaded_ < ahead_[phase_]);
    }

    __aicore__ inline void EnterPhase() {
        loaded_ = 0;
        while (phase_ < phases_) {
            cursor_.Open(plans_[phase_], core_, cores_);
            if (!cursor_.Done()) return;
            ++phase_;  // this core has no share of this weight
        }
        if (end_flag_ != kNoFlag) AscendC::CrossCoreSetFlag<2, PIPE_MTE2>(end_flag_);
    }

    __aicore__ inline void Load() {
        const GemmPlan& plan = plans_[phase_];
        events_.WaitFree(fill_);
        CopyTile(buffer_.template Get<half>()[fill_ * slot_bytes_ / sizeof(half)], weights_[phase_],
                 plan, cursor_.Get(plan));
        events_.SetFull(fill_);
        fill_ = fill_ + 1 == slots_ ? 0 : fill_ + 1;
        ++in_flight_;
        ++loaded_;
        cursor_.Next(plan);
        if (cursor_.Done()) {
            ++phase_;
            EnterPhase();
        }
    }

    // In L1 a tile of either [n, k] layout is [k/16][columns][16], one of either [k, n] layout
    // [columns/C0][depths][C0]. Sizes are in units of 2 bytes.
    __aicore__ inline void CopyTile(const AscendC::LocalTensor<half>& dst,
                                    const AscendC::GlobalTensor<half>& weight, const GemmPlan& plan,
                                    const Tile& tile) {
        const bool deep = DepthIsContiguous(plan);
        const uint32_t row = deep ? tile.column : tile.depth;
        const uint32_t rows = deep ? tile.columns : tile.depths;
        const uint32_t first = Halves(plan, deep ? tile.depth : tile.column);
        const uint32_t width = Halves(plan, deep ? tile.depths : tile.columns);
        const uint64_t batch = Halves(plan, static_cast<uint64_t>(tile.batch) * plan.n * plan.k);
        if (!IsFractal(plan)) {
            const uint32_t stride = Halves(plan, plan.b_stride);
            AscendC::Nd2NzParams params;
            params.ndNum = 1;
            params.nValue = rows;
            params.dValue = width;
            params.srcNdMatrixStride = 0;
            params.srcDValue = stride;
            params.dstNzC0Stride = rows;
            params.dstNzNStride = 1;
            params.dstNzMatrixStride = 0;
            AscendC::DataCopy(dst, weight[batch + static_cast<uint64_t>(row) * stride + first],
                              params);
        } else {
            AscendC::DataCopyParams params;  // in units of 32 bytes: one row of a strip each
            params.blockCount = width / kStrip;
            params.blockLen = rows;
            params.srcStride = plan.b_stride - rows;
            params.dstStride = 0;
            AscendC::DataCopy(
                dst, weight[batch + static_cast<uint64_t>(first) * plan.b_stride + row * kStrip],
                params);
        }
    }

    template <typename Count>
    static __aicore__ inline Count Halves(const GemmPlan& plan, Count elements) {
        return elements * plan.element_bytes / sizeof(half);
    }

    AscendC::TBuf<AscendC::TPosition::B1> buffer_;
    RingEvents<AscendC::HardEvent::MTE2_MTE1, AscendC::HardEvent::MTE1_MTE2, kMaxSlots> events_;
    GemmPlan plans_[kMaxPhases];
    AscendC::GlobalTensor<half> weights_[kMaxPhases];
    uint16_t end_flag_;
    TileCursor cursor_;
    uint32_t slots_;
    uint32_t slot_bytes_;
    uint32_t core_;
    uint32_t cores_;
    uint32_t phases_;
    uint32_t phase_;
    uint32_t begun_;  // the GEMM that runs
    uint32_t ahead_[kMaxPhases];
    uint32_t loaded_;  // tiles of phase_
    uint32_t fill_;
    uint32_t drain_;
    uint32_t in_flight_;
    bool acquired_;  // whether the oldest tile has been waited for
};

}  // namespace kernels
