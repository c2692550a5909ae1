// Dequantises the int32 sums of a W8A8 product to fp32: (sum + bias) * column scale (* token
// scale).
//
// This runs on the vector cores because the fixpipe cannot convert int32 to bfloat16 and its fp16
// scales have a mantissa of only 10 bits.
#pragma once

#include "kernel_operator.h"
#include "kernels/copy_rows.h"
#include "kernels/events.h"
#include "kernels/linear_format.h"
#include "kernels/partition.h"
#include "kernels/vector_math.h"
#include "plan/linear_format.h"
#include "plan/ub_bytes.h"

namespace kernels {

class Dequantiser {
public:
    // `width` is the width of the widest row this instance will process, a multiple of 64.
    __aicore__ inline void Open(AscendC::TPipe* pipe, uint32_t width) {
        pipe_ = pipe;
        const plan::DequantiserUb bytes{width};
        pipe->InitBuffer(sums_, bytes.Row());
        pipe->InitBuffer(bias_, bytes.Row());
        pipe->InitBuffer(scale_, bytes.Row());
        pipe->InitBuffer(packed_, bytes.Packed());
        pipe->InitBuffer(token_scale_, bytes.TokenScales());
    }

    // Selects the linear layer to dequantise. Its sums are at `sums`, one row per token, rows
    // `row_stride` elements apart; with dynamic quantisation its token scales are at
    // `token_scales`.
    __aicore__ inline void Bind(const LinearFormat& format, const QuantAddresses& addresses,
                                GM_ADDR sums, uint32_t row_stride, GM_ADDR token_scales) {
        dynamic_ = Dynamic(format);
        packed_scales_ = HasPackedScales(format);
        addresses_ = addresses;
        sums_gm_ = sums;
        row_stride_ = row_stride;
        token_scales_ = token_scales;
        columns_ = 0;
        depth_shares_ = 1;
    }

    // For Row, after Bind: the sums are the total of `shares` partial ones, `stride` elements
    // apart. `room` has a row of as many elements as columns are loaded for each but the first.
    __aicore__ inline void BindShares(uint32_t shares, uint64_t stride,
                                      const AscendC::LocalTensor<int32_t>& room) {
        depth_shares_ = shares;
        share_stride_ = stride;
        room_ = room;
    }

    // Loads the scales and biases of columns [column, column + columns) into UB.
    __aicore__ inline void LoadColumns(uint32_t column, uint32_t columns) {
        column_ = column;
        columns_ = columns;
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        if (addresses_.quant_bias != 0) {
            AscendC::GlobalTensor<int32_t> bias;
            bias.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t*>(addresses_.quant_bias));
            AscendC::DataCopy(bias_.Get<int32_t>(), bias[column], columns);
        }
        if (!packed_scales_) {
            AscendC::GlobalTensor<float> scale;
            scale.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(addresses_.dequant_scale));
            AscendC::DataCopy(scale_.Get<float>(), scale[column], columns);
            HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        } else {
            HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
            for (uint32_t i = 0; i < columns; i += kPacked) {
                UnpackScales(i, Min(kPacked, columns - i));
            }
        }
    }

    __aicore__ inline bool Holds(uint32_t column, uint32_t columns) const {
        return columns_ == columns && column_ == column;
    }

    // Writes the loaded columns of a token, dequantised, to `x`, ready for the vector pipe.
    __aicore__ inline void Row(const AscendC::LocalTensor<float>& x, uint32_t token) {
        const AscendC::LocalTensor<int32_t> sums = sums_.Get<int32_t>();
        AscendC::GlobalTensor<int32_t> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t*>(sums_gm_));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        const uint64_t first = static_cast<uint64_t>(token) * row_stride_ + column_;
        AscendC::DataCopy(sums, gm[first], columns_);
        for (uint32_t i = 1; i < depth_shares_; ++i) {
            AscendC::DataCopy(Share(i), gm[first + i * share_stride_], columns_);
        }
        LoadTokenScales(token, 1);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        // Adds up in pairs, so that no addition waits for another one of its round.
        for (uint32_t left = depth_shares_; left > 1;) {
            const uint32_t half = (left + 1) / 2;
            for (uint32_t i = 0; i + half < left; ++i) {
                AscendC::Add(Share(i), Share(i), Share(i + half), columns_);
            }
            AscendC::PipeBarrier<PIPE_V>();
            left = half;
        }
        if (addresses_.quant_bias != 0) {
            AscendC::Add(sums, sums, bias_.Get<int32_t>(), columns_);
            AscendC::PipeBarrier<PIPE_V>();
        }
        AscendC::Cast(x, sums, AscendC::RoundMode::CAST_RINT, columns_);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Mul(x, x, scale_.Get<float>(), columns_);
        AscendC::PipeBarrier<PIPE_V>();
        if (dynamic_) {
            MulByBlock(x, token_scale_.Get<float>(), columns_);
            AscendC::PipeBarrier<PIPE_V>();
        }
    }

    // Dequantises `rows` rows of the loaded columns, which are dense in UB: `x` and `sums` are the
    // same bytes. With dynamic quantisation `token_scales` has a block for each row, of its scale.
    // At most 255 rows, and 2,040 columns.
    __aicore__ inline void Rows(const AscendC::LocalTensor<float>& x,
                                const AscendC::LocalTensor<int32_t>& sums,
                                const AscendC::LocalTensor<float>& token_scales, uint32_t rows) {
        if (addresses_.quant_bias != 0) {
            AddRow(sums, bias_.Get<int32_t>(), rows, columns_);
            AscendC::PipeBarrier<PIPE_V>();
        }
        AscendC::Cast(x, sums, AscendC::RoundMode::CAST_RINT, rows * columns_);
        AscendC::PipeBarrier<PIPE_V>();
        MulByRow(x, scale_.Get<float>(), rows, columns_);
        AscendC::PipeBarrier<PIPE_V>();
        if (dynamic_) {
            MulByBlocks(x, token_scales, rows, columns_);
            AscendC::PipeBarrier<PIPE_V>();
        }
    }

    // Loads the loaded columns of tokens [token, token + tokens), at most DequantiserUb::kTokens,
    // and does the same: `x` and `sums` are the same bytes.
    __aicore__ inline void Tile(const AscendC::LocalTensor<float>& x,
                                const AscendC::LocalTensor<int32_t>& sums, uint32_t token,
                                uint32_t tokens) {
        AscendC::GlobalTensor<int32_t> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t*>(sums_gm_));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        LoadRows(sums, gm[static_cast<uint64_t>(token) * row_stride_ + column_], tokens, columns_,
                 row_stride_);
        LoadTokenScales(token, tokens);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        Rows(x, sums, token_scale_.Get<float>(), tokens);
    }

private:
    static constexpr uint32_t kPacked = plan::DequantiserUb::kPacked;

    __aicore__ inline void LoadTokenScales(uint32_t token, uint32_t tokens) {
        if (!dynamic_) return;
        AscendC::GlobalTensor<float> scales;
        scales.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(token_scales_));
        AscendC::DataCopy(token_scale_.Get<float>(),
                          scales[static_cast<uint64_t>(token) * kBlockFloats],
                          tokens * kBlockFloats);
    }

    __aicore__ inline AscendC::LocalTensor<int32_t> Share(uint32_t share) {
        if (share == 0) return sums_.Get<int32_t>();
        return room_[(share - 1) * columns_];
    }

    // The fp32 scales are the low halves of int64 words.
    __aicore__ inline void UnpackScales(uint32_t first, uint32_t count) {
        AscendC::GlobalTensor<uint32_t> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ uint32_t*>(addresses_.dequant_scale));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopy(packed_.Get<uint32_t>(), gm[2 * static_cast<uint64_t>(column_ + first)],
                          2 * count);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        uint64_t kept = 0;
        const AscendC::GatherMaskParams params(1, 1, 8, 0);
        AscendC::GatherMask(scale_.Get<uint32_t>()[first], packed_.Get<uint32_t>(),
                            static_cast<uint8_t>(1), true, 2 * count, params, kept);
    }

    AscendC::TPipe* pipe_;
    bool dynamic_;
    bool packed_scales_;
    QuantAddresses addresses_;
    GM_ADDR sums_gm_;
    GM_ADDR token_scales_;
    uint32_t row_stride_;
    uint32_t column_;
    uint32_t columns_;
    uint32_t depth_shares_;
    uint64_t share_stride_;
    AscendC::LocalTensor<int32_t> room_;
    AscendC::TBuf<AscendC::TPosition::VECIN> sums_;
    AscendC::TBuf<AscendC::TPosition::VECIN> bias_;
    AscendC::TBuf<AscendC::TPosition::VECIN> scale_;
    AscendC::TBuf<AscendC::TPosition::VECIN> packed_;
    AscendC::TBuf<AscendC::TPosition::VECIN> token_scale_;
};

}  // namespace kernels
