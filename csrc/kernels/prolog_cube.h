// The matrix products of mla_prolog and sfa_prolog.
#pragma once

#include "kernel_operator.h"
#include "kernels/gemm.h"
#include "kernels/hand_over.h"
#include "kernels/linear_format.h"
#include "kernels/partition.h"
#include "kernels/weight_stream.h"
#include "plan/prolog_plan.h"

namespace kernels {

template <typename T, bool kQuantised, bool kIndexer>
class PrologCube {
public:
    __aicore__ inline void Run(AscendC::TPipe* pipe, const PrologAddresses& addresses,
                               const PrologPlan& plan, const PrologWarm& warm) {
        const uint32_t core = AscendC::GetBlockIdx();
        const uint32_t cores = AscendC::GetBlockNum();
        const bool indexed = kIndexer && plan.indexer.heads.heads > 0;
        const bool has_latent = plan.q_lora_rank > 0;
        const bool q_b_int8 = kQuantised && Quantised(plan.q_b_format);
        GM_ADDR workspace = Gm(addresses.workspace);
        GM_ADDR hidden = Gm(addresses.hidden_states);
        GM_ADDR query = workspace + plan.workspace_query;
        stream_.Open(pipe, plan.buffers, core, cores);
        gemm_.Open(pipe, plan.buffers, core, cores);
        StartStream(addresses, plan, indexed, warm.plan.await_stream != 0);

        if (kQuantised && (Quantised(plan.qkv_a_format) || (!has_latent && q_b_int8))) {
            MoveAhead(plan.qkv_a, plan.qkv_a_format);
            AwaitVector();  // for the hidden states in int8
        }
        Linear<float>(plan.qkv_a, plan.qkv_a_format, hidden, workspace + plan.workspace_hidden,
                      workspace, workspace);
        PublishToVector(kFlagQkvA);
        if (indexed) {
            // These two products need no hand-over: they fill the time in which the vector cores
            // normalise q_c.
            gemm_.template Run<T, float>(plan.indexer.wk, hidden,
                                         workspace + plan.indexer.workspace_k, stream_);
            gemm_.template Run<T, float>(plan.indexer.weights_proj, hidden,
                                         Gm(addresses.indexer.weights), stream_);
        }
        if (has_latent) {
            MoveAhead(plan.q_b, plan.q_b_format);
            AwaitVector();  // for q_c
        }
        Linear<T>(plan.q_b, plan.q_b_format, has_latent ? Gm(addresses.q_c) : hidden,
                  workspace + plan.workspace_q_b_input, query,
                  workspace + plan.workspace_query_sums);
        if (!indexed) gemm_.template MoveAhead<T>(plan.absorb, stream_);
        PublishToVector(kFlagQueryB);
        if (indexed) {
            Linear<T>(plan.indexer.wq_b, plan.indexer.wq_b_format, Gm(addresses.q_c),
                      workspace + plan.indexer.workspace_q_c, Gm(addresses.indexer.q),
                      workspace + plan.indexer.workspace_sums);
            gemm_.template MoveAhead<T>(plan.absorb, stream_);
            PublishToVector(kFlagIndexerQuery);
        }
        if (q_b_int8) AwaitVector();  // for the dequantised query
        const bool q_nope_int8 = kQuantised && plan.quantize_q_nope != 0;
        gemm_.template Run<T, T>(
            plan.absorb, query,
            q_nope_int8 ? workspace + plan.workspace_q_nope : Gm(addresses.q_nope), stream_);
        if (q_nope_int8) PublishToVector(kFlagQueryNope);

        gemm_.Close(pipe);
        stream_.Close(pipe);
    }

private:
    // Starts the stream of the weights, in the order in which Run multiplies by them.
    __aicore__ inline void StartStream(const PrologAddresses& addresses, const PrologPlan& plan,
                                       bool indexed, bool announce_end) {
        stream_.AddPhase(plan.qkv_a, Gm(addresses.qkv_a_weight));
        if (indexed) {
            stream_.AddPhase(plan.indexer.wk, Gm(addresses.indexer.wk));
            stream_.AddPhase(plan.indexer.weights_proj, Gm(addresses.indexer.weights_proj));
        }
        stream_.AddPhase(plan.q_b, Gm(addresses.q_b_weight));
        if (indexed) stream_.AddPhase(plan.indexer.wq_b, Gm(addresses.indexer.wq_b));
        stream_.AddPhase(plan.absorb, Gm(addresses.w_uk));
        stream_.Start(announce_end ? kFlagStreamed : kNoFlag);
    }

    __aicore__ inline void MoveAhead(const GemmPlan& gemm, const LinearFormat& format) {
        if (kQuantised && Quantised(format)) {
            gemm_.template MoveAhead<int8_t>(gemm, stream_);
        } else {
            gemm_.template MoveAhead<T>(gemm, stream_);
        }
    }

    // A linear layer: `a` x weight goes to `c`; with an int8 weight, `a_int8` x weight goes to
    // `sums` in int32.
    template <typename C>
    __aicore__ inline void Linear(const GemmPlan& gemm, const LinearFormat& format, GM_ADDR a,
                                  GM_ADDR a_int8, GM_ADDR c, GM_ADDR sums) {
        if (kQuantised && Quantised(format)) {
            gemm_.template Run<int8_t, int32_t>(gemm, a_int8, sums, stream_);
        } else {
            gemm_.template Run<T, C>(gemm, a, c, stream_);
        }
    }

    WeightStream<6> stream_;
    Gemm gemm_;
};

}  // namespace kernels
