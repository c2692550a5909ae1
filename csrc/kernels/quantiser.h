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
    // `width` is the width of the widest row held in UB, a multiple of 64. Rows longer than
    // that or than 4096 elements are processed in pieces, at most 32 of them (kMaxQuantisedPieces
    // of plan/units.h), so that the maxima of all pieces fit one repeat.
    __aicore__ inline void Open(AscendC::TPipe* pipe, uint32_t width) {
        pipe_ = pipe;
        const plan::QuantiserUb bytes{width};
        width_ = bytes.Piece();
        pipe->InitBuffer(narrow_, bytes.Narrow());
        pipe->InitBuffer(result_, bytes.Result());
        pipe->InitBuffer(scale_, kBlockBytes);
        pipe->InitBuffer(partial_, plan::kLaneBytes);
        pipe->InitBuffer(most_, plan::kLaneBytes);
        pipe->InitBuffer(factor_, plan::kLaneBytes);
        pipe->InitBuffer(offset_, plan::kLaneBytes);
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
        const AscendC::LocalTensor<float> one = partial_.Get<float>();
        AscendC::Duplicate(one, 1.0f, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Div(factor_.Get<float>(), one, factor_.Get<float>(), kBlockFloats);
        if (has_offset_) LoadSpread(offset_.Get<float>(), input_offset);
    }

    // Quantises row `row` of `source` [rows, width] to the same row of `target`. When dynamic, the
    // row's scale goes to all elements of row `row` of `scales` [rows, scale_width]; scale_width is
    // at most 8. `x` and `landing` are buffers for one piece, in fp32 and in T.
    __aicore__ inline void Row(GM_ADDR source, GM_ADDR target, GM_ADDR scales, uint32_t scale_width,
                               uint64_t row, uint32_t width, const AscendC::LocalTensor<float>& x,
                               const AscendC::LocalTensor<T>& landing) {
        const uint32_t pieces = CeilDiv(width, width_);
        if (dynamic_) {
            for (uint32_t piece = 0; piece < pieces; ++piece) {
                const uint32_t first = piece * width_;
                const uint32_t count = Min(width_, width - first);
                LoadPiece(source, row * width + first, count, x, landing);
                KeepMost(x, count, piece);
            }
            FinishScale(pieces);
            StoreScale(scales, scale_width, row);
        }
        for (uint32_t piece = 0; piece < pieces; ++piece) {
            const uint32_t first = piece * width_;
            const uint32_t count = Min(width_, width - first);
            LoadPiece(source, row * width + first, count, x, landing);
            Store(target, row * width + first, x, count);
        }
    }

    // Does the same for a row that is already in UB, in one piece of at most 4096 elements.
    __aicore__ inline void RowInUb(const AscendC::LocalTensor<T>& source, GM_ADDR target,
                                   GM_ADDR scales, uint64_t row, uint32_t width,
                                   const AscendC::LocalTensor<float>& x) {
        if (dynamic_) {
            ToFloat(x, source, width);
            AscendC::PipeBarrier<PIPE_V>();
            KeepMost(x, width, 0);
            FinishScale(1);
            StoreScale(scales, kBlockFloats, row);
        }
        ToFloat(x, source, width);
        AscendC::PipeBarrier<PIPE_V>();
        Store(target, row * width, x, width);
    }

    // Returns x * factor (+ offset) as int8 in UB, ready for MTE3.
    __aicore__ inline AscendC::LocalTensor<int8_t> ToInt8(const AscendC::LocalTensor<float>& x,
                                                          uint32_t count) {
        const AscendC::LocalTensor<half> narrow = narrow_.Get<half>();
        const AscendC::LocalTensor<int8_t> result = result_.Get<int8_t>();
        MulByBlock(x, factor_.Get<float>(), count);
        AscendC::PipeBarrier<PIPE_V>();
        if (!dynamic_ && has_offset_) {
            AscendC::Add(x, x, offset_.Get<float>(), kLanes, count / kLanes, {1, 1, 0, 8, 8, 0});
            AscendC::PipeBarrier<PIPE_V>();
        }
        // fp32 reaches int8 only by way of fp16, in which whole numbers up to 128 are exact.
        AscendC::Cast(x, x, AscendC::RoundMode::CAST_RINT, count);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Maxs(x, x, -128.0f, count);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Mins(x, x, 127.0f, count);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Cast(narrow, x, AscendC::RoundMode::CAST_RINT, count);
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
        AscendC::PipeBarrier<PIPE_V>();
    }

    __aicore__ inline void LoadPiece(GM_ADDR source, uint64_t offset, uint32_t count,
                                     const AscendC::LocalTensor<float>& x,
                                     const AscendC::LocalTensor<T>& landing) {
        AscendC::GlobalTensor<T> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(source));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopy(landing, gm[offset], count);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        ToFloat(x, landing, count);
        AscendC::PipeBarrier<PIPE_V>();
    }

    // Writes the largest magnitude of a piece to element 2 * piece of most_: WholeReduceMax writes
    // only to multiples of 8 bytes (its page of CANN 8.5; debug builds of 2026 stop at any other
    // address). x is replaced by its magnitudes.
    __aicore__ inline void KeepMost(const AscendC::LocalTensor<float>& x, uint32_t count,
                                    uint32_t piece) {
        const AscendC::LocalTensor<float> partial = partial_.Get<float>();
        const uint32_t repeats = count / kLanes;
        AscendC::Abs(x, x, count);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::WholeReduceMax(partial, x, kLanes, repeats, 1, 1, 8,
                                AscendC::ReduceOrder::ORDER_ONLY_VALUE);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::WholeReduceMax(most_.Get<float>()[2 * piece], partial, repeats, 1, 1, 1, 8,
                                AscendC::ReduceOrder::ORDER_ONLY_VALUE);
        AscendC::PipeBarrier<PIPE_V>();
    }

    // Computes the row's scale and the factor of its elements from the maxima of all pieces.
    __aicore__ inline void FinishScale(uint32_t pieces) {
        const AscendC::LocalTensor<float> most = most_.Get<float>();
        const AscendC::LocalTensor<float> steps = partial_.Get<float>();
        const AscendC::LocalTensor<float> factor = factor_.Get<float>();
        const AscendC::LocalTensor<float> scale = scale_.Get<float>();
        // Brcb reads eight values, of which only the first is used; the others must not be stale.
        AscendC::Duplicate(steps, 1.0f, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        const uint64_t even_lanes[2] = {uint64_t{0x5555555555555555} >> (kLanes - 2 * pieces), 0};
        AscendC::WholeReduceMax(steps, most, even_lanes, 1, 1, 1, 8,
                                AscendC::ReduceOrder::ORDER_ONLY_VALUE);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Brcb(factor, steps, 1, {1, 8});
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Duplicate(steps, 127.0f, kBlockFloats);
        HandOver<AscendC::HardEvent::MTE3_V>(pipe_);  // scale_ may still be being stored
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Div(scale, factor, steps, kBlockFloats);
        // `most` becomes 1, or 0 for rows that count as zeros.
        AscendC::Duplicate(most, kLeast, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Div(most, factor, most, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();  // factor has been read
        AscendC::Maxs(factor, factor, kLeast, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Div(factor, steps, factor, kBlockFloats);
        AscendC::Mins(most, most, 1.0f, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Cast(most, most, AscendC::RoundMode::CAST_FLOOR, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Mul(scale, scale, most, kBlockFloats);
        AscendC::Mul(factor, factor, most, kBlockFloats);
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
};

}  // namespace kernels
