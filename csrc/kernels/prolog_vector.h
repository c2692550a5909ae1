// The vector side of mla_prolog and sfa_prolog: norms, rope, caches, quantisation, warming.
#pragma once

#include "kernel_operator.h"
#include "kernels/beside_tiles.h"
#include "kernels/copy_rows.h"
#include "kernels/dequantiser.h"
#include "kernels/events.h"
#include "kernels/hand_over.h"
#include "kernels/paged_cache.h"
#include "kernels/partition.h"
#include "kernels/quantiser.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/vector_math.h"
#include "kernels/weight_warmer.h"
#include "plan/prolog_phases.h"
#include "plan/prolog_plan.h"
#include "plan/ub_bytes.h"

namespace kernels {

template <typename T, bool kQuantised, bool kIndexer>
class PrologVector {
public:
    __aicore__ inline void Run(AscendC::TPipe* pipe, const PrologAddresses& addresses,
                               const PrologPlan& plan, const PrologWarm& warm) {
        pipe_ = pipe;
        core_ = AscendC::GetBlockIdx();
        Open(addresses, plan);
        warmer_.Open(pipe_, warm.plan, core_);
        for (uint32_t stage = 0; stage < prolog::kStages; ++stage) {
            const PrologStep& step = plan.steps[stage];
            if (step.present == 0) continue;
            Prepare(addresses, plan, stage);
            if (step.window != prolog::kNone) {
                warmer_.WarmWindowChunks(warm.plan, warm.windows[step.window]);
            }
            if (step.awaits != prolog::kNone) AwaitCube(plan.products[step.awaits].flag);
            Do(addresses, plan, stage);
            if (step.publishes != 0) PublishToCube();
        }
    }

    // Runs one stage alone, without hand-overs and without warming.
    __aicore__ inline void RunStage(AscendC::TPipe* pipe, const PrologAddresses& addresses,
                                    const PrologPlan& plan, uint32_t stage) {
        pipe_ = pipe;
        core_ = AscendC::GetBlockIdx();
        Open(addresses, plan);
        // In the fused kernel the stage before has chosen this rope.
        if (stage == prolog::kRotateIndexerQuery) UseIndexerRope(plan);
        Prepare(addresses, plan, stage);
        // Nor does this one find what the stage before has left in UB there.
        if (kQuantised && stage == prolog::kRotateTiles) PrepareQuery(addresses, plan);
        Do(addresses, plan, stage);
    }

private:
    static __aicore__ inline bool Quantised(const LinearFormat& format) {
        return kQuantised && kernels::Quantised(format);
    }

    static __aicore__ inline bool CachesInt8(const PrologPlan& plan) {
        return kQuantised && HoldsInt8(plan.latent_cache.latent);
    }

    static_assert(sizeof(PrologPlan::steps) / sizeof(PrologStep) == prolog::kStages);

    // Loads for a stage what no product has to finish first.
    __aicore__ inline void Prepare(const PrologAddresses& addresses, const PrologPlan& plan,
                                   uint32_t stage) {
        if (stage == prolog::kNormQuery) PrepareNorm(addresses, plan);
        if (kQuantised && stage == prolog::kDequantiseQuery) PrepareQuery(addresses, plan);
        if (stage == prolog::kRotateQuery) LoadQueryTable(plan);
        if (kQuantised && kIndexer && stage == prolog::kRotateIndexerQuery) {
            PrepareIndexerQuery(addresses, plan);
        }
    }

    __aicore__ inline void Do(const PrologAddresses& addresses, const PrologPlan& plan,
                              uint32_t stage) {
        if (kQuantised && stage == prolog::kQuantiseHidden) QuantiseHidden(addresses, plan);
        if (stage == prolog::kNormQuery) NormQuery(addresses, plan);
        if (stage == prolog::kWriteCaches) WriteCaches(addresses, plan);
        if (kQuantised && stage == prolog::kDequantiseQuery) DequantiseQuery(addresses, plan);
        if (kQuantised && stage == prolog::kRotateTiles) RotateTiles(addresses, plan);
        if (stage == prolog::kRotateQuery) RotateQuery(addresses, plan);
        if (kIndexer && stage == prolog::kWriteIndexerKeys) WriteIndexerKeys(addresses, plan);
        if (kIndexer && stage == prolog::kRotateIndexerQuery) RotateIndexerQuery(addresses, plan);
        if (kQuantised && stage == prolog::kQuantiseQueryNope) QuantiseQueryNope(addresses, plan);
    }

    __aicore__ inline void Open(const PrologAddresses& addresses, const PrologPlan& plan) {
        const plan::PrologUb bytes(plan);
        held_ = false;
        widest_ = plan.widest;
        pipe_->InitBuffer(row_, bytes.Row());
        pipe_->InitBuffer(landing_, bytes.Landing());
        pipe_->InitBuffer(row_out_, bytes.RowOut());
        pipe_->InitBuffer(rope_out_, bytes.RopeOut());
        pipe_->InitBuffer(slots_, bytes.slots);
        norm_.Open(pipe_, plan.widest);
        rope_.Open(pipe_, Gm(addresses.cos), Gm(addresses.sin), plan.rope_table_float != 0,
                   bytes.heads, bytes.tokens);
        rope_.SetStyle(plan.rope_interleaved != 0, false);
        if (kQuantised) {
            dequantiser_.Open(pipe_, plan.widest);
            quantiser_.Open(pipe_, plan.widest_input);
            if (kIndexer) indexer_quantiser_.Open(pipe_, plan.widest);
        }
    }

    // Rows are dealt out in blocks from the first core on, so that the cores without rows are the
    // last ones.
    __aicore__ inline uint32_t FirstRow(const PrologPlan& plan, uint32_t core) const {
        return Min(plan.tokens, core * plan.rows_per_core);
    }

    __aicore__ inline void QuantiseHidden(const PrologAddresses& addresses,
                                          const PrologPlan& plan) {
        if (Quantised(plan.qkv_a_format)) {
            QuantiseHiddenFor(addresses, plan, plan.qkv_a_format, addresses.qkv_a_quant,
                              plan.workspace_hidden, plan.workspace_hidden_scales);
        }
        if (Quantised(plan.q_b_format) && plan.q_lora_rank == 0) {
            QuantiseHiddenFor(addresses, plan, plan.q_b_format, addresses.q_b_quant,
                              plan.workspace_q_b_input, plan.workspace_q_b_scales);
        }
    }

    __aicore__ inline void QuantiseHiddenFor(const PrologAddresses& addresses,
                                             const PrologPlan& plan, const LinearFormat& format,
                                             const QuantAddresses& quant, uint64_t target,
                                             uint64_t scales) {
        GM_ADDR workspace = Gm(addresses.workspace);
        const uint32_t shares = plan.input_shares;
        const uint32_t begin = FirstRow(plan, core_ / shares);
        const uint32_t end = FirstRow(plan, core_ / shares + 1);
        if (begin == end) return;
        quantiser_.Bind(format, quant);
        for (uint32_t token = begin; token < end; ++token) {
            quantiser_.Row(Gm(addresses.hidden_states), workspace + target, workspace + scales,
                           kBlockFloats, token, plan.products[prolog::kQkvA].gemm.k,
                           row_.template Get<float>(), landing_.template Get<T>(), core_ % shares,
                           shares);
        }
    }

    // Loads what NormQuery needs besides the latents.
    __aicore__ inline void PrepareNorm(const PrologAddresses& addresses, const PrologPlan& plan) {
        if (FirstRow(plan, core_) == FirstRow(plan, core_ + 1)) return;
        if (Quantised(plan.q_b_format)) quantiser_.Bind(plan.q_b_format, addresses.q_b_quant);
        if (kIndexer && Quantised(plan.indexer.wq_b_format)) {
            indexer_quantiser_.Bind(plan.indexer.wq_b_format, addresses.indexer.wq_b_quant);
        }
        BindLatents(addresses, plan, QueryLatents(plan), 0, plan.q_lora_rank);
        norm_.template Load<T>(Gm(addresses.q_a_norm_weight), Gm(addresses.q_a_norm_bias),
                               plan.q_lora_rank);
    }

    __aicore__ inline void NormQuery(const PrologAddresses& addresses, const PrologPlan& plan) {
        const uint32_t begin = FirstRow(plan, core_);
        const uint32_t end = FirstRow(plan, core_ + 1);
        GM_ADDR workspace = Gm(addresses.workspace);
        const AscendC::LocalTensor<float> row = row_.template Get<float>();
        const AscendC::LocalTensor<T> out = row_out_.template Get<T>();
        const bool q_b_int8 = Quantised(plan.q_b_format);
        const bool wq_b_int8 = kIndexer && Quantised(plan.indexer.wq_b_format);
        for (uint32_t token = begin; token < end; ++token) {
            LoadLatents(addresses, plan, QueryLatents(plan), token, 0, plan.q_lora_rank);
            norm_.Apply(row, plan.eps);
            HandOver<AscendC::HardEvent::MTE3_V>(pipe_);  // row_out_ may still be being stored
            FromFloat(out, row, plan.q_lora_rank);
            AscendC::PipeBarrier<PIPE_V>();
            Store(Gm(addresses.q_c), static_cast<uint64_t>(token) * plan.q_lora_rank, out,
                  plan.q_lora_rank);
            if (q_b_int8) {
                quantiser_.RowInUb(out, workspace + plan.workspace_q_b_input,
                                   workspace + plan.workspace_q_b_scales, token, plan.q_lora_rank,
                                   row);
            }
            if (wq_b_int8) {
                indexer_quantiser_.RowInUb(out, workspace + plan.indexer.workspace_q_c,
                                           workspace + plan.indexer.workspace_scales, token,
                                           plan.q_lora_rank, row);
            }
        }
    }

    // Cache rows are dealt out to the cores in reverse order: with few tokens they go to the cores
    // that had no row to normalise.
    __aicore__ inline void WriteCaches(const PrologAddresses& addresses, const PrologPlan& plan) {
        const uint32_t share = plan.vector_cores - 1 - core_;
        const uint32_t begin = FirstRow(plan, share);
        const uint32_t end = FirstRow(plan, share + 1);
        if (begin == end) return;
        const AscendC::LocalTensor<float> row = row_.template Get<float>();
        const AscendC::LocalTensor<T> out = row_out_.template Get<T>();
        const AscendC::LocalTensor<T> rope_out = rope_out_.template Get<T>();
        LoadSlots(addresses, plan, begin, end - begin);
        if (CachesInt8(plan)) quantiser_.BindStatic(addresses.kv_cache_scale, 0);
        const GemmPlan& latents = plan.products[prolog::kQkvA].gemm;
        BindLatents(addresses, plan, latents, plan.q_lora_rank, plan.kv_lora_rank + kRopeDim);
        norm_.template Load<T>(Gm(addresses.kv_a_norm_weight), Gm(addresses.kv_a_norm_bias),
                               plan.kv_lora_rank);
        for (uint32_t token = begin; token < end; ++token) {
            const int64_t slot = Slot(plan, token - begin);
            if (slot < 0) continue;  // padding row
            LoadLatents(addresses, plan, latents, token, plan.q_lora_rank,
                        plan.kv_lora_rank + kRopeDim);
            rope_.LoadTable(token);
            norm_.Apply(row, plan.eps);
            HandOver<AscendC::HardEvent::MTE3_V>(pipe_);
            rope_.Apply(rope_out, kRopeDim, row[plan.kv_lora_rank], kRopeDim, 1);
            if (CachesInt8(plan)) {
                HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
                StoreCacheRow(plan.latent_cache.latent, Gm(addresses.kv_cache), slot,
                              quantiser_.ToInt8(row, plan.kv_lora_rank), plan.kv_lora_rank);
            } else {
                FromFloat(out, row, plan.kv_lora_rank);
                HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
                StoreCacheRow(plan.latent_cache.latent, Gm(addresses.kv_cache), slot, out,
                              plan.kv_lora_rank);
            }
            StoreCacheRow(plan.latent_cache.rope, Gm(addresses.rope_cache), slot, rope_out,
                          kRopeDim);
        }
    }

    __aicore__ inline uint32_t HeadGroups(const HeadsPlan& heads) const {
        return CeilDiv(heads.heads, heads.step);
    }

    // Loads the rope table row that RotateQuery needs first; this may happen while the cube
    // computes q_b.
    __aicore__ inline void LoadQueryTable(const PrologPlan& plan) {
        const uint32_t groups = HeadGroups(plan.heads);
        const uint32_t steps = plan.tokens * groups;
        const uint32_t begin = ShareBegin(steps, plan.vector_cores, core_);
        if (begin == ShareBegin(steps, plan.vector_cores, core_ + 1)) return;
        rope_.LoadTable(begin / groups);
    }

    __aicore__ inline void PrepareQuery(const PrologAddresses& addresses, const PrologPlan& plan) {
        GM_ADDR workspace = Gm(addresses.workspace);
        dequantiser_.Bind(
            plan.q_b_format, addresses.q_b_quant, workspace + plan.workspace_query_sums,
            plan.products[prolog::kQueryB].gemm.n, workspace + plan.workspace_q_b_scales);
        OpenTiles(plan, plan.products[prolog::kQueryB].gemm, plan.heads);
    }

    // What W_UK multiplies comes first. The rest is done here as well where there are many tiles,
    // so that they are read once.
    __aicore__ inline void DequantiseQuery(const PrologAddresses& addresses,
                                           const PrologPlan& plan) {
        for (; !tiles_.Done(); tiles_.Next()) {
            LoadTile();
            StoreTile(plan.heads, Gm(addresses.workspace) + plan.workspace_query, false);
            held_ = tiles_.Count() == 1;
            if (held_) break;
            if (tiles_.Count() > plan::kFewTiles) RotateTile(plan.heads, Gm(addresses.q_rope));
        }
        FreeLanding();
    }

    __aicore__ inline void RotateTiles(const PrologAddresses& addresses, const PrologPlan& plan) {
        if (tiles_.Count() > plan::kFewTiles) return;
        if (!held_) tiles_.Restart();
        for (; !tiles_.Done(); tiles_.Next()) {
            if (!held_) LoadTile();
            RotateTile(plan.heads, Gm(addresses.q_rope));
        }
    }

    __aicore__ inline void RotateQuery(const PrologAddresses& addresses, const PrologPlan& plan) {
        RotateHeads(plan, plan.heads, Gm(addresses.workspace) + plan.workspace_query,
                    Gm(addresses.q_rope), false);
    }

    __aicore__ inline void PrepareIndexerQuery(const PrologAddresses& addresses,
                                               const PrologPlan& plan) {
        if (!Quantised(plan.indexer.wq_b_format)) return;
        GM_ADDR workspace = Gm(addresses.workspace);
        dequantiser_.Bind(plan.indexer.wq_b_format, addresses.indexer.wq_b_quant,
                          workspace + plan.indexer.workspace_sums,
                          plan.products[prolog::kIndexerQuery].gemm.n,
                          workspace + plan.indexer.workspace_scales);
        OpenTiles(plan, plan.products[prolog::kIndexerQuery].gemm, plan.indexer.heads);
    }

    __aicore__ inline void RotateIndexerQuery(const PrologAddresses& addresses,
                                              const PrologPlan& plan) {
        GM_ADDR query = Gm(addresses.indexer.q);
        if (!Quantised(plan.indexer.wq_b_format)) {
            RotateHeads(plan, plan.indexer.heads, query, query, true);
            return;
        }
        for (; !tiles_.Done(); tiles_.Next()) {
            LoadTile();
            StoreTile(plan.indexer.heads, query, true);
        }
        FreeLanding();
    }

    // Later stages load into landing_, which tiles are stored from.
    __aicore__ inline void FreeLanding() {
        if (tiles_.Count() > 0) HandOver<AscendC::HardEvent::MTE3_MTE2>(pipe_);
    }

    // Begins with the tiles of an int8 product, and loads what the first one needs besides sums.
    __aicore__ inline void OpenTiles(const PrologPlan& plan, const GemmPlan& gemm,
                                     const HeadsPlan& heads) {
        tiles_.Open(gemm, core_, plan.vector_cores, plan.widest_input,
                    Min(plan.widest / kRopeDim * kRopeDim, plan::kMaxTileColumns));
        if (tiles_.Done()) return;
        dequantiser_.LoadColumns(tiles_.Column(), tiles_.Columns());
        rope_.LoadTable(tiles_.Token(), Min(heads.step, tiles_.Tokens()));
    }

    // Dequantises a tile into row_.
    __aicore__ inline void LoadTile() {
        const uint32_t column = tiles_.Column();
        const uint32_t columns = tiles_.Columns();
        if (!dequantiser_.Holds(column, columns)) dequantiser_.LoadColumns(column, columns);
        dequantiser_.Tile(row_.template Get<float>(), row_.template Get<int32_t>(), tiles_.Token(),
                          tiles_.Tokens());
    }

    // Stores the tile in row_ as the same columns of `query` [tokens, heads, head_dim]: rotated
    // (in_place), or as they are, of which nobody reads those that are to be rotated.
    __aicore__ inline void StoreTile(const HeadsPlan& heads, GM_ADDR query, bool in_place) {
        const AscendC::LocalTensor<T> out = landing_.template Get<T>();
        const uint32_t columns = tiles_.Columns();
        HandOver<AscendC::HardEvent::MTE3_V>(pipe_);
        FromFloat(out, row_.template Get<float>(), tiles_.Tokens() * columns);
        if (in_place) RotateTile(heads, Gm(0));
        HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
        const uint32_t n = heads.heads * heads.head_dim;
        StoreRows(query, static_cast<uint64_t>(tiles_.Token()) * n + tiles_.Column(), out,
                  tiles_.Tokens(), columns, n);
    }

    // Rotates the columns of the tile in row_ into `rotated` [tokens, heads, 64], or, if that is
    // null, into the tile in landing_.
    __aicore__ inline void RotateTile(const HeadsPlan& heads, GM_ADDR rotated) {
        const AscendC::LocalTensor<float> row = row_.template Get<float>();
        const AscendC::LocalTensor<T> rope_out = rope_out_.template Get<T>();
        const uint32_t columns = tiles_.Columns();
        for (uint32_t i = 0; i < columns; i += kRopeDim) {
            if (!IsRotated(heads, tiles_.Column() + i)) continue;
            const uint32_t head = (tiles_.Column() + i) / heads.head_dim;
            for (uint32_t first = 0; first < tiles_.Tokens(); first += heads.step) {
                const uint32_t count = Min(heads.step, tiles_.Tokens() - first);
                const uint32_t token = tiles_.Token() + first;
                const AscendC::LocalTensor<float> x = row[first * columns + i];
                rope_.LoadTable(token, count);
                if (rotated == nullptr) {
                    rope_.ApplyToTokens(landing_.template Get<T>()[first * columns + i], columns, x,
                                        columns, count);
                    continue;
                }
                HandOver<AscendC::HardEvent::MTE3_V>(pipe_);
                rope_.ApplyToTokens(rope_out, kRopeDim, x, columns, count);
                HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
                StoreRows(rotated, (static_cast<uint64_t>(token) * heads.heads + head) * kRopeDim,
                          rope_out, count, kRopeDim, heads.heads * kRopeDim);
            }
        }
    }

    static __aicore__ inline bool IsRotated(const HeadsPlan& heads, uint32_t column) {
        return column % heads.head_dim == heads.rope_column;
    }

    __aicore__ inline void StoreRows(GM_ADDR address, uint64_t offset,
                                     const AscendC::LocalTensor<T>& values, uint32_t rows,
                                     uint32_t width, uint32_t stride) {
        AscendC::GlobalTensor<T> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(address));
        kernels::StoreRows(gm[offset], values, rows, width, stride);
    }

    // Rotates the rope columns of `query` [tokens, heads, head_dim] into `rotated`, which is the
    // same matrix (in_place) or [tokens, heads, 64]. The work is dealt out over all vector cores in
    // steps of heads.step heads of one token.
    __aicore__ inline void RotateHeads(const PrologPlan& plan, const HeadsPlan& heads,
                                       GM_ADDR query, GM_ADDR rotated, bool in_place) {
        const uint32_t groups = HeadGroups(heads);
        const uint32_t steps = plan.tokens * groups;
        const uint32_t begin = ShareBegin(steps, plan.vector_cores, core_);
        const uint32_t end = ShareBegin(steps, plan.vector_cores, core_ + 1);
        for (uint32_t step = begin; step < end; ++step) {
            const uint32_t token = step / groups;
            const uint32_t head = step % groups * heads.step;
            rope_.LoadTable(token);
            Rotate(heads, static_cast<uint64_t>(token) * heads.heads + head,
                   Min(heads.step, heads.heads - head), query, rotated, in_place);
        }
    }

    __aicore__ inline void Rotate(const HeadsPlan& heads, uint64_t first, uint32_t count,
                                  GM_ADDR query, GM_ADDR rotated, bool in_place) {
        const AscendC::LocalTensor<T> landing = landing_.template Get<T>();
        const AscendC::LocalTensor<T> rope_out = rope_out_.template Get<T>();
        const AscendC::LocalTensor<float> row = row_.template Get<float>();
        const uint32_t gap = (heads.head_dim - kRopeDim) * sizeof(T);
        AscendC::GlobalTensor<T> source;
        AscendC::GlobalTensor<T> target;
        source.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(query));
        target.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(rotated));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopyPad(landing, source[first * heads.head_dim + heads.rope_column],
                             AscendC::DataCopyExtParams(count, kRopeDim * sizeof(T), gap, 0, 0),
                             AscendC::DataCopyPadExtParams<T>());
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        ToFloat(row, landing, count * kRopeDim);
        AscendC::PipeBarrier<PIPE_V>();
        HandOver<AscendC::HardEvent::MTE3_V>(pipe_);
        rope_.Apply(rope_out, kRopeDim, row, kRopeDim, count);
        HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
        const uint64_t offset =
            in_place ? first * heads.head_dim + heads.rope_column : first * kRopeDim;
        AscendC::DataCopyPad(
            target[offset], rope_out,
            AscendC::DataCopyExtParams(count, kRopeDim * sizeof(T), 0, in_place ? gap : 0, 0));
    }

    __aicore__ inline void UseIndexerRope(const PrologPlan& plan) {
        const bool interleaved = plan.indexer.rope_interleaved != 0;
        rope_.SetStyle(interleaved, interleaved);
    }

    __aicore__ inline void WriteIndexerKeys(const PrologAddresses& addresses,
                                            const PrologPlan& plan) {
        UseIndexerRope(plan);
        const uint32_t begin = FirstRow(plan, core_);
        const uint32_t end = FirstRow(plan, core_ + 1);
        if (begin == end) return;
        const uint32_t width = plan.indexer.heads.head_dim;
        const AscendC::LocalTensor<float> row = row_.template Get<float>();
        const AscendC::LocalTensor<T> out = row_out_.template Get<T>();
        GM_ADDR weight = Gm(addresses.indexer.k_norm_weight);
        GM_ADDR bias = Gm(addresses.indexer.k_norm_bias);
        LoadSlots(addresses, plan, begin, end - begin);
        if (plan.indexer.norm_float != 0) {
            norm_.template Load<float>(weight, bias, width);
        } else {
            norm_.template Load<T>(weight, bias, width);
        }
        for (uint32_t token = begin; token < end; ++token) {
            const int64_t slot = Slot(plan, token - begin);
            if (slot < 0) continue;
            LoadSums(plan.products[prolog::kIndexerK].gemm,
                     Gm(addresses.workspace) + plan.indexer.workspace_k,
                     static_cast<uint64_t>(token) * width, width);
            rope_.LoadTable(token);
            norm_.Centre(row);
            norm_.Apply(row, plan.indexer.eps);
            HandOver<AscendC::HardEvent::MTE3_V>(pipe_);
            FromFloat(out, row, width);
            rope_.Apply(out, width, row, width, 1);
            HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
            StoreCacheRow(plan.indexer.cache, Gm(addresses.indexer.cache), slot, out, width);
        }
    }

    __aicore__ inline void QuantiseQueryNope(const PrologAddresses& addresses,
                                             const PrologPlan& plan) {
        const uint32_t rows = plan.tokens * plan.heads.heads;
        const uint32_t end = ShareBegin(rows, plan.vector_cores, core_ + 1);
        quantiser_.BindDynamic();
        for (uint32_t row = ShareBegin(rows, plan.vector_cores, core_); row < end; ++row) {
            quantiser_.Row(Gm(addresses.workspace) + plan.workspace_q_nope, Gm(addresses.q_nope),
                           Gm(addresses.q_nope_scale), 1, row, plan.kv_lora_rank,
                           row_.template Get<float>(), landing_.template Get<T>());
        }
    }

    __aicore__ inline void LoadSlots(const PrologAddresses& addresses, const PrologPlan& plan,
                                     uint32_t token, uint32_t count) {
        AscendC::GlobalTensor<int32_t> gm;
        const uint32_t words = plan.slot_bytes / sizeof(int32_t);
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t*>(addresses.slot_mapping));
        const AscendC::DataCopyExtParams params(1, count * plan.slot_bytes, 0, 0, 0);
        HandOver<AscendC::HardEvent::S_MTE2>(pipe_);  // after the reads of an earlier cache's slots
        AscendC::DataCopyPad(slots_.Get<int32_t>(), gm[static_cast<uint64_t>(token) * words],
                             params, AscendC::DataCopyPadExtParams<int32_t>());
        HandOver<AscendC::HardEvent::MTE2_S>(pipe_);
    }

    __aicore__ inline int64_t Slot(const PrologPlan& plan, uint32_t index) {
        if (plan.slot_bytes == 8) return slots_.Get<int64_t>().GetValue(index);
        return slots_.Get<int32_t>().GetValue(index);
    }

    // The product that makes the query latent.
    static __aicore__ inline const GemmPlan& QueryLatents(const PrologPlan& plan) {
        const GemmPlan& alone = plan.products[prolog::kQueryA].gemm;
        return alone.m != 0 ? alone : plan.products[prolog::kQkvA].gemm;
    }

    // Prepares LoadLatents for columns [column, column + width) of the rows of qkv_a, which `gemm`
    // makes.
    __aicore__ inline void BindLatents(const PrologAddresses& addresses, const PrologPlan& plan,
                                       const GemmPlan& gemm, uint32_t column, uint32_t width) {
        if (!Quantised(plan.qkv_a_format)) return;
        GM_ADDR workspace = Gm(addresses.workspace);
        dequantiser_.Bind(plan.qkv_a_format, addresses.qkv_a_quant, workspace, gemm.c_row_stride,
                          workspace + plan.workspace_hidden_scales);
        if (gemm.depth_shares > 1) {
            dequantiser_.BindShares(gemm.depth_shares, gemm.c_share_stride,
                                    row_.template Get<int32_t>()[widest_]);
        }
        dequantiser_.LoadColumns(column, width);
    }

    __aicore__ inline void LoadLatents(const PrologAddresses& addresses, const PrologPlan& plan,
                                       const GemmPlan& gemm, uint32_t token, uint32_t column,
                                       uint32_t width) {
        if (Quantised(plan.qkv_a_format)) {
            dequantiser_.Row(row_.template Get<float>(), token);
        } else {
            LoadSums(gemm, Gm(addresses.workspace),
                     static_cast<uint64_t>(token) * gemm.c_row_stride + column, width);
        }
    }

    // Loads a row of the fp32 sums of `gemm` into row_ and adds up its depth shares, ready for the
    // vector pipe.
    __aicore__ inline void LoadSums(const GemmPlan& gemm, GM_ADDR address, uint64_t offset,
                                    uint32_t width) {
        const AscendC::LocalTensor<float> row = row_.template Get<float>();
        AscendC::GlobalTensor<float> sums;
        sums.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(address));
        HandOver<AscendC::HardEvent::V_MTE2>(pipe_);
        AscendC::DataCopy(row, sums[offset], width);
        for (uint32_t i = 1; i < gemm.depth_shares; ++i) {
            AscendC::DataCopy(Share(i, width), sums[offset + i * gemm.c_share_stride], width);
        }
        HandOver<AscendC::HardEvent::MTE2_V>(pipe_);
        for (uint32_t i = 1; i < gemm.depth_shares; ++i) {
            AscendC::Add(row, row, Share(i, width), width);
            AscendC::PipeBarrier<PIPE_V>();
        }
    }

    // The buffer of depth share `share`, counted from 1, behind share 0.
    __aicore__ inline AscendC::LocalTensor<float> Share(uint32_t share, uint32_t width) {
        return row_.template Get<float>()[widest_ + (share - 1) * width];
    }

    __aicore__ inline void Store(GM_ADDR address, uint64_t offset,
                                 const AscendC::LocalTensor<T>& values, uint32_t count) {
        HandOver<AscendC::HardEvent::V_MTE3>(pipe_);
        AscendC::GlobalTensor<T> gm;
        gm.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(address));
        AscendC::DataCopy(gm[offset], values, count);
    }

    AscendC::TPipe* pipe_;
    uint32_t core_;
    bool held_;  // whether row_ has all that RotateTiles rotates
    uint32_t widest_;
    BesideTiles tiles_;
    RmsNorm norm_;
    Rope<T> rope_;
    Dequantiser dequantiser_;
    Quantiser<T> quantiser_;
    Quantiser<T> indexer_quantiser_;
    WeightWarmer<> warmer_;
    AscendC::TBuf<AscendC::TPosition::VECIN> row_;
    AscendC::TBuf<AscendC::TPosition::VECIN> landing_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> row_out_;
    AscendC::TBuf<AscendC::TPosition::VECOUT> rope_out_;
    AscendC::TBuf<AscendC::TPosition::VECIN> slots_;
};

}  // namespace kernels
