// Rotary embedding of 64 elements of each head, in fp32.
//
// out1[i] = x1[i] cos[i] - x2[i] sin[i], out2[i] = x2[i] cos[i + 32] + x1[i] sin[i + 32], where
// (x1, x2) are the even and odd elements of x (interleaved) or its two halves (half-split).
// (out1, out2) lie in the result in one of the same two ways.
#pragma once

#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/vector_math.h"
#include "plan/ub_bytes.h"

namespace kernels {

using plan::kRopeDim;
constexpr uint32_t kRopeHalf = kRopeDim / 2;

template <typename T>
class Rope {
public:
    __aicore__ inline void Open(AscendC::TPipe* pipe, GM_ADDR cos, GM_ADDR sin, bool table_float,
                                uint32_t max_heads, uint32_t max_tokens) {
        pipe_ = pipe;
        cos_gm_ = cos;
        sin_gm_ = sin;
        table_float_ = table_float;
        loaded_token_ = ~0U;
        loaded_tokens_ = 0;
        const plan::RopeUb bytes{max_heads, max_tokens};
        pipe->InitBuffer(table_, bytes.Table());
        pipe->InitBuffer(order_, bytes.Order());
        pipe->InitBuffer(split_, bytes.Heads());
        pipe->InitBuffer(rotated_, bytes.Heads());
        pipe->InitBuffer(product_, bytes.Halves());
    }

    // Sets how pairs are laid out in x and in the result: interleaved or half-split. Only
    // interleaved_out needs a table.
    __aicore__ inline void SetStyle(bool interleaved_in, bool interleaved_out) {
        interleaved_in_ = interleaved_in;
        interleaved_out_ = interleaved_out;
        if (!interleaved_out) return;
        const AscendC::LocalTensor<uint32_t> order = order_.Get<uint32_t>();
        for (uint32_t i = 0; i < kRopeHalf; ++i) {
            order.SetValue(2 * i, i * sizeof(float));
            order.SetValue(2 * i + 1, (kRopeHalf + i) * sizeof(float));
        }
        HandOver<AscendC::HardEvent::S_V>(pipe_);
    }

    // Loads the cos and sin rows of tokens into UB, unless they are already there.
    __aicore__ inline void LoadTable(uint32_t token, uint32_t tokens = 1) {
        if (token == loaded_token_ && tokens <= loaded_tokens_) return;
        loaded_token_ = token;
        loaded_tokens_ = tokens;
        const AscendC::LocalTensor<float> table = table_.Get<float>();
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        if (table_float_) {
            LoadRows(table, cos_gm_, token, tokens);
            LoadRows(table[kRopeDim], sin_gm_, token, tokens);
            HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        } else {
            const AscendC::LocalTensor<T> landing = split_.Get<T>();  // free between steps
            LoadRows(landing, cos_gm_, token, tokens);
            LoadRows(landing[kRopeDim], sin_gm_, token, tokens);
            HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
            ToFloat(table, landing, tokens * 2 * kRopeDim);
            AscendC::PipeBarrier<PIPE_V>();
        }
    }

    // Rotates the first 64 elements of each of `heads` heads of a token with its loaded cos and sin
    // rows. The heads are `x_stride` elements apart in `x` and `out_stride` apart in `out`. There
    // are at most 255 heads; strides are multiples of 64 up to 2040.
    __aicore__ inline void Apply(const AscendC::LocalTensor<T>& out, uint32_t out_stride,
                                 const AscendC::LocalTensor<float>& x, uint32_t x_stride,
                                 uint32_t heads) {
        Rotate(out, out_stride, x, x_stride, heads, 0);
    }

    // Does the same for one head of each of `tokens` tokens, whose rows are loaded.
    __aicore__ inline void ApplyToTokens(const AscendC::LocalTensor<T>& out, uint32_t out_stride,
                                         const AscendC::LocalTensor<float>& x, uint32_t x_stride,
                                         uint32_t tokens) {
        Rotate(out, out_stride, x, x_stride, tokens, 2 * kRopeDim / kBlockFloats);
    }

private:
    // `table_stride`: blocks from a head's cos and sin rows to those of the next.
    __aicore__ inline void Rotate(const AscendC::LocalTensor<T>& out, uint32_t out_stride,
                                  const AscendC::LocalTensor<float>& x, uint32_t x_stride,
                                  uint32_t heads, uint8_t table_stride) {
        const AscendC::LocalTensor<float> first = split_.Get<float>();
        const AscendC::LocalTensor<float> second = first[heads * kRopeHalf];
        const AscendC::LocalTensor<float> rotated = rotated_.Get<float>();
        const AscendC::LocalTensor<float> cos = table_.Get<float>();
        const AscendC::LocalTensor<float> sin = cos[kRopeDim];
        Split(first, second, x, x_stride, heads);
        RotateHalf(rotated, first, cos, second, sin, heads, table_stride, true);
        RotateHalf(rotated[kRopeHalf], second, cos[kRopeHalf], first, sin[kRopeHalf], heads,
                   table_stride, false);
        AscendC::LocalTensor<float> result = rotated;
        if (interleaved_out_) {
            result = first;  // split_ as a whole
            for (uint32_t head = 0; head < heads; ++head) {
                AscendC::Gather(result[head * kRopeDim], rotated, order_.Get<uint32_t>(),
                                head * kRopeDim * static_cast<uint32_t>(sizeof(float)), kRopeDim);
            }
            AscendC::PipeBarrier<PIPE_V>();
        }
        const AscendC::UnaryRepeatParams strides(1, 1, out_stride * sizeof(T) / kBlockBytes, 8);
        AscendC::Cast(out, result, AscendC::RoundMode::CAST_RINT, kRopeDim, heads, strides);
    }

    // Every other row of `dst` gets a row of the table.
    template <typename U>
    __aicore__ inline void LoadRows(const AscendC::LocalTensor<U>& dst, GM_ADDR table,
                                    uint32_t token, uint32_t tokens) {
        AscendC::GlobalTensor<U> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ U*>(table));
        AscendC::DataCopyParams params;  // in blocks
        params.blockCount = tokens;
        params.blockLen = kRopeDim * sizeof(U) / kBlockBytes;
        params.srcStride = 0;
        params.dstStride = params.blockLen;
        AscendC::DataCopy(dst, gm[static_cast<uint64_t>(token) * kRopeDim], params);
    }

    // Writes x1 and x2 of all heads, each densely, to `first` and `second`.
    __aicore__ inline void Split(const AscendC::LocalTensor<float>& first,
                                 const AscendC::LocalTensor<float>& second,
                                 const AscendC::LocalTensor<float>& x, uint32_t x_stride,
                                 uint32_t heads) {
        const uint32_t x_blocks = x_stride / kBlockFloats;
        if (interleaved_in_) {
            uint64_t kept = 0;
            const AscendC::GatherMaskParams params(1, heads, x_blocks, 0);
            AscendC::GatherMask(first, x, static_cast<uint8_t>(1), false, 0, params,
                                kept);  // even elements
            AscendC::GatherMask(second, x, static_cast<uint8_t>(2), false, 0, params,
                                kept);  // odd elements
        } else {
            const AscendC::UnaryRepeatParams strides(1, 1, 4, x_blocks);
            AscendC::Muls(first, x, 1.0f, kRopeHalf, heads, strides);
            AscendC::Muls(second, x[kRopeHalf], 1.0f, kRopeHalf, heads, strides);
        }
        AscendC::PipeBarrier<PIPE_V>();
    }

    // Computes a * cos - b * sin (`subtract`) or a * cos + b * sin for one half of every head, 32
    // elements.
    __aicore__ inline void RotateHalf(const AscendC::LocalTensor<float>& result,
                                      const AscendC::LocalTensor<float>& a,
                                      const AscendC::LocalTensor<float>& cos,
                                      const AscendC::LocalTensor<float>& b,
                                      const AscendC::LocalTensor<float>& sin, uint32_t heads,
                                      uint8_t table_stride, bool subtract) {
        const AscendC::LocalTensor<float> product = product_.Get<float>();
        AscendC::Mul(result, a, cos, kRopeHalf, heads, {1, 1, 1, 8, 4, table_stride});
        AscendC::Mul(product, b, sin, kRopeHalf, heads, {1, 1, 1, 4, 4, table_stride});
        AscendC::PipeBarrier<PIPE_V>();
        if (subtract) {
            AscendC::Sub(result, result, product, kRopeHalf, heads, {1, 1, 1, 8, 8, 4});
        } else {
            AscendC::Add(result, result, product, kRopeHalf, heads, {1, 1, 1, 8, 8, 4});
        }
        AscendC::PipeBarrier<PIPE_V>();
    }

    AscendC::TPipe* pipe_;
    GM_ADDR cos_gm_;
    GM_ADDR sin_gm_;
    bool table_float_;
    uint32_t loaded_token_;
    uint32_t loaded_tokens_;
    bool interleaved_in_;
    bool interleaved_out_;
    AscendC::TBuf<AscendC::TPosition::VECIN> table_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> order_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> split_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> rotated_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> product_;
};

}  // namespace kernels
