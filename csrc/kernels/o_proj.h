// W_UV up-projection and output projection in one kernel.
//
//   AIC   v-up -----------> o_proj
//            \  (quantise) /      \ (sums)
//   AIV            warm the caller's regions          dequantise, add the bias
//
// The steps in brackets are for W8A8 and for a bias; without either the fixpipe writes the result.
#pragma once

#include "kernel_operator.h"
#include "kernels/dequantiser.h"
#include "kernels/events.h"
#include "kernels/gemm.h"
#include "kernels/hand_over.h"
#include "kernels/partition.h"
#include "kernels/quantiser.h"
#include "kernels/vector_math.h"
#include "kernels/weight_stream.h"
#include "kernels/weight_warmer.h"
#include "plan/o_proj_plan.h"
#include "plan/ub_bytes.h"

namespace kernels {

template <typename T, bool kQuantised>
class OProjCube {
public:
    __aicore__ inline void Run(AscendC::TPipe* pipe, const OProjAddresses& addresses,
                               const OProjPlan& plan, const OProjWarm& warm) {
        const uint32_t core = AscendC::GetBlockIdx();
        const uint32_t cores = AscendC::GetBlockNum();
        const bool has_v_up = plan.has_v_up != 0;
        GM_ADDR workspace = Gm(addresses.workspace);
        GM_ADDR out = plan.has_epilogue != 0 ? workspace + plan.workspace_sums : Gm(addresses.out);
        WeightStream<2> stream;
        Gemm gemm;
        stream.Open(pipe, plan.buffers, core, cores);
        gemm.Open(pipe, plan.buffers, core, cores);
        if (has_v_up) stream.AddPhase(plan.v_up, Gm(addresses.w_uv));
        stream.AddPhase(plan.o_proj, Gm(addresses.o_proj_weight));
        stream.Start(warm.plan.await_stream != 0 ? kFlagStreamed : kNoFlag);

        GM_ADDR value = Gm(addresses.attn_output);
        if (has_v_up) {
            gemm.template Run<T>(plan.v_up, value, workspace + plan.workspace_value, stream);
            value = workspace + plan.workspace_value;
            if (!kQuantised) gemm.template MoveAhead<T>(plan.o_proj, stream);
            PublishToVector(kFlagValue);
        }
        if (kQuantised) {
            gemm.template MoveAhead<int8_t>(plan.o_proj, stream);
            AwaitVector();  // for the value in int8
            gemm.template Run<int8_t>(plan.o_proj, workspace + plan.workspace_input, out, stream);
        } else {
            gemm.template Run<T>(plan.o_proj, value, out, stream);
        }
        if (plan.has_epilogue != 0) PublishToVector(kFlagOProj);

        gemm.Close(pipe);
        stream.Close(pipe);
    }
};

template <typename T, bool kQuantised>
class OProjVector {
public:
    __aicore__ inline void Run(AscendC::TPipe* pipe, const OProjAddresses& addresses,
                               const OProjPlan& plan, const OProjWarm& warm) {
        pipe_ = pipe;
        core_ = AscendC::GetBlockIdx();
        Open(plan);
        warmer_.Open(pipe_, warm.plan, core_);
        if (plan.has_v_up != 0) AwaitCube(kFlagValue);
        if (kQuantised) {
            QuantiseValue(addresses, plan);
            PublishToCube();
        }
        warmer_.WarmWindowChunks(warm.plan, warm.while_o_proj);
        if (plan.has_epilogue != 0) {
            AwaitCube(kFlagOProj);  // for the sums of all tokens
            Finish(addresses, plan);
        }
    }

private:
    __aicore__ inline void Open(const OProjPlan& plan) {
        const plan::OProjUb bytes{plan.widest};
        pipe_->InitBuffer(row_, bytes.Row());
        pipe_->InitBuffer(landing_, bytes.HalfRow());
        pipe_->InitBuffer(row_out_, bytes.HalfRow());
        pipe_->InitBuffer(bias_, bytes.Row());
        if (kQuantised) {
            dequantiser_.Open(pipe_, plan.widest);
            quantiser_.Open(pipe_, plan.widest);
        }
    }

    __aicore__ inline void QuantiseValue(const OProjAddresses& addresses, const OProjPlan& plan) {
        GM_ADDR workspace = Gm(addresses.workspace);
        GM_ADDR value =
            plan.has_v_up != 0 ? workspace + plan.workspace_value : Gm(addresses.attn_output);
        const uint32_t begin = ShareBegin(plan.tokens, plan.vector_cores, core_);
        const uint32_t end = ShareBegin(plan.tokens, plan.vector_cores, core_ + 1);
        if (begin == end) return;
        quantiser_.Bind(plan.format, addresses.quant);
        for (uint32_t token = begin; token < end; ++token) {
            quantiser_.Row(value, workspace + plan.workspace_input,
                           workspace + plan.workspace_scales, kBlockFloats, token, plan.o_proj.k,
                           row_.template Get<float>(), landing_.template Get<T>());
        }
    }

    // Parts of rows are dealt out over all vector cores, with the tokens of a part consecutive, so
    // that a core loads the scales and biases of its columns only once.
    __aicore__ inline void Finish(const OProjAddresses& addresses, const OProjPlan& plan) {
        const uint32_t hidden = plan.o_proj.n;
        const uint32_t parts = CeilDiv(hidden, plan.step_columns);
        const uint32_t begin = ShareBegin(parts * plan.tokens, plan.vector_cores, core_);
        const uint32_t end = ShareBegin(parts * plan.tokens, plan.vector_cores, core_ + 1);
        const AscendC::LocalTensor<float> row = row_.template Get<float>();
        const AscendC::LocalTensor<T> out = row_out_.template Get<T>();
        AscendC::GlobalTensor<T> target;
        target.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(addresses.out));
        if (kQuantised) {
            dequantiser_.Bind(plan.format, addresses.quant,
                              Gm(addresses.workspace) + plan.workspace_sums, hidden,
                              Gm(addresses.workspace) + plan.workspace_scales);
        }
        uint32_t loaded = parts;
        for (uint32_t step = begin; step < end; ++step) {
            const uint32_t part = step / plan.tokens;
            const uint32_t token = step % plan.tokens;
            const uint32_t column = part * plan.step_columns;
            const uint32_t columns = Min(plan.step_columns, hidden - column);
            if (part != loaded) LoadColumns(addresses, plan, column, columns);
            loaded = part;
            const uint64_t offset = static_cast<uint64_t>(token) * hidden + column;
            if (kQuantised) {
                dequantiser_.Row(row, token);
            } else {
                AscendC::GlobalTensor<float> sums;
                sums.SetGlobalBuffer(
                    reinterpret_cast<__gm__ float*>(addresses.workspace + plan.workspace_sums));
                HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
                AscendC::DataCopy(row, sums[offset], columns);
                HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
            }
            if (addresses.bias != 0) {
                AscendC::Add(row, row, bias_.template Get<float>(), columns);
                AscendC::PipeBarrier<PIPE_V>();
            }
            HandOver<AscendC::HardEvent::MTE3_V>(pipe_);  // row_out_ may still be being stored
            FromFloat(out, row, columns);
            HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
            AscendC::DataCopy(target[offset], out, columns);
        }
    }

    __aicore__ inline void LoadColumns(const OProjAddresses& addresses, const OProjPlan& plan,
                                       uint32_t column, uint32_t columns) {
        if (kQuantised) dequantiser_.LoadColumns(column, columns);
        if (addresses.bias == 0) return;
        if (plan.bias_float != 0) {
            LoadBias(row_.template Get<float>(), addresses.bias, column, columns);
        } else {
            LoadBias(landing_.template Get<T>(), addresses.bias, column, columns);
        }
    }

    template <typename P>
    __aicore__ inline void LoadBias(const AscendC::LocalTensor<P>& landing, uint64_t address,
                                    uint32_t column, uint32_t columns) {
        AscendC::GlobalTensor<P> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ P*>(address));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopy(landing, gm[column], columns);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        ToFloat(bias_.template Get<float>(), landing, columns);
    }

    AscendC::TPipe* pipe_;
    uint32_t core_;
    Dequantiser dequantiser_;
    Quantiser<T> quantiser_;
    WeightWarmer warmer_;
    AscendC::TBuf<AscendC::TPosition::VECIN> row_;
    AscendC::TBuf<AscendC::TPosition::VECIN> landing_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> row_out_;
    AscendC::TBuf<AscendC::TPosition::VECCALC> bias_;
};

// T: bfloat16_t or half. kQuantised: the o_proj weight is int8.
template <typename T, bool kQuantised>
__aicore__ inline void OProj(const OProjAddresses& addresses, const OProjPlan& plan,
                             const OProjWarm& warm) {
    AscendC::TPipe pipe;
    if ASCEND_IS_AIC {
        OProjCube<T, kQuantised> cube;
        cube.Run(&pipe, addresses, plan, warm);
    }
    if ASCEND_IS_AIV {
        OProjVector<T, kQuantised> vector;
        vector.Run(&pipe, addresses, plan, warm);
    }
}

}  // namespace kernels
