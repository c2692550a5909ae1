// The cube side of a GEMM: tiles of A are staged in L1, steps of A and B in L0, and the fixpipe
// writes the results out.
#pragma once

#include "arch/dav_c220.h"
#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/gemm_tiles.h"
#include "kernels/weight_stream.h"
#include "plan/gemm_plan.h"

namespace kernels {

// How the fixpipe converts sums to the output type.
template <typename C>
struct FixpipeQuant {
    static constexpr QuantMode_t kMode = QuantMode_t::NoQuant;
};
template <>
struct FixpipeQuant<half> {
    static constexpr QuantMode_t kMode = QuantMode_t::F322F16;
};
template <>
struct FixpipeQuant<bfloat16_t> {
    static constexpr QuantMode_t kMode = QuantMode_t::F322BF16;
};

// The type in which products of T are summed, and that to which the fixpipe may round the sums.
// int32 sums are always written unconverted: the fixpipe cannot convert int32 to bfloat16, and its
// fp16 scales have a mantissa of only 10 bits.
template <typename T>
struct Accumulator {
    using Type = float;
    using Rounded = T;
};
template <>
struct Accumulator<int8_t> {
    using Type = int32_t;
    using Rounded = int32_t;
};

// One instance runs GEMMs of all types, one after the other. Where data is only moved, a fractal
// row of 32 bytes is treated as 16 halves, whatever its type.
class Gemm {
public:
    __aicore__ inline void Open(AscendC::TPipe* pipe, const GemmBuffers& buffers, uint32_t core,
                                uint32_t cores) {
        core_ = core;
        cores_ = cores;
        a_slot_bytes_ = buffers.a_slot_bytes;
        l0c_slot_elements_ = buffers.l0c_slot_bytes / sizeof(float);
        a_slot_ = 0;
        l0_slot_ = 0;
        moved_ahead_ = 0;
        left_loaded_ = false;
        started_ = false;
        l0c_slot_ = 0;
        pipe->InitBuffer(a_buffer_, kSlots * buffers.a_slot_bytes);
        pipe->InitBuffer(l0a_, kSlots * kL0SlotBytes);
        pipe->InitBuffer(l0b_, kSlots * kL0SlotBytes);
        pipe->InitBuffer(l0c_, kSlots * buffers.l0c_slot_bytes);
        a_events_.Open(pipe);
        l0_events_.Open(pipe);
        l0c_events_.Open(pipe);
    }

    // Fills the weight ring and moves the first steps of the next GEMM's weight into L0B. Call it
    // before the core waits for that GEMM's A.
    //
    // Loads run in order, so that A will come behind all weight tiles in flight. Before the first
    // GEMM every other core keeps a slot for a tile behind it: HBM works on these while the others
    // load A.
    template <typename T, typename Stream>
    __aicore__ inline void MoveAhead(const GemmPlan& plan, Stream& stream) {
        TileCursor cursor;
        cursor.Open(plan, core_, cores_);
        stream.Fill(!started_ && core_ % 2 == 0 ? 1 : 0);
        if (cursor.Done()) return;
        const Tile tile = cursor.Get(plan);
        const AscendC::LocalTensor<T> b = stream.template Acquire<T>();
        for (uint32_t depth = 0; depth < tile.depths && moved_ahead_ < kSlots;
             depth += plan.l0_k, ++moved_ahead_) {
            const uint32_t slot = (l0_slot_ + moved_ahead_) % kSlots;
            l0_events_.WaitFree(slot);
            MoveB(plan, l0b_.Get<T>()[slot * kL0SlotBytes / sizeof(T)], b, tile, depth,
                  Min(plan.l0_k, tile.depths - depth));
        }
    }

    // Runs one GEMM of T (bfloat16_t, half or int8_t); its weight is the next phase of `stream`. C
    // is of the type of its sums or of T, as the plan says.
    //
    // A is loaded one slot ahead of the products that need it: issued on demand, it would queue
    // after the weight tiles in flight. So is the first slot of the GEMM that runs next, if its A,
    // `next_a`, is complete already (otherwise null) and the A of this one takes one slot.
    template <typename T, typename Stream>
    __aicore__ inline void Run(const GemmPlan& plan, GM_ADDR a, GM_ADDR c, Stream& stream,
                               const GemmPlan& next, GM_ADDR next_a) {
        WholeC whole{c};
        RunTo<T>(plan, a, whole, stream, next, next_a);
    }

    // The same, with `target` (WholeC or SumsRing) to say where each tile of C goes, and to be told
    // when it has been stored.
    template <typename T, typename Target, typename Stream>
    __aicore__ inline void RunTo(const GemmPlan& plan, GM_ADDR a, Target& target, Stream& stream,
                                 const GemmPlan& next, GM_ADDR next_a) {
        LeftCursor ahead;  // the piece of A to load next
        LeftCursor cursor;
        started_ = true;
        ahead.Open(plan, core_, cores_, a_slot_, a_slot_bytes_);
        cursor.Open(plan, core_, cores_, a_slot_, a_slot_bytes_);
        if (cursor.Done()) {
            stream.Fill();
            return;
        }
        if (left_loaded_) {
            PassSlot(plan, ahead);
        } else {
            LoadSlot(plan, a, ahead);
        }
        left_loaded_ = false;
        stream.Fill();
        if (!ahead.Done()) {
            LoadSlot(plan, a, ahead);
        } else if (next_a != nullptr) {
            LeftCursor first;
            first.Open(next, core_, cores_, 1 - a_slot_, a_slot_bytes_);
            left_loaded_ = !first.Done();
            if (left_loaded_) LoadSlot(next, next_a, first);
        }
        a_events_.WaitFull(cursor.Slot());
        while (true) {
            const Tile tile = cursor.tile;
            if (tile.first) WaitFreeSums(plan, tile);
            Multiply<T>(plan, cursor, stream.template Acquire<T>());
            cursor.Next(plan);
            const bool leaves_slot = cursor.Done() || cursor.NewSlot();
            // Every other core loads the weight first: if all cores loaded A, which is in L2, at
            // the same time, HBM would idle.
            if (core_ % 2 == 0) stream.Release();
            if (leaves_slot) {
                a_events_.SetFree(a_slot_);
                a_slot_ = 1 - a_slot_;
                if (!ahead.Done()) LoadSlot(plan, a, ahead);
            }
            if (core_ % 2 != 0) stream.Release();
            if (tile.last) {
                Store<T>(plan, tile, target.Place(plan, tile, cursor.DepthShare()));
                target.Stored();
            }
            if (cursor.Done()) return;
            if (leaves_slot) a_events_.WaitFull(a_slot_);
        }
    }

    // Does the same where none is known to run next.
    template <typename T, typename Stream>
    __aicore__ inline void Run(const GemmPlan& plan, GM_ADDR a, GM_ADDR c, Stream& stream) {
        Run<T>(plan, a, c, stream, plan, nullptr);
    }
    template <typename T, typename Target, typename Stream>
    __aicore__ inline void RunTo(const GemmPlan& plan, GM_ADDR a, Target& target, Stream& stream) {
        RunTo<T>(plan, a, target, stream, plan, nullptr);
    }

    __aicore__ inline void Close(AscendC::TPipe* pipe) {
        a_events_.Close(pipe);
        l0_events_.Close(pipe);
        l0c_events_.Close(pipe);
    }

private:
    static constexpr uint32_t kSlots = 2;
    static constexpr uint32_t kL0SlotBytes = arch::DavC220::kL0bBytes / 2;
    static_assert(arch::DavC220::kL0aBytes == arch::DavC220::kL0bBytes);
    static constexpr uint32_t kFractalBytes = plan::kFractalBytes;

    // Loads into the next slot as many pieces of A as it has room for.
    __aicore__ inline void LoadSlot(const GemmPlan& plan, GM_ADDR a, LeftCursor& ahead) {
        const uint32_t slot = ahead.Slot();
        a_events_.WaitFree(slot);
        do {
            if (ahead.NewPiece()) LoadPiece(plan, a, ahead);
            ahead.Next(plan);
        } while (!ahead.Done() && !ahead.NewSlot());
        a_events_.SetFull(slot);
    }

    // Goes on to the next slot without loading.
    __aicore__ inline void PassSlot(const GemmPlan& plan, LeftCursor& ahead) {
        do {
            ahead.Next(plan);
        } while (!ahead.Done() && !ahead.NewSlot());
    }

    // Loads in units of 4 bytes: a row of [T, 128, 512] has 65536 16-bit elements, one more than
    // srcDValue can express.
    __aicore__ inline void LoadPiece(const GemmPlan& plan, GM_ADDR a, const LeftCursor& piece) {
        const Tile& tile = piece.tile;
        const uint64_t offset = static_cast<uint64_t>(tile.row) * plan.a_row_stride +
                                static_cast<uint64_t>(tile.batch) * plan.a_batch_stride +
                                piece.piece_depth;
        AscendC::GlobalTensor<float> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(a));
        AscendC::Nd2NzParams params;
        // Mmad with one row would switch to GEMV, so a single row is loaded twice (matrix stride
        // 0).
        params.ndNum = tile.rows == 1 ? 2 : 1;
        params.nValue = tile.rows;
        params.dValue = Words(plan, piece.piece_depths);
        params.srcNdMatrixStride = 0;
        params.srcDValue = Words(plan, plan.a_row_stride);
        params.dstNzC0Stride = RoundUp(tile.rows, kStrip);
        params.dstNzNStride = 1;
        params.dstNzMatrixStride = kBlockBytes / sizeof(float);
        AscendC::DataCopy(a_buffer_.Get<float>()[piece.Offset() / sizeof(float)],
                          gm[Words(plan, offset)], params);
    }

    template <typename Count>
    static __aicore__ inline Count Words(const GemmPlan& plan, Count elements) {
        return elements * plan.element_bytes / sizeof(float);
    }

    template <typename T>
    __aicore__ inline void Multiply(const GemmPlan& plan, const LeftCursor& cursor,
                                    const AscendC::LocalTensor<T>& b) {
        using Sum = typename Accumulator<T>::Type;
        const Tile& tile = cursor.tile;
        const AscendC::LocalTensor<T> a = a_buffer_.Get<T>()[cursor.Offset() / sizeof(T)];
        const AscendC::LocalTensor<Sum> c = Sums<Sum>(plan, tile);
        AscendC::MmadParams params;
        params.m = tile.rows == 1 ? 2 : tile.rows;
        params.n = tile.columns;
        for (uint32_t depth = 0; depth < tile.depths; depth += plan.l0_k) {
            const uint32_t depths = Min(plan.l0_k, tile.depths - depth);
            const AscendC::LocalTensor<T> l0a = l0a_.Get<T>()[l0_slot_ * kL0SlotBytes / sizeof(T)];
            const AscendC::LocalTensor<T> l0b = l0b_.Get<T>()[l0_slot_ * kL0SlotBytes / sizeof(T)];
            if (moved_ahead_ > 0) {
                --moved_ahead_;
            } else {
                l0_events_.WaitFree(l0_slot_);
                MoveB(plan, l0b, b, tile, depth, depths);
            }
            MoveA(l0a, a, tile.rows, tile.depth - cursor.piece_depth + depth, depths);
            l0_events_.SetFull(l0_slot_);
            l0_events_.WaitFull(l0_slot_);
            params.k = depths;
            params.cmatrixInitVal = tile.first && depth == 0;
            // Small products that accumulate into the same L0C bytes need a barrier.
            if (!params.cmatrixInitVal &&
                (params.m / kStrip) * (params.n / kStrip) < plan::kSmallProduct) {
                AscendC::PipeBarrier<PIPE_M>();
            }
            AscendC::Mmad(c, l0a, l0b, params);
            l0_events_.SetFree(l0_slot_);
            l0_slot_ = 1 - l0_slot_;
        }
    }

    // The slot of L0C of a tile of sums, and the first one where it takes both.
    __aicore__ inline uint32_t SumsSlot(const Tile& tile) const {
        return (l0c_slot_ + tile.side) % kSlots;
    }

    // A tile of sums occupies one slot of L0C, or both.
    __aicore__ inline void WaitFreeSums(const GemmPlan& plan, const Tile& tile) {
        l0c_events_.WaitFree(SumsSlot(tile));
        if (plan.l0c_slots > 1) l0c_events_.WaitFree(1 - SumsSlot(tile));
    }

    template <typename Sum>
    __aicore__ inline AscendC::LocalTensor<Sum> Sums(const GemmPlan& plan, const Tile& tile) {
        const uint32_t slot = plan.l0c_slots > 1 ? 0 : SumsSlot(tile);
        return l0c_.Get<Sum>()[slot * l0c_slot_elements_];
    }

    // Moves A from NZ [depth/C0][rows][C0] in L1 to ZZ in L0A.
    template <typename T>
    __aicore__ inline void MoveA(const AscendC::LocalTensor<T>& l0a,
                                 const AscendC::LocalTensor<T>& a, uint32_t rows, uint32_t depth,
                                 uint32_t depths) {
        constexpr uint32_t kC0 = kBlockBytes / sizeof(T);
        constexpr uint32_t kFractal = kFractalBytes / sizeof(T);
        const uint32_t row_fractals = CeilDiv(rows, kStrip);
        AscendC::LoadData2DParams params;
        params.startIndex = 0;
        params.repeatTimes = depths / kC0;
        params.srcStride = row_fractals;
        params.dstGap = 0;
        params.ifTranspose = false;
        const uint32_t start = depth / kC0 * row_fractals;
        for (uint32_t i = 0; i < row_fractals; ++i) {
            AscendC::LoadData(l0a[i * depths / kC0 * kFractal], a[(start + i) * kFractal], params);
        }
    }

    template <typename T>
    __aicore__ inline void MoveB(const GemmPlan& plan, const AscendC::LocalTensor<T>& l0b,
                                 const AscendC::LocalTensor<T>& b, const Tile& tile, uint32_t depth,
                                 uint32_t depths) {
        if (DepthIsContiguous(plan)) {
            CopyB(l0b, b, tile, depth, depths);
        } else {
            TransposeB(l0b, b, tile, depth, depths);
        }
    }

    // LoadData transposes 16-bit elements only. int8 weights are always stored [k, n] and are
    // transposed in blocks of 32 x 32 by LoadDataWithTranspose.
    __aicore__ inline void MoveB(const GemmPlan&, const AscendC::LocalTensor<int8_t>& l0b,
                                 const AscendC::LocalTensor<int8_t>& b, const Tile& tile,
                                 uint32_t depth, uint32_t depths) {
        constexpr uint32_t kSide = 32;
        const uint32_t column_blocks = tile.columns / kSide;
        AscendC::LoadData2dTransposeParams params;
        params.startIndex = 0;
        params.repeatTimes = column_blocks;
        params.srcStride = tile.depths / kSide;
        params.dstGap = 1;  // skips the second fractal of each block
        params.dstFracGap = 0;
        for (uint32_t i = 0; i < depths / kSide; ++i) {
            AscendC::LoadDataWithTranspose(l0b[i * column_blocks * kSide * kSide],
                                           b[(depth / kSide + i) * kSide * kSide], params);
        }
    }

    // [depth/16][columns][16] in L1 is already in the fractal order of L0B.
    template <typename T>
    __aicore__ inline void CopyB(const AscendC::LocalTensor<T>& l0b,
                                 const AscendC::LocalTensor<T>& b, const Tile& tile, uint32_t depth,
                                 uint32_t depths) {
        constexpr uint32_t kFractal = kFractalBytes / sizeof(T);
        const uint32_t column_fractals = tile.columns / kStrip;
        AscendC::LoadData2DParams params;
        params.startIndex = 0;
        params.repeatTimes = depths / kStrip * column_fractals;
        params.srcStride = 1;
        params.dstGap = 0;
        params.ifTranspose = false;
        AscendC::LoadData(l0b, b[depth / kStrip * column_fractals * kFractal], params);
    }

    // In L1 B is [columns/16][depths][16]: fractals are k-major inside and column-major outside, so
    // both are transposed.
    template <typename T>
    __aicore__ inline void TransposeB(const AscendC::LocalTensor<T>& l0b,
                                      const AscendC::LocalTensor<T>& b, const Tile& tile,
                                      uint32_t depth, uint32_t depths) {
        constexpr uint32_t kFractal = kFractalBytes / sizeof(T);
        const uint32_t column_fractals = tile.columns / kStrip;
        AscendC::LoadData2DParams params;
        params.startIndex = 0;
        params.repeatTimes = column_fractals;
        params.srcStride = tile.depths / kStrip;
        params.dstGap = 0;
        params.ifTranspose = true;
        for (uint32_t i = 0; i < depths / kStrip; ++i) {
            AscendC::LoadData(l0b[i * column_fractals * kFractal],
                              b[(depth / kStrip + i) * kFractal], params);
        }
    }

    template <typename T>
    __aicore__ inline void Store(const GemmPlan& plan, const Tile& tile, const TileOfC& place) {
        using Sum = typename Accumulator<T>::Type;
        const uint32_t slot = SumsSlot(tile);
        l0c_events_.SetFull(slot);
        l0c_events_.WaitFull(slot);
        if (sizeof(T) == 1 || plan.c_sums != 0) {
            FixpipeTo<Sum, Sum>(plan, tile, place);
        } else {
            FixpipeTo<typename Accumulator<T>::Rounded, Sum>(plan, tile, place);
        }
        l0c_events_.SetFree(slot);
        if (plan.l0c_slots > 1) l0c_events_.SetFree(1 - slot);
        if (tile.last_side) l0c_slot_ = 1 - slot;
    }

    template <typename C, typename Sum>
    __aicore__ inline void FixpipeTo(const GemmPlan& plan, const Tile& tile, const TileOfC& place) {
        AscendC::GlobalTensor<C> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ C*>(place.c));
        AscendC::FixpipeParamsV220 params;
        params.nSize = tile.columns;
        params.mSize = tile.rows;
        params.srcStride = RoundUp(tile.rows, kStrip);
        params.dstStride = place.row_stride;
        params.quantPre = FixpipeQuant<C>::kMode;
        AscendC::Fixpipe<C, Sum, AscendC::CFG_ROW_MAJOR>(gm[place.offset], Sums<Sum>(plan, tile),
                                                         params);
    }

    AscendC::TBuf<AscendC::TPosition::A1> a_buffer_;
    AscendC::TBuf<AscendC::TPosition::A2> l0a_;
    AscendC::TBuf<AscendC::TPosition::B2> l0b_;
    AscendC::TBuf<AscendC::TPosition::CO1> l0c_;
    RingEvents<AscendC::HardEvent::MTE2_MTE1, AscendC::HardEvent::MTE1_MTE2, kSlots> a_events_;
    RingEvents<AscendC::HardEvent::MTE1_M, AscendC::HardEvent::M_MTE1, kSlots> l0_events_;
    RingEvents<AscendC::HardEvent::M_FIX, AscendC::HardEvent::FIX_M, kSlots> l0c_events_;
    uint32_t core_;
    uint32_t cores_;
    uint32_t a_slot_bytes_;
    uint32_t l0c_slot_elements_;
    uint32_t a_slot_;
    uint32_t l0_slot_;
    bool started_;          // whether a GEMM has run
    bool left_loaded_;      // whether the next GEMM's first slot of A is loaded
    uint32_t moved_ahead_;  // steps whose weight is already in L0B
    uint32_t l0c_slot_;
};

}  // namespace kernels
