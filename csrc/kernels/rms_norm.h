// RMS norm of one row: x / sqrt(mean(x^2) + eps) * gamma (+ beta), in fp32.
#pragma once

#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/vector_math.h"

namespace kernels {

// Widths are multiples of 64, at most 4096: the partial sums of one row fit one repeat.
template <typename T>
class RmsNorm {
public:
    // `width` is the widest row this instance will see.
    __aicore__ inline void Open(AscendC::TPipe* pipe, uint32_t width) {
        pipe_ = pipe;
        width_ = width;
        pipe->InitBuffer(gamma_, width * sizeof(float));
        pipe->InitBuffer(beta_, width * sizeof(float));
        pipe->InitBuffer(square_, width * sizeof(float));
        pipe->InitBuffer(parameter_, width * sizeof(T));
        pipe->InitBuffer(partial_, kLanes * sizeof(float));
        pipe->InitBuffer(sums_, kLanes * sizeof(float));
        pipe->InitBuffer(root_, kLanes * sizeof(float));
    }

    // Brings gamma, and beta when there is one, into UB. Call before the first row and again for
    // another norm.
    __aicore__ inline void Load(GM_ADDR gamma, GM_ADDR beta, bool has_beta, uint32_t width) {
        width_ = width;
        has_beta_ = has_beta;
        LoadParameter(gamma_.template Get<float>(), gamma);
        if (has_beta) LoadParameter(beta_.template Get<float>(), beta);
    }

    // Normalises `x` in place. x belongs to the vector pipe before and after.
    __aicore__ inline void Apply(const AscendC::LocalTensor<float>& x, float eps) {
        const AscendC::LocalTensor<float> square = square_.template Get<float>();
        const AscendC::LocalTensor<float> partial = partial_.template Get<float>();
        const AscendC::LocalTensor<float> sums = sums_.template Get<float>();
        const AscendC::LocalTensor<float> root = root_.template Get<float>();
        const uint8_t repeats = static_cast<uint8_t>(width_ / kLanes);
        AscendC::Mul(square, x, x, width_);
        // Brcb reads eight values of which one counts: none of them may be stale.
        AscendC::Duplicate(sums, 1.0f, kLanes);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::WholeReduceSum(partial, square, kLanes, repeats, 1, 1, 8);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::WholeReduceSum(sums, partial, repeats, 1, 1, 1, 8);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Muls(sums, sums, 1.0f / static_cast<float>(width_), 8);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Adds(sums, sums, eps, 8);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Sqrt(sums, sums, 8);
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Brcb(root, sums, 1, {1, 8});
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Div(x, x, root, kLanes, repeats, {1, 1, 0, 8, 8, 0});
        AscendC::PipeBarrier<PIPE_V>();
        AscendC::Mul(x, x, gamma_.template Get<float>(), width_);
        AscendC::PipeBarrier<PIPE_V>();
        if (has_beta_) {
            AscendC::Add(x, x, beta_.template Get<float>(), width_);
            AscendC::PipeBarrier<PIPE_V>();
        }
    }

private:
    __aicore__ inline void LoadParameter(const AscendC::LocalTensor<float>& dst, GM_ADDR address) {
        AscendC::GlobalTensor<T> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(address));
        const AscendC::LocalTensor<T> landing = parameter_.template Get<T>();
        HandOver<AscendC::HardEvent::V_MTE2>(
            pipe_);  // an earlier cast may still read the landing buffer
        AscendC::DataCopy(landing, gm, width_);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        ToFloat(dst, landing, width_);
        AscendC::PipeBarrier<PIPE_V>();
    }

    AscendC::TPipe* pipe_;
    uint32_t width_;
    bool has_beta_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> gamma_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> beta_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> square_;
    AscendC::TBuf<AscendC::TPosition::VECIN> parameter_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> partial_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> sums_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> root_;
};

}  // namespace kernels
