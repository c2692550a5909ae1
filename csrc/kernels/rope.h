// Rotary embedding of 64-wide heads, in fp32.
//
// out[i] = x1[i] cos[i] - x2[i] sin[i], out[i + 32] = x2[i] cos[i + 32] + x1[i] sin[i + 32], where
// (x1, x2) are the even and odd elements (interleaved style) or the two halves (half-split style).
// The result is half-split in both styles, as the attention kernels expect it.
#pragma once

#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/vector_math.h"

namespace kernels {

constexpr uint32_t kRopeDim = 64;
constexpr uint32_t kRopeHalf = 32;

template <typename T>
class Rope {
public:
    __aicore__ inline void Open(AscendC::TPipe* pipe, GM_ADDR cos, GM_ADDR sin, bool table_float,
                                bool interleaved, uint32_t max_heads) {
        pipe_ = pipe;
        cos_gm_ = cos;
        sin_gm_ = sin;
        table_float_ = table_float;
        interleaved_ = interleaved;
        pipe->InitBuffer(table_, 2 * kRopeDim * sizeof(float));
        pipe->InitBuffer(landing_, 2 * kRopeDim * sizeof(T));
        pipe->InitBuffer(first_, max_heads * kRopeHalf * sizeof(float));
        pipe->InitBuffer(second_, max_heads * kRopeHalf * sizeof(float));
        pipe->InitBuffer(result_, max_heads * kRopeHalf * sizeof(float));
        pipe->InitBuffer(product_, max_heads * kRopeHalf * sizeof(float));
    }

    // Brings the cos and sin rows of a token into UB.
    __aicore__ inline void LoadTable(uint32_t token) {
        const AscendC::LocalTensor<float> table = table_.template Get<float>();
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        if (table_float_) {
            LoadRow(table, cos_gm_, token);
            LoadRow(table[kRopeDim], sin_gm_, token);
            HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        } else {
            const AscendC::LocalTensor<T> landing = landing_.template Get<T>();
            LoadRow(landing, cos_gm_, token);
            LoadRow(landing[kRopeDim], sin_gm_, token);
            HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
            ToFloat(table, landing, 2 * kRopeDim);
            AscendC::PipeBarrier<PIPE_V>();
        }
    }

    // Rotates `heads` heads of `x` (contiguous, 64 wide) with the loaded row into `out`. At most
    // 255 heads.
    __aicore__ inline void Apply(const AscendC::LocalTensor<T>& out,
                                 const AscendC::LocalTensor<float>& x, uint32_t heads) {
        const AscendC::LocalTensor<float> first = first_.template Get<float>();
        const AscendC::LocalTensor<float> second = second_.template Get<float>();
        const AscendC::LocalTensor<float> cos = table_.template Get<float>();
        const AscendC::LocalTensor<float> sin = cos[kRopeDim];
        Split(first, second, x, heads);
        RotateHalf(out, first, cos, second, sin, heads, true);
        RotateHalf(out[kRopeHalf], second, cos[kRopeHalf], first, sin[kRopeHalf], heads, false);
    }

private:
    template <typename U>
    __aicore__ inline void LoadRow(const AscendC::LocalTensor<U>& dst, GM_ADDR table,
                                   uint32_t token) {
        AscendC::GlobalTensor<U> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ U*>(table));
        AscendC::DataCopy(dst, gm[static_cast<uint64_t>(token) * kRopeDim], kRopeDim);
    }

    __aicore__ inline void Split(const AscendC::LocalTensor<float>& first,
                                 const AscendC::LocalTensor<float>& second,
                                 const AscendC::LocalTensor<float>& x, uint32_t heads) {
        if (interleaved_) {
            uint64_t kept = 0;
            const AscendC::GatherMaskParams params(1, static_cast<uint16_t>(heads), 8, 0);
            AscendC::GatherMask(first, x, static_cast<uint8_t>(1), false, 0, params,
                                kept);  // even elements
            AscendC::GatherMask(second, x, static_cast<uint8_t>(2), false, 0, params,
                                kept);  // odd elements
        } else {
            const uint8_t repeats = static_cast<uint8_t>(heads);
            AscendC::Muls(first, x, 1.0f, kRopeHalf, repeats, {1, 1, 4, 8});
            AscendC::Muls(second, x[kRopeHalf], 1.0f, kRopeHalf, repeats, {1, 1, 4, 8});
        }
        AscendC::PipeBarrier<PIPE_V>();
    }

    // out = a * cos -+ b * sin for 32 lanes of every head; the table row is shared by all heads
    // (stride 0).
    __aicore__ inline void RotateHalf(const AscendC::LocalTensor<T>& out,
                                      const AscendC::LocalTensor<float>& a,
                                      const AscendC::LocalTensor<float>& cos,
                                      const AscendC::LocalTensor<float>& b,
                                      const AscendC::LocalTensor<float>& sin, uint32_t heads,
                                      bool subtract) {
        const AscendC::LocalTensor<float> result = result_.template Get<float>();
        const AscendC::LocalTensor<float> product = product_.template Get<float>();
        const uint8_t repeats = static_cast<uint8_t>(heads);
        AscendC::Mul(result, a, cos, kRopeHalf, repeats, {1, 1, 1, 4, 4, 0});
        AscendC::Mul(product, b, sin, kRopeHalf, repeats, {1, 1, 1, 4, 4, 0});
        AscendC::PipeBarrier<PIPE_V>();
        if (subtract) {
            AscendC::Sub(result, result, product, heads * kRopeHalf);
        } else {
            AscendC::Add(result, result, product, heads * kRopeHalf);
        }
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Cast(out, result, AscendC::RoundMode::CAST_RINT, kRopeHalf, repeats, {1, 1, 4, 4});
        AscendC::PipeBarrier<PIPE_V>();
    }

    AscendC::TPipe* pipe_;
    GM_ADDR cos_gm_;
    GM_ADDR sin_gm_;
    bool table_float_;
    bool interleaved_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> table_;
    AscendC::TBuf<AscendC::TPosition::VECIN> landing_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> first_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> second_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> result_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> product_;
};

}  // namespace kernels
