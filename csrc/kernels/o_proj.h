// W_UV up-projection and output projection in one kernel.
//
//   AIC   v-up -----------> o_proj
//            \  (quantise) /      \ (sums)
//   AIV                            dequantise, add the bias; warm the caller's regions
//
// The steps in brackets are for W8A8 and for a bias; without either the fixpipe writes the result.
// Vector cores meet all cube cores before they quantise a row, and finish the sums of their own.
#pragma once

#include "kernel_operator.h"
#include "kernels/epilogue.h"
#include "kernels/gemm.h"
#include "kernels/hand_over.h"
#include "kernels/partition.h"
#include "kernels/quantiser.h"
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
        stream.AddPhase(plan.o_proj, Gm(addresses.o_proj_weight), plan.tiles_ahead);
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
            if (has_v_up) stream.BeginNext();
            gemm.template Run<int8_t>(plan.o_proj, workspace + plan.workspace_input, out, stream);
        } else {
            gemm.template Run<T>(plan.o_proj, value, out, stream);
        }
        if (plan.has_epilogue != 0) PublishToGroup(kFlagOProj);

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
        const bool has_epilogue = plan.has_epilogue != 0;
        if (kQuantised) Open(plan);
        if (has_epilogue) epilogue_.Open(pipe, addresses, plan, core_);
        warmer_.Open(pipe_, warm.plan, core_);
        if (plan.has_v_up != 0) AwaitCube(kFlagValue);
        if (kQuantised) {
            QuantiseValue(addresses, plan);
            PublishToCube();
        }
        if (has_epilogue) {
            epilogue_.LoadColumns();
            AwaitCube(kFlagOProj);  // for this group's columns of the sums
            epilogue_.LoadSums();
        }
        // Behind the core's own last loads, which they would delay: MTE2 works in order.
        warmer_.WarmWindowChunks(warm.plan, warm.while_o_proj);
        if (has_epilogue) epilogue_.Finish();
    }

private:
    __aicore__ inline void Open(const OProjPlan& plan) {
        const plan::OProjUb bytes(plan);
        pipe_->InitBuffer(row_, bytes.Row());
        pipe_->InitBuffer(landing_, bytes.HalfRow());
        quantiser_.Open(pipe_, plan.widest);
    }

    __aicore__ inline void QuantiseValue(const OProjAddresses& addresses, const OProjPlan& plan) {
        GM_ADDR workspace = Gm(addresses.workspace);
        GM_ADDR value =
            plan.has_v_up != 0 ? workspace + plan.workspace_value : Gm(addresses.attn_output);
        const uint32_t shares = plan.value_shares;
        const uint32_t teams = plan.vector_cores / shares;
        const uint32_t team = core_ / shares;
        if (team >= teams) return;
        const uint32_t begin = ShareBegin(plan.tokens, teams, team);
        const uint32_t end = ShareBegin(plan.tokens, teams, team + 1);
        if (begin == end) return;
        quantiser_.Bind(plan.format, addresses.quant);
        for (uint32_t token = begin; token < end; ++token) {
            quantiser_.Row(value, workspace + plan.workspace_input,
                           workspace + plan.workspace_scales, kBlockFloats, token, plan.o_proj.k,
                           row_.template Get<float>(), landing_.template Get<T>(), core_ % shares,
                           shares);
        }
    }

    AscendC::TPipe* pipe_;
    uint32_t core_;
    Quantiser<T> quantiser_;
    Epilogue<T, kQuantised> epilogue_;
    WeightWarmer<> warmer_;
    AscendC::TBuf<AscendC::TPosition::VECIN> row_;
    AscendC::TBuf<AscendC::TPosition::VECIN> landing_;
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
