#include "plan_walk/walk.h"

#include <algorithm>
#include <functional>
#include <set>

#include "arch/dav_c220.h"
#include "kernels/gemm_tiles.h"
#include "plan/linear_format.h"
#include "plan/plan_gemm.h"
#include "plan/plan_phases.h"
#include "plan/prolog_phases.h"
#include "plan/rounding.h"
#include "plan/ub_bytes.h"
#include "plan/units.h"
#include "plan_walk/machine.h"

using PrologKernel = void(PrologAddresses addresses, PrologPlan plan, PrologWarm warm);
using OProjKernel = void(OProjAddresses addresses, OProjPlan plan, OProjWarm warm);
using MatmulKernel = void(MatmulAddresses addresses, MatmulPlan plan);
extern "C" PrologKernel mla_prolog_bf16;
extern "C" PrologKernel mla_prolog_fp16;
extern "C" PrologKernel mla_prolog_bf16_w8a8;
extern "C" PrologKernel mla_prolog_fp16_w8a8;
extern "C" PrologKernel sfa_prolog_bf16;
extern "C" PrologKernel sfa_prolog_fp16;
extern "C" PrologKernel sfa_prolog_bf16_w8a8;
extern "C" PrologKernel sfa_prolog_fp16_w8a8;
extern "C" OProjKernel o_proj_bf16;
extern "C" OProjKernel o_proj_fp16;
extern "C" OProjKernel o_proj_bf16_w8a8;
extern "C" OProjKernel o_proj_fp16_w8a8;
extern "C" MatmulKernel matmul_bf16;
extern "C" MatmulKernel matmul_fp16;
extern "C" MatmulKernel matmul_int8;
using PrologStageKernel = void(PrologAddresses addresses, PrologPlan plan, uint32_t stage);
extern "C" PrologStageKernel prolog_stage_bf16;
extern "C" PrologStageKernel prolog_stage_fp16;
extern "C" PrologStageKernel prolog_stage_bf16_w8a8;
extern "C" PrologStageKernel prolog_stage_fp16_w8a8;
extern "C" void prefetch(PrefetchPlan plan);
extern "C" void prefetch_cube(PrefetchPlan plan);
extern "C" void copy_gm_l1(CopyPlan plan);
extern "C" void copy_gm_ub(CopyPlan plan);

namespace walk {

namespace {

using plan::WeightBytes;

constexpr uint64_t kFloat = sizeof(float);
constexpr uint64_t kHalf = plan::kHalfBytes;
constexpr uint64_t kScaleRow = plan::kBlockBytes;  // of a token
// Prefetched tensors come first in a machine, so that their addresses are known to the planner.
constexpr int kAddressBits = 40;
/// Batches beyond which counting takes longer than walking.
constexpr uint32_t kMaxCountedTokens = 512;

// Half of L0A and of L0B, a step of a product (kernels/gemm.h).
constexpr uint64_t kL0SlotBytes = arch::DavC220::kL0aBytes / 2;
constexpr uint32_t kMaxWeightSlots = 4;  // events of them (kernels/weight_stream.h)

/// The tiles of a product fit the slots that its kernel has for them.
void RequireSlots(const char* name, const GemmPlan& gemm, const GemmBuffers& buffers) {
    const auto fits = [&](const char* what, uint64_t bytes, uint64_t room) {
        if (bytes > 0 && bytes <= room) return;
        Fail("slot", "%s: %s takes %llu bytes of a slot of %llu", name, what,
             static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(room));
    };
    const uint64_t rows = plan::RoundUp(gemm.tile_m, plan::kStrip);
    const uint64_t bytes = gemm.element_bytes;
    fits("a tile of the weight", uint64_t{gemm.tile_n} * gemm.tile_k * bytes, buffers.b_slot_bytes);
    fits("a piece of the left matrix", rows * gemm.a_depth * bytes, buffers.a_slot_bytes);
    fits("a step of the weight in L0B", uint64_t{gemm.l0_k} * gemm.tile_n * bytes, kL0SlotBytes);
    fits("a step of the left matrix in L0A", gemm.l0_k * rows * bytes, kL0SlotBytes);
    fits("a tile of sums", rows * gemm.tile_n * kFloat,
         uint64_t{gemm.l0c_slots} * buffers.l0c_slot_bytes);
    if (gemm.l0c_slots * gemm.c_tiles == 0 || gemm.l0c_slots * gemm.c_tiles > 2) {
        Fail("slot", "%s: %u tiles of sums take %u slots each, there are two", name, gemm.c_tiles,
             gemm.l0c_slots);
    }
    if (buffers.b_slots == 0 || buffers.b_slots > kMaxWeightSlots) {
        Fail("slot", "%s: the weight stream has %u slots, it has events for %u", name,
             buffers.b_slots, kMaxWeightSlots);
    }
}

/// The tiles of all cores make the whole product.
void RequireShares(const char* name, const GemmPlan& gemm, uint32_t cores) {
    uint64_t made = 0;
    for (uint32_t core = 0; core < cores; ++core) {
        kernels::TileCursor cursor;
        for (cursor.Open(gemm, core, cores); !cursor.Done(); cursor.Next(gemm)) {
            const kernels::Tile tile = cursor.Get(gemm);
            made += uint64_t{tile.rows} * tile.columns * tile.depths;
        }
    }
    const uint64_t whole = uint64_t{gemm.m} * gemm.n * gemm.k * gemm.batches;
    if (made == whole) return;
    Fail("share", "%s: expected %llu products of elements of all cores, got %llu", name,
         static_cast<unsigned long long>(whole), static_cast<unsigned long long>(made));
}

void RequireGemm(const char* name, const GemmPlan& gemm, const GemmBuffers& buffers,
                 uint32_t cores) {
    RequireSlots(name, gemm, buffers);
    RequireShares(name, gemm, cores);
}

/// Windows go through the chunks of the regions in order, by cores that there are.
void RequireWindows(const WarmPlan& warm, const std::vector<WarmWindow>& windows, uint32_t cores) {
    uint64_t chunks = 0;
    for (uint32_t i = 0; i < warm.region_count; ++i) {
        chunks += plan::CeilDiv(warm.regions[i].bytes, warm.chunk_bytes);
    }
    uint64_t next = 0;
    for (const WarmWindow& window : windows) {
        if (window.chunk_count > 0 && window.first_chunk != next) {
            Fail("window", "a window starts with chunk %u, expected %llu", window.first_chunk,
                 static_cast<unsigned long long>(next));
        }
        next += window.chunk_count;
        if (window.chunk_count > 0 &&
            (window.core_count == 0 || window.first_core + window.core_count > cores)) {
            Fail("window", "a window has cores [%u, %u) of %u", window.first_core,
                 window.first_core + window.core_count, cores);
        }
    }
    if (next > chunks) {
        Fail("window", "windows have %llu chunks, regions %llu",
             static_cast<unsigned long long>(next), static_cast<unsigned long long>(chunks));
    }
    if (next > 0 && warm.pad_slots == 0) Fail("window", "chunks have nowhere to land");
}

/// Loads of the windows' chunks, each once.
void ExpectWindows(Machine& machine, const WarmPlan& warm, const std::vector<WarmWindow>& windows,
                   const std::vector<std::string>& names) {
    uint64_t left = 0;
    for (const WarmWindow& window : windows) left += window.chunk_count;
    for (uint32_t i = 0; i < warm.region_count; ++i) {
        const uint64_t chunks = plan::CeilDiv(warm.regions[i].bytes, warm.chunk_bytes);
        const uint64_t bytes =
            std::min(std::min(chunks, left) * warm.chunk_bytes, warm.regions[i].bytes);
        left -= std::min(chunks, left);
        machine.Expect(names[i], Port::kLoad, bytes, plan::kBlockBytes);
    }
}

/// Cores of a role that run.
std::vector<uint32_t> Chosen(uint32_t count, Cores cores, Draws& draws) {
    std::set<uint32_t> chosen = {0, count - 1, static_cast<uint32_t>(draws.Below(count))};
    if (cores == Cores::kAll) {
        for (uint32_t core = 0; core < count; ++core) chosen.insert(core);
    }
    return {chosen.begin(), chosen.end()};
}

/// Runs a kernel that both roles have, or one of them.
void RunCores(Machine& machine, uint32_t aics, uint32_t aivs, Cores cores, Draws& draws,
              Walked& walked, const std::function<void()>& kernel) {
    std::vector<FlagCall> aic;
    std::vector<FlagCall> aiv;
    const uint32_t blocks = aics > 0 ? aics : aivs;
    if (aics > 0) {
        for (const uint32_t core : Chosen(aics, cores, draws)) {
            const std::vector<FlagCall> calls = machine.Run({true, core, blocks}, kernel);
            if (core > 0) RequireSameBarriers(aic, calls);
            aic = calls;
            ++walked.core_runs;
            if (aivs == 0) RequireFlagsMeet(aic, {});
        }
    }
    if (aivs > 0) {
        for (const uint32_t core : Chosen(aivs, cores, draws)) {
            aiv = machine.Run({false, core, blocks}, kernel);
            ++walked.core_runs;
            RequireFlagsMeet(aic, aiv);
        }
    }
    walked.instructions = machine.instructions();
}

/// What the last vector core has allocated is what planners count on, and its landing pads.
void RequireUb(const Machine& machine, uint32_t planned, const WarmPlan& warm) {
    const uint32_t all = planned + warm.pad_slots * warm.chunk_bytes;
    if (machine.UbBytes() != all)
        Fail("capacity", "planned are %u bytes of UB, allocated %u", all, machine.UbBytes());
}

/// Adds the regions that a request names; the first tensors of a machine.
void AddPrefetch(Machine& machine, const plan::PrefetchRequest& request) {
    for (size_t i = 0; i < request.regions.size(); ++i) {
        const uint64_t space = machine.AddSpace();
        const uint64_t offset = request.regions[i].address - space;
        machine.AddPart(space, offset + request.regions[i].bytes,
                        "prefetch[" + std::to_string(i) + "]", offset, request.regions[i].bytes);
    }
}

std::vector<std::string> PrefetchNames(const WarmPlan& warm) {
    std::vector<std::string> names;
    for (uint32_t i = 0; i < warm.region_count; ++i) {
        names.push_back("prefetch[" +
                        std::to_string((warm.regions[i].address >> kAddressBits) - 1) + "]");
    }
    return names;
}

QuantAddresses AddQuant(Machine& machine, const std::string& name, const LinearFormat& format,
                        uint64_t columns, bool offset, bool bias) {
    QuantAddresses quant{};
    if (!plan::Quantised(format)) return quant;
    quant.dequant_scale =
        machine.Add(name + "_dequant_scale", columns * plan::ScaleBytes(format), false);
    if (!plan::Dynamic(format)) {
        quant.input_scale = machine.Add(name + "_input_scale", kFloat, false);
        if (offset) quant.input_offset = machine.Add(name + "_input_offset", kFloat, false);
    }
    if (bias) quant.quant_bias = machine.Add(name + "_quant_bias", columns * kFloat, false);
    return quant;
}

uint64_t CacheBytes(const CachePlan& cache, uint32_t blocks, uint64_t width, uint64_t element) {
    return ((blocks - 1) * cache.block_stride + cache.block_size * width) * element;
}

/// A prolog's tensors in a machine.
class BoundProlog {
public:
    BoundProlog(const PrologCase& prolog, const PrologPlan& plan)
        : case_(prolog),
          problem_(prolog.problem),
          plan_(plan),
          q_a_(plan::GemmOf(plan, prolog::kQueryA)),
          qkv_a_(plan::GemmOf(plan, prolog::kQkvA)),
          q_b_(plan::GemmOf(plan, prolog::kQueryB)),
          tokens_(problem_.tokens) {
        AddPrefetch(machine, prolog.prefetch);
        AddInputs();
        AddCaches();
        AddResults();
        AddWorkspace();
        if (Indexed()) AddIndexer();
    }

    bool Indexed() const { return problem_.indexer.heads > 0; }
    bool Quantised() const {
        return plan::HoldsInt8(problem_.latent_cache.latent) || problem_.quantize_q_nope ||
               plan::Quantised(problem_.qkv_a) || plan::Quantised(problem_.q_b) ||
               (Indexed() && plan::Quantised(problem_.indexer.wq_b));
    }

    /// What all cores together write and load.
    void Expect() {
        const bool q_b_int8 = plan::Quantised(problem_.q_b);
        Fixpipe("sums of qkv_a", tokens_ * kFloat *
                                     (uint64_t{q_a_.n} * q_a_.depth_shares +
                                      uint64_t{qkv_a_.n} * qkv_a_.depth_shares));
        if (plan::Quantised(problem_.qkv_a)) Store("int8 hidden states", tokens_ * qkv_a_.k);
        if (plan::Dynamic(problem_.qkv_a)) Store("scales of hidden states", tokens_ * kScaleRow);
        if (q_b_int8) {
            Store("query", QueryBytes());
            Fixpipe("sums of q_b", tokens_ * q_b_.n * kFloat);
            Store("int8 input of q_b", tokens_ * q_b_.k);
        } else {
            Fixpipe("query", QueryBytes());
        }
        if (plan::Dynamic(problem_.q_b)) Store("scales of q_b", tokens_ * kScaleRow);
        const uint64_t heads = tokens_ * problem_.heads;
        if (problem_.quantize_q_nope) {
            Fixpipe("q_nope in 16 bits", heads * problem_.kv_lora_rank * kHalf);
            Store("q_nope", heads * problem_.kv_lora_rank);
            Store("q_nope_scale", heads * kFloat, kFloat);
        } else {
            Fixpipe("q_nope", heads * problem_.kv_lora_rank * kHalf);
        }
        Store("q_rope", heads * plan::kRopeDim * kHalf);
        if (problem_.q_lora_rank > 0) Store("q_c", tokens_ * problem_.q_lora_rank * kHalf);
        const uint64_t rows = written_slots_;
        const uint64_t latent = rows * problem_.kv_lora_rank *
                                (plan::HoldsInt8(problem_.latent_cache.latent) ? 1 : kHalf);
        const uint64_t rope = rows * plan::kRopeDim * kHalf;
        Store("kv_cache", (problem_.latent_cache.joint != 0) ? latent + rope : latent);
        if (problem_.latent_cache.joint == 0) Store("rope_cache", rope);
        Load("qkv_a_weight", WeightBytes(q_a_) + WeightBytes(qkv_a_));
        Load("q_b_weight", WeightBytes(q_b_));
        Load("w_uk", WeightBytes(plan::GemmOf(plan_, prolog::kAbsorb)));
        if (Indexed()) ExpectIndexer();
    }

    Machine machine;
    PrologAddresses addresses{};

private:
    void Fixpipe(const char* name, uint64_t bytes) {
        machine.Expect(name, Port::kFixpipe, bytes, plan::kBlockBytes);
    }
    void Store(const char* name, uint64_t bytes, uint32_t unit = plan::kBlockBytes) {
        machine.Expect(name, Port::kStore, bytes, unit);
    }
    /// Batches of more rows than a tile load a weight once for each of them.
    void Load(const char* name, uint64_t bytes) {
        if (plan_.tokens > qkv_a_.tile_m) return;
        machine.Expect(name, Port::kLoad, bytes, plan::kBlockBytes);
    }

    void ExpectIndexer() {
        const plan::IndexerProblem& p = problem_.indexer;
        const uint64_t columns = uint64_t{p.heads} * p.head_dim;
        Fixpipe(
            "sums of indexer_wk",
            tokens_ * p.head_dim * plan::GemmOf(plan_, prolog::kIndexerK).depth_shares * kFloat);
        Fixpipe("indexer_weights", tokens_ * p.heads * kFloat);
        if (plan::Quantised(p.wq_b)) {
            Store("indexer_q", tokens_ * columns * kHalf);
            Fixpipe("sums of indexer_wq_b", tokens_ * columns * kFloat);
            Store("int8 input of indexer_wq_b", tokens_ * problem_.q_lora_rank);
        } else {
            Fixpipe("indexer_q", tokens_ * columns * kHalf);
            Store("indexer_q", tokens_ * p.heads * plan::kRopeDim * kHalf);
        }
        if (plan::Dynamic(p.wq_b)) Store("scales of indexer_wq_b", tokens_ * kScaleRow);
        Store("indexer_cache", written_slots_ * p.head_dim * kHalf);
        Load("indexer_wq_b", WeightBytes(plan::GemmOf(plan_, prolog::kIndexerQuery)));
        Load("indexer_wk",
             WeightBytes(plan::GemmOf(plan_, prolog::kIndexerK)) +
                 (p.fused ? WeightBytes(plan::GemmOf(plan_, prolog::kIndexerWeights)) : 0));
        if (!p.fused)
            Load("indexer_weights_proj", WeightBytes(plan::GemmOf(plan_, prolog::kIndexerWeights)));
    }

    /// Of both parts of qkv_a, whose shares are those of a matrix.
    uint64_t SumsBytes() const {
        return tokens_ * qkv_a_.c_row_stride * kFloat *
               std::max(q_a_.depth_shares, qkv_a_.depth_shares);
    }
    uint64_t QueryBytes() const { return tokens_ * q_b_.n * kHalf; }

    void AddInputs() {
        const plan::PrologProblem& p = problem_;
        addresses.hidden_states =
            machine.Add("hidden_states", tokens_ * p.hidden_size * kHalf, false);
        addresses.qkv_a_weight =
            machine.Add("qkv_a_weight", WeightBytes(q_a_) + WeightBytes(qkv_a_), false);
        addresses.qkv_a_quant = AddQuant(machine, "qkv_a", p.qkv_a, qkv_a_.c_row_stride,
                                         case_.input_offset, case_.quant_bias);
        if (p.q_lora_rank > 0) {
            addresses.q_a_norm_weight =
                machine.Add("q_a_norm_weight", p.q_lora_rank * kHalf, false);
            if (case_.norm_bias) {
                addresses.q_a_norm_bias =
                    machine.Add("q_a_norm_bias", p.q_lora_rank * kHalf, false);
            }
        }
        addresses.q_b_weight = machine.Add("q_b_weight", WeightBytes(q_b_), false);
        addresses.q_b_quant =
            AddQuant(machine, "q_b", p.q_b, q_b_.n, case_.input_offset, case_.quant_bias);
        addresses.w_uk =
            machine.Add("w_uk", WeightBytes(plan::GemmOf(plan_, prolog::kAbsorb)), false);
        addresses.kv_a_norm_weight = machine.Add("kv_a_norm_weight", p.kv_lora_rank * kHalf, false);
        if (case_.norm_bias) {
            addresses.kv_a_norm_bias = machine.Add("kv_a_norm_bias", p.kv_lora_rank * kHalf, false);
        }
        const uint64_t table = tokens_ * plan::kRopeDim * (p.rope_table_float ? kFloat : kHalf);
        addresses.cos = machine.Add("cos", table, false);
        addresses.sin = machine.Add("sin", table, false);
        const uint32_t slot_bytes = p.slots_int64 ? 8 : 4;
        addresses.slot_mapping = machine.Add("slot_mapping", tokens_ * slot_bytes, false);
        // Every row of the cache's end, one token each, the last one first.
        const int64_t rows = int64_t{case_.cache_blocks} * p.latent_cache.latent.block_size;
        std::vector<int64_t> slots(tokens_);
        for (uint64_t token = 0; token < tokens_; ++token) {
            slots[token] =
                case_.padding && token % 3 == 1 ? -1 : rows - 1 - static_cast<int64_t>(token);
            if (slots[token] >= 0) ++written_slots_;
        }
        machine.SetSlots(addresses.slot_mapping, slot_bytes, std::move(slots));
    }

    void AddCaches() {
        const plan::PrologProblem& p = problem_;
        const uint64_t element = plan::HoldsInt8(p.latent_cache.latent) ? 1 : kHalf;
        const uint64_t width =
            p.kv_lora_rank + ((problem_.latent_cache.joint != 0) ? plan::kRopeDim : 0);
        addresses.kv_cache = machine.Add(
            "kv_cache", CacheBytes(p.latent_cache.latent, case_.cache_blocks, width, element),
            true);
        if (plan::HoldsInt8(p.latent_cache.latent))
            addresses.kv_cache_scale = machine.Add("kv_cache_scale", kFloat, false);
        if (problem_.latent_cache.joint != 0) {
            // Behind the latent: in the row, or in the block where it is NZ.
            const uint64_t rows =
                plan::IsFractal(p.latent_cache.latent) ? p.latent_cache.latent.block_size : 1;
            addresses.rope_cache = addresses.kv_cache + p.kv_lora_rank * rows * kHalf;
        } else {
            addresses.rope_cache = machine.Add(
                "rope_cache",
                CacheBytes(p.latent_cache.rope, case_.cache_blocks, plan::kRopeDim, kHalf), true);
        }
    }

    void AddResults() {
        const plan::PrologProblem& p = problem_;
        const uint64_t heads = tokens_ * p.heads;
        addresses.q_nope =
            machine.Add("q_nope", heads * p.kv_lora_rank * (p.quantize_q_nope ? 1 : kHalf), true);
        if (p.quantize_q_nope)
            addresses.q_nope_scale = machine.Add("q_nope_scale", heads * kFloat, true);
        addresses.q_rope = machine.Add("q_rope", heads * plan::kRopeDim * kHalf, true);
        if (p.q_lora_rank > 0)
            addresses.q_c = machine.Add("q_c", tokens_ * p.q_lora_rank * kHalf, true);
        addresses.workspace = machine.AddSpace();
    }

    void Part(const char* name, uint64_t offset, uint64_t bytes) {
        machine.AddPart(addresses.workspace, plan_.workspace_bytes, name, offset, bytes);
    }

    void AddWorkspace() {
        const plan::PrologProblem& p = problem_;
        Part("sums of qkv_a", 0, SumsBytes());
        Part("query", plan_.workspace_query, QueryBytes());
        if (plan::Quantised(p.qkv_a))
            Part("int8 hidden states", plan_.workspace_hidden, tokens_ * qkv_a_.k);
        if (plan::Dynamic(p.qkv_a))
            Part("scales of hidden states", plan_.workspace_hidden_scales, tokens_ * kScaleRow);
        if (plan::Quantised(p.q_b)) {
            Part("sums of q_b", plan_.workspace_query_sums, tokens_ * q_b_.n * kFloat);
            Part("int8 input of q_b", plan_.workspace_q_b_input, tokens_ * q_b_.k);
        }
        if (plan::Dynamic(p.q_b))
            Part("scales of q_b", plan_.workspace_q_b_scales, tokens_ * kScaleRow);
        if (p.quantize_q_nope) {
            Part("q_nope in 16 bits", plan_.workspace_q_nope,
                 tokens_ * p.heads * p.kv_lora_rank * kHalf);
        }
    }

    void AddIndexer() {
        const plan::IndexerProblem& p = problem_.indexer;
        const IndexerPlan& plan = plan_.indexer;
        IndexerAddresses& to = addresses.indexer;
        const uint64_t columns = uint64_t{p.heads} * p.head_dim;
        to.wq_b = machine.Add("indexer_wq_b",
                              WeightBytes(plan::GemmOf(plan_, prolog::kIndexerQuery)), false);
        to.wq_b_quant = AddQuant(machine, "indexer_wq_b", p.wq_b, columns, case_.input_offset,
                                 case_.quant_bias);
        const uint64_t weights = WeightBytes(plan::GemmOf(plan_, prolog::kIndexerWeights));
        to.wk = machine.Add(
            "indexer_wk",
            WeightBytes(plan::GemmOf(plan_, prolog::kIndexerK)) + (p.fused ? weights : 0), false);
        if (p.fused) {
            const uint64_t row =
                p.wk == plan::WeightLayout::kOutInNz ? plan::kStrip : problem_.hidden_size;
            to.weights_proj = to.wk + p.head_dim * row * kHalf;
        } else {
            to.weights_proj = machine.Add("indexer_weights_proj", weights, false);
        }
        const uint64_t norm = p.head_dim * (p.norm_float ? kFloat : kHalf);
        to.k_norm_weight = machine.Add("indexer_k_norm_weight", norm, false);
        to.k_norm_bias = machine.Add("indexer_k_norm_bias", norm, false);
        to.cache = machine.Add("indexer_cache",
                               CacheBytes(p.cache, case_.cache_blocks, p.head_dim, kHalf), true);
        to.q = machine.Add("indexer_q", tokens_ * columns * kHalf, true);
        to.weights = machine.Add("indexer_weights", tokens_ * p.heads * kFloat, true);
        Part("sums of indexer_wk", plan.workspace_k,
             tokens_ * p.head_dim * plan::GemmOf(plan_, prolog::kIndexerK).depth_shares * kFloat);
        if (plan::Quantised(p.wq_b)) {
            Part("sums of indexer_wq_b", plan.workspace_sums, tokens_ * columns * kFloat);
            Part("int8 input of indexer_wq_b", plan.workspace_q_c, tokens_ * problem_.q_lora_rank);
        }
        if (plan::Dynamic(p.wq_b))
            Part("scales of indexer_wq_b", plan.workspace_scales, tokens_ * kScaleRow);
    }

    const PrologCase& case_;
    const plan::PrologProblem& problem_;
    const PrologPlan& plan_;
    const GemmPlan& q_a_;
    const GemmPlan& qkv_a_;
    const GemmPlan& q_b_;
    uint64_t tokens_;
    uint64_t written_slots_ = 0;
};

PrologStageKernel* ChooseStageKernel(const PrologCase& prolog, bool quantised) {
    if (quantised) return prolog.half ? prolog_stage_fp16_w8a8 : prolog_stage_bf16_w8a8;
    return prolog.half ? prolog_stage_fp16 : prolog_stage_bf16;
}

PrologKernel* ChooseKernel(const PrologCase& prolog, bool quantised, bool indexed) {
    if (indexed) {
        if (quantised) return prolog.half ? sfa_prolog_fp16_w8a8 : sfa_prolog_bf16_w8a8;
        return prolog.half ? sfa_prolog_fp16 : sfa_prolog_bf16;
    }
    if (quantised) return prolog.half ? mla_prolog_fp16_w8a8 : mla_prolog_bf16_w8a8;
    return prolog.half ? mla_prolog_fp16 : mla_prolog_bf16;
}

}  // namespace

void PlacePrefetch(plan::PrefetchRequest& request) {
    for (size_t i = 0; i < request.regions.size(); ++i) {
        request.regions[i].address += static_cast<uint64_t>(i + 1) << kAddressBits;
    }
}

PrologPlans PlanProlog(const PrologCase& prolog) {
    const plan::PrologShapePlan shape = plan::PlanProlog(prolog.problem, *prolog.chip);
    return {shape.kernel, plan::PlanPrologWarm(shape, *prolog.chip, prolog.prefetch)};
}

OProjPlans PlanOProj(const OProjCase& o_proj) {
    const plan::OProjShapePlan shape = plan::PlanOProj(o_proj.problem, *o_proj.chip);
    return {shape.kernel, plan::PlanOProjWarm(shape, *o_proj.chip, o_proj.prefetch)};
}

Walked Walk(const PrologCase& prolog, const PrologPlans& plans, Cores cores, Draws& draws) {
    const PrologPlan& plan = plans.shape;
    const PrologWarm& warm = plans.warm;
    Walked walked;
    const uint32_t aics = prolog.chip->aic_count;
    for (uint32_t i = 0; i < prolog::kProducts; ++i) {
        const PrologProduct& product = plan.products[i];
        if (!plan::Has(product)) continue;
        RequireGemm(plan::NameOf(static_cast<prolog::Product>(i)), product.gemm, plan.buffers,
                    aics);
        ++walked.products;
    }
    BoundProlog bound(prolog, plan);
    const std::vector<WarmWindow> windows(std::begin(warm.windows), std::end(warm.windows));
    RequireWindows(warm.plan, windows, prolog.chip->aiv_count);
    const bool counted = cores == Cores::kAll && plan.tokens <= kMaxCountedTokens;
    if (counted) {
        bound.Expect();
        ExpectWindows(bound.machine, warm.plan, windows, PrefetchNames(warm.plan));
    }
    PrologKernel* kernel = ChooseKernel(prolog, bound.Quantised(), bound.Indexed());
    RunCores(bound.machine, aics, prolog.chip->aiv_count, cores, draws, walked,
             [&] { kernel(bound.addresses, plan, warm); });
    if (counted) bound.machine.RequireExpected();
    const uint32_t ub_bytes = plan::PrologUb(plan).Total(bound.Quantised(), bound.Indexed());
    RequireUb(bound.machine, ub_bytes, warm.plan);
    if (cores == Cores::kAll) {
        PrologStageKernel* stage_kernel = ChooseStageKernel(prolog, bound.Quantised());
        for (uint32_t stage = 0; stage < prolog::kEnd; ++stage) {
            if (!plan::Has(plan.steps[stage])) continue;
            RunCores(bound.machine, 0, prolog.chip->aiv_count, Cores::kSome, draws, walked,
                     [&] { stage_kernel(bound.addresses, plan, stage); });
        }
    }
    return walked;
}

Walked Walk(const OProjCase& o_proj, const OProjPlans& plans, Cores cores, Draws& draws) {
    const OProjPlan& plan = plans.shape;
    const OProjWarm& warm = plans.warm;
    Walked walked;
    const plan::OProjProblem& p = o_proj.problem;
    const uint32_t aics = o_proj.chip->aic_count;
    const uint64_t tokens = p.tokens;
    const bool v_up = p.kv_lora_rank > 0;
    const bool int8 = plan::Quantised(p.o_proj);
    const bool epilogue = int8 || p.has_bias;
    Machine machine;
    AddPrefetch(machine, o_proj.prefetch);
    OProjAddresses addresses{};
    const uint64_t value = tokens * p.value_columns;
    const uint64_t out = tokens * p.hidden_size * kHalf;
    const uint64_t sums = tokens * p.hidden_size * kFloat;
    addresses.attn_output = machine.Add(
        "attn_output", v_up ? tokens * p.heads * p.kv_lora_rank * kHalf : value * kHalf, false);
    if (v_up) addresses.w_uv = machine.Add("w_uv", WeightBytes(plan.v_up), false);
    addresses.o_proj_weight = machine.Add("o_proj_weight", WeightBytes(plan.o_proj), false);
    addresses.quant = AddQuant(machine, "o_proj", p.o_proj, p.hidden_size, o_proj.input_offset,
                               o_proj.quant_bias);
    if (p.has_bias)
        addresses.bias =
            machine.Add("bias", p.hidden_size * (p.bias_float ? kFloat : kHalf), false);
    addresses.out = machine.Add("out", out, true);
    addresses.workspace = machine.AddSpace();
    const auto part = [&](const char* name, uint64_t offset, uint64_t bytes) {
        machine.AddPart(addresses.workspace, plan.workspace_bytes, name, offset, bytes);
    };
    if (v_up) part("value", plan.workspace_value, value * kHalf);
    if (int8) part("int8 value", plan.workspace_input, value);
    if (plan::Dynamic(p.o_proj))
        part("scales of the value", plan.workspace_scales, tokens * kScaleRow);
    if (epilogue) part("sums of o_proj", plan.workspace_sums, sums);

    walked.products = v_up ? 2 : 1;
    if (v_up) RequireGemm("w_uv", plan.v_up, plan.buffers, aics);
    RequireGemm("o_proj", plan.o_proj, plan.buffers, aics);
    RequireWindows(warm.plan, {warm.while_o_proj}, o_proj.chip->aiv_count);
    const bool counted = cores == Cores::kAll && tokens <= kMaxCountedTokens;
    if (counted) {
        constexpr uint32_t kUnit = plan::kBlockBytes;
        if (v_up) machine.Expect("value", Port::kFixpipe, value * kHalf, kUnit);
        if (tokens <= plan.o_proj.tile_m) {  // else a weight is loaded for every tile of rows
            if (v_up) machine.Expect("w_uv", Port::kLoad, WeightBytes(plan.v_up), kUnit);
            machine.Expect("o_proj_weight", Port::kLoad, WeightBytes(plan.o_proj), kUnit);
        }
        if (int8) machine.Expect("int8 value", Port::kStore, value, kUnit);
        if (plan::Dynamic(p.o_proj))
            machine.Expect("scales of the value", Port::kStore, tokens * kScaleRow, kUnit);
        if (epilogue) machine.Expect("sums of o_proj", Port::kFixpipe, sums, kUnit);
        machine.Expect("out", epilogue ? Port::kStore : Port::kFixpipe, out, kUnit);
        ExpectWindows(machine, warm.plan, {warm.while_o_proj}, PrefetchNames(warm.plan));
    }
    OProjKernel* kernel = int8 ? (o_proj.half ? o_proj_fp16_w8a8 : o_proj_bf16_w8a8)
                               : (o_proj.half ? o_proj_fp16 : o_proj_bf16);
    RunCores(machine, aics, o_proj.chip->aiv_count, cores, draws, walked,
             [&] { kernel(addresses, plan, warm); });
    if (counted) machine.RequireExpected();
    RequireUb(machine, plan::OProjUb(plan).Total(int8), warm.plan);
    return walked;
}

MatmulPlan PlanMatmul(const MatmulCase& matmul) {
    MatmulPlan plan{};
    plan.gemm = plan::PlanGemm(matmul.problem);
    plan.buffers = plan::PlanGemmBuffers({plan.gemm});
    return plan;
}

Walked Walk(const MatmulCase& matmul, const MatmulPlan& plan, Cores cores, Draws& draws) {
    Walked walked;
    walked.products = 1;
    const plan::GemmProblem& p = matmul.problem;
    const uint64_t element = p.int8 ? 1 : kHalf;
    const uint64_t result = uint64_t{p.m} * p.n * (p.int8 || p.c_sums ? kFloat : kHalf);
    RequireGemm("matmul", plan.gemm, plan.buffers, p.cores);
    Machine machine;
    MatmulAddresses addresses{};
    addresses.a = machine.Add("a", uint64_t{p.m} * p.k * element, false);
    addresses.weight = machine.Add("weight", uint64_t{p.n} * p.k * element, false);
    addresses.c = machine.Add("c", result, true);
    const bool counted = cores == Cores::kAll && p.m <= kMaxCountedTokens;
    if (counted) machine.Expect("c", Port::kFixpipe, result, plan::kBlockBytes);
    MatmulKernel* kernel = p.int8 ? matmul_int8 : matmul.half ? matmul_fp16 : matmul_bf16;
    RunCores(machine, p.cores, 0, cores, draws, walked, [&] { kernel(addresses, plan); });
    if (counted) machine.RequireExpected();
    return walked;
}

Walked Walk(const CopyCase& copy, Cores cores, Draws& draws) {
    Walked walked;
    Machine machine;
    CopyPlan plan = copy.plan;
    const uint64_t bytes = uint64_t{plan.rows} * plan.row_bytes;
    plan.address = machine.Add("matrix", bytes, false);
    const bool counted = cores == Cores::kAll && plan.repeats == 1;
    if (counted) machine.Expect("matrix", Port::kLoad, bytes, plan::kBlockBytes);
    const auto kernel = copy.to_l1 ? copy_gm_l1 : copy_gm_ub;
    RunCores(machine, copy.to_l1 ? copy.cores : 0, copy.to_l1 ? 0 : copy.cores, cores, draws,
             walked, [&] { kernel(plan); });
    if (counted) machine.RequireExpected();
    return walked;
}

Walked Walk(const PrefetchCase& prefetch, Cores cores, Draws& draws,
            const std::function<void(PrefetchPlan&)>& change) {
    Walked walked;
    Machine machine;
    std::vector<plan::PrefetchRange> ranges = prefetch.ranges;
    // The blocks that a range may touch beyond its own bytes are still its tensor's.
    uint64_t space = 0;
    for (size_t i = 0; i < ranges.size(); ++i) {
        const plan::PrefetchRange& range = prefetch.ranges[i];
        const bool same = i > 0 && range.tensor.address == prefetch.ranges[i - 1].tensor.address &&
                          range.tensor.bytes == prefetch.ranges[i - 1].tensor.bytes;
        if (!same) {
            space = machine.AddSpace();
            machine.AddPart(space, range.tensor.address + range.tensor.bytes,
                            "tensor " + std::to_string(space >> kAddressBits), range.tensor.address,
                            range.tensor.bytes);
        }
        ranges[i].tensor.address += space;
    }
    PrefetchPlan plan = plan::PlanPrefetch(ranges, prefetch.type, prefetch.cores);
    if (change) change(plan);
    RequireWindows(plan.warm, {plan.window}, prefetch.cores);
    if (cores == Cores::kAll) {
        // Bytes by tensor: a range's neighbours share blocks with it.
        std::vector<uint64_t> bytes((space >> kAddressBits) + 1);
        for (uint32_t i = 0; i < plan.warm.region_count; ++i) {
            bytes[plan.warm.regions[i].address >> kAddressBits] += plan.warm.regions[i].bytes;
        }
        for (size_t i = 1; i < bytes.size(); ++i) {
            machine.Expect("tensor " + std::to_string(i), Port::kLoad, bytes[i], 1);
        }
    }
    const bool cube = prefetch.type == plan::LoadingCores::kCube;
    const auto kernel = cube ? ::prefetch_cube : ::prefetch;
    RunCores(machine, cube ? prefetch.cores : 0, cube ? 0 : prefetch.cores, cores, draws, walked,
             [&] { kernel(plan); });
    if (cores == Cores::kAll) machine.RequireExpected();
    return walked;
}

Walked Walk(const PrefetchCase& prefetch, Cores cores, Draws& draws) {
    return Walk(prefetch, cores, draws, nullptr);
}

}  // namespace walk
