// Quantises activations to int8, with one scale and offset for the tensor (static) or one scale per
// row (dynamic).
//
//   static:  round(x * (1 / scale) + offset)
//   dynamic: round(x * (127 / max|x|)); the row's scale is max|x| / 127
//
// It rounds half to even and saturates. Rows of zeros, or of numbers so small that 127 / max|x| is
// not finite, give zeros and a scale of 0.
#pragma once

#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/linear_format.h"
#include "kernels/partition.h"
#include "kernels/vector_math.h"
#include "plan/linear_format.h"
#include "plan/ub_bytes.h"

namespace kernels {

template <typename T>
class Quantiser {
public:
    // `width` is that of the caller's buffers for a piece of a row, a multiple of 64. A row that is
    // no longer is one piece; of longer rows pieces are read twice where the row has a scale.
    __aicore__ inline void Open(AscendC::TPipe* pipe, uint32_t width) {
        pipe_ = pipe;
        const plan::QuantiserUb bytes{width};
        width_ = bytes.Piece();
        pipe->InitBuffer(narrow_, bytes.Narrow());
        pipe->InitBuffer(result_, bytes.Result());
        pipe->InitBuffer(scale_, kBlockBytes);
        pipe->InitBuffer(partial_, bytes.Partial());
        pipe->InitBuffer(most_, plan::kLaneBytes);
        pipe->InitBuffer(factor_, plan::kLaneBytes);
        pipe->InitBuffer(offset_, plan::kLaneBytes);
        pipe->InitBuffer(limits_, 2 * kBlockBytes);
        // Brcb reads eight values, of which only the first is used; the others must not be stale.
        AscendC::Duplicate(most_.Get<float>(), 1.0f, kLanes);
        AscendC::Duplicate(limits_.Get<float>(), 127.0f, kBlockFloats);
        AscendC::Duplicate(limits_.Get<float>()[kBlockFloats], kLeast, kBlockFloats);
    }

    // Selects the quantisation of a layer's activations.
    __aicore__ inline void Bind(const LinearFormat& format, const QuantAddresses& addresses) {
        if (Dynamic(format)) {
            BindDynamic();
        } else {
            BindStatic(addresses.input_scale, addresses.input_offset);
        }
    }

    __aicore__ inline void BindDynamic() { dynamic_ = true; }

    // Selects static quantisation with the scale at this address, and the offset if it has one.
    __aicore__ inline void BindStatic(uint64_t input_scale, uint64_t input_offset) {
        dynamic_ = false;
        has_offset_ = input_offset != 0;
        LoadSpread(factor_.Get<float>(), input_scale);
        const AscendC::LocalTensor<float> one = most_.Get<float>();
        AscendC::Duplicate(one, 1.0f, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Div(factor_.Get<float>(), one, factor_.Get<float>(), kBlockFloats);
        if (has_offset_) LoadSpread(offset_.Get<float>(), input_offset);
    }

    // Quantises share `share` of `shares` of row `row` of `source` [rows, width] to the same part
    // of `target`; every share may run on another core. When dynamic, share 0 writes the row's
    // scale to all elements of row `row` of `scales` [rows, scale_width]; scale_width is at most 8.
    // `x` and `landing` are buffers for one piece, in fp32 and in T.
    //
    // The largest magnitude is that of the whole row, which each of its cores finds by itself:
    // that costs less than to wait for one another.
    __aicore__ inline void Row(GM_ADDR source, GM_ADDR target, GM_ADDR scales, uint32_t scale_width,
                               uint64_t row, uint32_t width, const AscendC::LocalTensor<float>& x,
                               const AscendC::LocalTensor<T>& landing, uint32_t share = 0,
                               uint32_t shares = 1) {
        const uint64_t offset = row * width;
        const uint32_t piece = PieceOf(width);
        if (dynamic_) {
            uint32_t maxima = 0;
            for (uint32_t first = 0; first < width; first += piece) {
                const uint32_t count = Min(piece, width - first);
                LoadPiece(source, offset + first, count, landing);
                Widen(x, landing, count);
                maxima = KeepMost(x, count, maxima);
            }
            FinishScale(maxima, share == 0);
            if (share == 0) StoreScale(scales, scale_width, row);
        }
        const bool landed = dynamic_ && piece == width;
        const uint32_t end = ShareBegin(width / kLanes, shares, share + 1) * kLanes;
        for (uint32_t first = ShareBegin(width / kLanes, shares, share) * kLanes; first < end;
             first += piece) {
            const uint32_t count = Min(piece, end - first);
            if (!landed) LoadPiece(source, offset + first, count, landing);
            Widen(x, landing[landed ? first : 0], count);
            Store(target, offset + first, x, count);
        }
    }

    // Does the same for a whole row that is already in UB. `x` is a buffer for one piece.
    __aicore__ inline void RowInUb(const AscendC::LocalTensor<T>& source, GM_ADDR target,
                                   GM_ADDR scales, uint64_t row, uint32_t width,
                                   const AscendC::LocalTensor<float>& x) {
        const uint32_t piece = PieceOf(width);
        if (dynamic_) {
            uint32_t maxima = 0;
            for (uint32_t first = 0; first < width; first += piece) {
                const uint32_t count = Min(piece, width - first);
                Widen(x, source[first], count);
                maxima = KeepMost(x, count, maxima);
            }
            FinishScale(maxima, true);
            StoreScale(scales, kBlockFloats, row);
        }
        for (uint32_t first = 0; first < width; first += piece) {
            const uint32_t count = Min(piece, width - first);
            Widen(x, source[first], count);
            Store(target, row * width + first, x, count);
        }
    }

    // Returns x * factor (+ offset) as int8 in UB, ready for MTE3.
    __aicore__ inline AscendC::LocalTensor<int8_t> ToInt8(const AscendC::LocalTensor<float>& x,
                                                          uint32_t count) {
        const AscendC::LocalTensor<int16_t> whole = narrow_.Get<int16_t>();
        const AscendC::LocalTensor<half> narrow = narrow_.Get<half>();
        const AscendC::LocalTensor<int8_t> result = result_.Get<int8_t>();
        MulByBlock(x, factor_.Get<float>(), count);
        AscendC::PipeBarrier<PIPE_V>();
        if (!dynamic_ && has_offset_) {
            AscendC::Add(x, x, offset_.Get<float>(), kLanes, count / kLanes, {1, 1, 0, 8, 8, 0});
            AscendC::PipeBarrier<PIPE_V>();
        }
        // fp32 reaches int8 only by way of int16 and fp16. Both casts to an integer saturate
        // (precision_conversion); fp16 has all whole numbers up to 2048, and takes none of those
        // beyond to less.
        AscendC::Cast(whole, x, AscendC::RoundMode::CAST_RINT, count);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Cast(narrow, whole, AscendC::RoundMode::CAST_RINT, count);
        AscendC::PipeBarrier<PIPE_V>();
        HandOver<AscendC::HardEvent::MTE3_V>(pipe_);  // result_ may still be being stored
        AscendC::Cast(result, narrow, AscendC::RoundMode::CAST_RINT, count);
        HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
        return result;
    }

private:
    // Loads one fp32 number from GM into all elements of a block.
    __aicore__ inline void LoadSpread(const AscendC::LocalTensor<float>& block, uint64_t address) {
        const AscendC::LocalTensor<float> landing = partial_.Get<float>();
        AscendC::GlobalTensor<float> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(address));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopyPad(landing, gm, AscendC::DataCopyExtParams(1, sizeof(float), 0, 0, 0),
                             AscendC::DataCopyPadExtParams<float>(true, 0, kBlockFloats - 1, 1.0f));
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        AscendC::Brcb(block, landing, 1, {1, 8});
    }

    // Elements of a piece of a row. The maxima of all pieces have to fit one repeat.
    __aicore__ inline uint32_t PieceOf(uint32_t width) const {
        return width <= width_ ? width : Min(width_, plan::kMaxQuantisedPiece);
    }

    __aicore__ inline void LoadPiece(GM_ADDR source, uint64_t offset, uint32_t count,
                                     const AscendC::LocalTensor<T>& landing) {
        AscendC::GlobalTensor<T> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(source));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopy(landing, gm[offset], count);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
    }

    __aicore__ inline void Widen(const AscendC::LocalTensor<float>& x,
                                 const AscendC::LocalTensor<T>& source, uint32_t count) {
        ToFloat(x, source, count);
        AscendC::PipeBarrier<PIPE_V>();
    }

    // Appends the largest magnitudes of a piece, one for each 4096 elements, to the `maxima` ones
    // that there are, and returns how many there are then. They lie in every other element of
    // most_: WholeReduceMax writes only to multiples of 8 bytes (its page of CANN 8.5; debug builds
    // of 2026 stop at any other address). x is replaced by its magnitudes.
    __aicore__ inline uint32_t KeepMost(const AscendC::LocalTensor<float>& x, uint32_t count,
                                        uint32_t maxima) {
        const AscendC::LocalTensor<float> partial = partial_.Get<float>();
        const uint32_t repeats = count / kLanes;
        AscendC::Abs(x, x, count);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::WholeReduceMax(partial, x, kLanes, repeats, 1, 1, 8,
                                AscendC::ReduceOrder::ORDER_ONLY_VALUE);
        AscendC::PipeBarrier<PIPE_V>();
        for (uint32_t first = 0; first < repeats; first += kLanes) {
            AscendC::WholeReduceMax(most_.Get<float>()[2 * maxima++], partial[first],
                                    Min(kLanes, repeats - first), 1, 1, 1, 8,
                                    AscendC::ReduceOrder::ORDER_ONLY_VALUE);
        }
        AscendC::PipeBarrier<PIPE_V>();
        return maxima;
    }

    // Computes the row's scale, which may then be `stored`, and the factor of its elements from the
    // maxima of all pieces.
    __aicore__ inline void FinishScale(uint32_t maxima, bool stored) {
        const AscendC::LocalTensor<float> most = most_.Get<float>();
        const AscendC::LocalTensor<float> kept = partial_.Get<float>();
        const AscendC::LocalTensor<float> least = kept[kBlockFloats];
        const AscendC::LocalTensor<float> steps = limits_.Get<float>();
        const AscendC::LocalTensor<float> factor = factor_.Get<float>();
        const AscendC::LocalTensor<float> scale = scale_.Get<float>();
        if (maxima > 1) {
            const uint64_t even_lanes[2] = {uint64_t{0x5555555555555555} >> (kLanes - 2 * maxima),
                                            0};
            AscendC::WholeReduceMax(kept, most, even_lanes, 1, 1, 1, 8,
                                    AscendC::ReduceOrder::ORDER_ONLY_VALUE);
            AscendC::PipeBarrier<PIPE_V>();
        }
        AscendC::Brcb(factor, maxima > 1 ? kept : most, 1, {1, 8});
        AscendC::PipeBarrier<PIPE_V>();
        if (stored) HandOver<AscendC::HardEvent::MTE3_V>(pipe_);  // the last row's scale
        // `kept` becomes 1, or 0 for rows that count as zeros.
        AscendC::Div(kept, factor, steps[kBlockFloats], kBlockFloats);
        AscendC::Maxs(least, factor, kLeast, kBlockFloats);
        AscendC::Div(scale, factor, steps, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Mins(kept, kept, 1.0f, kBlockFloats);
        AscendC::Div(factor, steps, least, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Cast(kept, kept, AscendC::RoundMode::CAST_FLOOR, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Mul(scale, scale, kept, kBlockFloats);
        AscendC::Mul(factor, factor, kept, kBlockFloats);
    }

    __aicore__ inline void StoreScale(GM_ADDR scales, uint32_t width, uint64_t row) {
        AscendC::GlobalTensor<float> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(scales));
        HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
        AscendC::DataCopyPad(gm[row * width], scale_.Get<float>(),
                             AscendC::DataCopyExtParams(1, width * sizeof(float), 0, 0, 0));
    }

    __aicore__ inline void Store(GM_ADDR target, uint64_t offset,
                                 const AscendC::LocalTensor<float>& x, uint32_t count) {
        AscendC::GlobalTensor<int8_t> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ int8_t*>(target));
        AscendC::DataCopy(gm[offset], ToInt8(x, count), count);
    }

    // The smallest max|x| for which 127 / max|x| is finite.
    static constexpr float kLeast = 0x1.fc0002p-122f;

    AscendC::TPipe* pipe_;
    uint32_t width_;
    bool dynamic_;
    bool has_offset_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> narrow_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> result_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> scale_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> partial_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> most_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> factor_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> offset_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> limits_;  // blocks of 127 and of kLeast
};

}  // namespace kernels
