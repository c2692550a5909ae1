// MLA decode projections in one kernel: qkv_a, norms, q_b, W_UK absorb, rope, paged cache write.
//
//   AIC   qkv_a ----------> q_b ------------> absorb
//            \  barrier    /    \  barrier
//   AIV       norm q_c ---'      rope q_pe
//              then norm kv_c, rope k_pe -> caches
//
// Vector cores warm the next weights in the windows in which they would only wait; the cube's
// weight stream runs ahead over every hand-over.
#pragma once

#include "kernel_operator.h"
#include "kernels/events.h"
#include "kernels/gemm.h"
#include "kernels/hand_over.h"
#include "kernels/partition.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/vector_math.h"
#include "kernels/weight_stream.h"
#include "kernels/weight_warmer.h"
#include "plan/mla_prolog_plan.h"

namespace kernels {

struct MlaPrologArguments {
    GM_ADDR hidden_states;
    GM_ADDR qkv_a_weight;
    GM_ADDR q_a_norm_weight;
    GM_ADDR q_a_norm_bias;
    GM_ADDR q_b_weight;
    GM_ADDR w_uk;
    GM_ADDR kv_a_norm_weight;
    GM_ADDR cos;
    GM_ADDR sin;
    GM_ADDR slot_mapping;
    GM_ADDR kv_cache;
    GM_ADDR rope_cache;
    GM_ADDR q_nope;
    GM_ADDR q_rope;
    GM_ADDR q_c;
    GM_ADDR workspace;
};

template <typename T>
class MlaPrologCube {
public:
    __aicore__ inline void Run(AscendC::TPipe* pipe, const MlaPrologArguments& args,
                               const MlaPrologPlan& plan) {
        const uint32_t core = AscendC::GetBlockIdx();
        const uint32_t cores = AscendC::GetBlockNum();
        WeightStream<T, 3> stream;
        Gemm<T> gemm;
        stream.Open(pipe, plan.buffers, core, cores);
        gemm.Open(pipe, plan.buffers, core, cores);
        stream.AddPhase(plan.qkv_a, args.qkv_a_weight);
        stream.AddPhase(plan.q_b, args.q_b_weight,
                        plan.warm.group_chunks > 0 ? kFlagWarmed : kNoFlag);
        stream.AddPhase(plan.absorb, args.w_uk);
        stream.Start();

        GM_ADDR query = args.workspace + plan.workspace_q;
        gemm.template Run<float>(plan.qkv_a, args.hidden_states, args.workspace, stream);
        PublishToVector();
        AwaitVector();
        gemm.template Run<T>(plan.q_b, args.q_c, query, stream);
        PublishToVector();
        gemm.template Run<T>(plan.absorb, query, args.q_nope, stream);

        gemm.Close(pipe);
        stream.Close(pipe);
    }
};

template <typename T>
class MlaPrologVector {
public:
    __aicore__ inline void Run(AscendC::TPipe* pipe, const MlaPrologArguments& args,
                               const MlaPrologPlan& plan) {
        pipe_ = pipe;
        core_ = AscendC::GetBlockIdx();
        Open(args, plan);

        warmer_.WarmGroupShare(plan.warm, plan.q_b, args.q_b_weight, core_ / 2,
                               AscendC::GetBlockNum(), AscendC::GetSubBlockIdx());
        if (plan.warm.group_chunks > 0) AscendC::CrossCoreSetFlag<2, PIPE_MTE2>(kFlagWarmed);
        AwaitCube();  // qkv_a of all tokens
        NormQuery(args, plan);
        warmer_.WarmWindowChunks(plan.warm, plan.warm.while_norm, args.w_uk);
        HandOver<AscendC::HardEvent::MTE2_MTE3>(
            pipe);  // what was warmed so far is there when q_c is
        PublishToCube();
        WriteCaches(args, plan);
        warmer_.WarmWindowChunks(plan.warm, plan.warm.while_q_b, args.w_uk);
        AwaitCube();  // q_b of all tokens
        RotateQuery(args, plan);
        warmer_.WarmWindowChunks(plan.warm, plan.warm.while_absorb, args.w_uk);
    }

private:
    __aicore__ inline void Open(const MlaPrologArguments& args, const MlaPrologPlan& plan) {
        const uint32_t widest =
            plan.q_lora_rank > plan.kv_lora_rank ? plan.q_lora_rank : plan.kv_lora_rank;
        const uint32_t step = plan.rope_heads * kRopeDim;
        pipe_->InitBuffer(row_, (widest > step ? widest : step) * sizeof(float));
        pipe_->InitBuffer(row_out_, (widest > step ? widest : step) * sizeof(T));
        pipe_->InitBuffer(heads_in_, step * sizeof(T));
        pipe_->InitBuffer(slots_, plan.rows_per_core * plan.slot_bytes);
        norm_.Open(pipe_, widest);
        rope_.Open(pipe_, args.cos, args.sin, plan.rope_table_float != 0,
                   plan.rope_interleaved != 0, plan.rope_heads);
        warmer_.Open(pipe_, plan.warm, core_);
    }

    // Rows go to the first cores in blocks, so that the cores without any are the last ones.
    __aicore__ inline uint32_t FirstRow(const MlaPrologPlan& plan, uint32_t core) const {
        return Min(plan.tokens, core * plan.rows_per_core);
    }

    __aicore__ inline void NormQuery(const MlaPrologArguments& args, const MlaPrologPlan& plan) {
        const uint32_t begin = FirstRow(plan, core_);
        const uint32_t end = FirstRow(plan, core_ + 1);
        if (begin == end) return;
        norm_.Load(args.q_a_norm_weight, args.q_a_norm_bias, plan.has_q_a_bias != 0,
                   plan.q_lora_rank);
        for (uint32_t token = begin; token < end; ++token) {
            NormRow(args, plan, token, 0, plan.q_lora_rank);
            StoreRow(args.q_c, static_cast<uint64_t>(token) * plan.q_lora_rank, plan.q_lora_rank);
        }
    }

    // The rows of the caches go to the cores in reverse order: with few tokens these are the cores
    // that had no row to norm.
    __aicore__ inline void WriteCaches(const MlaPrologArguments& args, const MlaPrologPlan& plan) {
        const uint32_t share = plan.vector_cores - 1 - core_;
        const uint32_t begin = FirstRow(plan, share);
        const uint32_t end = FirstRow(plan, share + 1);
        if (begin == end) return;
        LoadSlots(args, plan, begin, end - begin);
        norm_.Load(args.kv_a_norm_weight, args.kv_a_norm_weight, false, plan.kv_lora_rank);
        for (uint32_t token = begin; token < end; ++token) {
            const int64_t slot = Slot(plan, token - begin);
            if (slot < 0) continue;  // padding row
            const uint64_t block = static_cast<uint64_t>(slot) / plan.cache_block_size;
            const uint64_t row = static_cast<uint64_t>(slot) % plan.cache_block_size;
            NormRow(args, plan, token, plan.q_lora_rank, plan.kv_lora_rank);
            StoreRow(args.kv_cache, block * plan.kv_cache_stride + row * plan.kv_lora_rank,
                     plan.kv_lora_rank);
            rope_.LoadTable(token);
            LoadRow(args, plan, token, plan.q_lora_rank + plan.kv_lora_rank, kRopeDim);
            HandOver<AscendC::HardEvent::MTE3_V>(pipe_);
            rope_.Apply(row_out_.template Get<T>(), row_.template Get<float>(), 1);
            StoreRow(args.rope_cache, block * plan.rope_cache_stride + row * kRopeDim, kRopeDim);
        }
    }

    // Query heads in steps of `rope_heads`, dealt out over all vector cores.
    __aicore__ inline void RotateQuery(const MlaPrologArguments& args, const MlaPrologPlan& plan) {
        const uint32_t steps_per_token = (plan.heads + plan.rope_heads - 1) / plan.rope_heads;
        const uint32_t steps = plan.tokens * steps_per_token;
        const uint32_t begin = ShareBegin(steps, plan.vector_cores, core_);
        const uint32_t end = ShareBegin(steps, plan.vector_cores, core_ + 1);
        const uint32_t head_dim = plan.nope_dim + kRopeDim;
        const AscendC::LocalTensor<T> in = heads_in_.template Get<T>();
        AscendC::GlobalTensor<T> query;
        query.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(args.workspace + plan.workspace_q));
        for (uint32_t step = begin; step < end; ++step) {
            const uint32_t token = step / steps_per_token;
            const uint32_t head = step % steps_per_token * plan.rope_heads;
            const uint32_t heads = Min(plan.rope_heads, plan.heads - head);
            if (step == begin || head == 0) rope_.LoadTable(token);
            HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
            const AscendC::DataCopyExtParams params(static_cast<uint16_t>(heads),
                                                    kRopeDim * sizeof(T), plan.nope_dim * sizeof(T),
                                                    0, 0);
            const uint64_t first = static_cast<uint64_t>(token) * plan.heads + head;
            AscendC::DataCopyPad(in, query[first * head_dim + plan.nope_dim], params,
                                 AscendC::DataCopyPadExtParams<T>());
            HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
            ToFloat(row_.template Get<float>(), in, heads * kRopeDim);
            AscendC::PipeBarrier<PIPE_V>();
            HandOver<AscendC::HardEvent::MTE3_V>(pipe_);
            rope_.Apply(row_out_.template Get<T>(), row_.template Get<float>(), heads);
            StoreRow(args.q_rope, first * kRopeDim, heads * kRopeDim);
        }
    }

    __aicore__ inline void LoadSlots(const MlaPrologArguments& args, const MlaPrologPlan& plan,
                                     uint32_t token, uint32_t count) {
        AscendC::GlobalTensor<int32_t> gm;
        const uint32_t words = plan.slot_bytes / sizeof(int32_t);
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t*>(args.slot_mapping));
        const AscendC::DataCopyExtParams params(1, count * plan.slot_bytes, 0, 0, 0);
        AscendC::DataCopyPad(slots_.Get<int32_t>(), gm[static_cast<uint64_t>(token) * words],
                             params, AscendC::DataCopyPadExtParams<int32_t>());
        HandOver<AscendC::HardEvent::MTE2_S>(pipe_);
    }

    __aicore__ inline int64_t Slot(const MlaPrologPlan& plan, uint32_t index) {
        if (plan.slot_bytes == 8) return slots_.Get<int64_t>().GetValue(index);
        return slots_.Get<int32_t>().GetValue(index);
    }

    // Columns [column, column + width) of a token's qkv_a row into row_, for the vector pipe.
    __aicore__ inline void LoadRow(const MlaPrologArguments& args, const MlaPrologPlan& plan,
                                   uint32_t token, uint32_t column, uint32_t width) {
        AscendC::GlobalTensor<float> qkv;
        qkv.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(args.workspace));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopy(row_.template Get<float>(),
                          qkv[static_cast<uint64_t>(token) * plan.qkv_a.n + column], width);
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
    }

    __aicore__ inline void NormRow(const MlaPrologArguments& args, const MlaPrologPlan& plan,
                                   uint32_t token, uint32_t column, uint32_t width) {
        LoadRow(args, plan, token, column, width);
        norm_.Apply(row_.template Get<float>(), plan.eps);
        HandOver<AscendC::HardEvent::MTE3_V>(pipe_);  // row_out_ may still be on its way out
        FromFloat(row_out_.template Get<T>(), row_.template Get<float>(), width);
    }

    __aicore__ inline void StoreRow(GM_ADDR address, uint64_t offset, uint32_t width) {
        AscendC::GlobalTensor<T> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(address));
        HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
        AscendC::DataCopy(gm[offset], row_out_.template Get<T>(), width);
    }

    AscendC::TPipe* pipe_;
    uint32_t core_;
    RmsNorm<T> norm_;
    Rope<T> rope_;
    WeightWarmer warmer_;
    AscendC::TBuf<AscendC::TPosition::VECIN> row_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> row_out_;
    AscendC::TBuf<AscendC::TPosition::VECIN> heads_in_;
    AscendC::TBuf<AscendC::TPosition::VECIN> slots_;
};

template <typename T>
__aicore__ inline void MlaProlog(const MlaPrologArguments& args, const MlaPrologPlan& plan) {
    AscendC::TPipe pipe;
    if ASCEND_IS_AIC {
        MlaPrologCube<T> cube;
        cube.Run(&pipe, args, plan);
    }
    if ASCEND_IS_AIV {
        MlaPrologVector<T> vector;
        vector.Run(&pipe, args, plan);
    }
}

}  // namespace kernels
