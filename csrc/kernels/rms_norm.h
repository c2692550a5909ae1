// RMS norm of one row: x / sqrt(mean(x^2) + eps) * gamma (+ beta), in fp32. Centre before Apply
// makes it a layer norm.
#pragma once

#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/vector_math.h"
#include "plan/ub_bytes.h"

namespace kernels {

// Widths are multiples of 64 up to 4096, so that the partial sums of a row fit one repeat.
class RmsNorm {
public:
    // `width` is the width of the widest row this instance will process.
    __aicore__ inline void Open(AscendC::TPipe* pipe, uint32_t width) {
        pipe_ = pipe;
        width_ = width;
        const plan::RmsNormUb bytes{width};
        pipe->InitBuffer(gamma_, bytes.Row());
        pipe->InitBuffer(beta_, bytes.Row());
        pipe->InitBuffer(square_, bytes.Row());
        pipe->InitBuffer(partial_, plan::kLaneBytes);
        pipe->InitBuffer(sums_, plan::kLaneBytes);
        pipe->InitBuffer(root_, plan::kLaneBytes);
    }

    // Loads gamma, and beta unless it is null, into UB; both are of type P. Call it before the
    // first row, and again for another norm.
    template <typename P>
    __aicore__ inline void Load(GM_ADDR gamma, GM_ADDR beta, uint32_t width) {
        width_ = width;
        has_beta_ = beta != nullptr;
        LoadParameter<P>(gamma_.Get<float>(), gamma);
        if (has_beta_) LoadParameter<P>(beta_.Get<float>(), beta);
    }

    // Subtracts the mean from `x`, in place.
    __aicore__ inline void Centre(const AscendC::LocalTensor<float>& x) {
        const AscendC::LocalTensor<float> mean = root_.Get<float>();
        Mean(mean, x);
        AscendC::Sub(x, x, mean, kLanes, width_ / kLanes, {1, 1, 0, 8, 8, 0});
        AscendC::PipeBarrier<PIPE_V>();
    }

    // Normalises `x` in place on the vector pipe; the caller hands `x` over to and from other
    // pipes.
    __aicore__ inline void Apply(const AscendC::LocalTensor<float>& x, float eps) {
        const AscendC::LocalTensor<float> square = square_.Get<float>();
        const AscendC::LocalTensor<float> root = root_.Get<float>();
        AscendC::Mul(square, x, x, width_);
        AscendC::PipeBarrier<PIPE_V>();
        Mean(root, square);
        AscendC::Adds(root, root, eps, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Sqrt(root, root, kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Div(x, x, root, kLanes, width_ / kLanes, {1, 1, 0, 8, 8, 0});
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Mul(x, x, gamma_.Get<float>(), width_);
        AscendC::PipeBarrier<PIPE_V>();
        if (has_beta_) {
            AscendC::Add(x, x, beta_.Get<float>(), width_);
            AscendC::PipeBarrier<PIPE_V>();
        }
    }

private:
    // Writes the mean of a row to all elements of the first block of `mean`.
    __aicore__ inline void Mean(const AscendC::LocalTensor<float>& mean,
                                const AscendC::LocalTensor<float>& x) {
        const AscendC::LocalTensor<float> partial = partial_.Get<float>();
        const AscendC::LocalTensor<float> sums = sums_.Get<float>();
        const uint32_t repeats = width_ / kLanes;
        // Brcb reads eight values, of which only the first is used; the others must not be stale.
        AscendC::Duplicate(sums, 1.0f, kBlockFloats);
        AscendC::WholeReduceSum(partial, x, kLanes, repeats, 1, 1, 8);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::WholeReduceSum(sums, partial, repeats, 1, 1, 1, 8);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Muls(sums, sums, 1.0f / static_cast<float>(width_), kBlockFloats);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Brcb(mean, sums, 1, {1, 8});
        AscendC::PipeBarrier<PIPE_V>();
    }

    template <typename P>
    __aicore__ inline void LoadParameter(const AscendC::LocalTensor<float>& dst, GM_ADDR address) {
        AscendC::GlobalTensor<P> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ P*>(address));
        const AscendC::LocalTensor<P> landing = square_.Get<P>();  // idle between rows
        HandOver<AscendC::HardEvent::V_MTE2>(
            pipe_);  // an earlier cast or norm may still use the landing buffer
        AscendC::DataCopy(landing, gm, width_);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        ToFloat(dst, landing, width_);
    }

    AscendC::TPipe* pipe_;
    uint32_t width_;
    bool has_beta_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> gamma_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> beta_;
    AscendC::TBuf<AscendC::TPosition::VECIN> square_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> partial_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> sums_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> root_;
};

}  // namespace kernels
