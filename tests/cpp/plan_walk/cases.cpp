#include "plan_walk/cases.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "arch/dav_c220.h"
#include "plan/rounding.h"
#include "plan/units.h"

namespace walk {

namespace {

using plan::WeightLayout;

constexpr uint64_t kPrefetchBytes = 24 << 20;  // of a region, at most

/// A layer of 16-bit or of int8, as often.
LinearFormat DrawFormat(Draws& draws) {
    if (draws.Coin()) {
        return plan::Plain(draws.Of({WeightLayout::kOutIn, WeightLayout::kOutInNz}));
    }
    const WeightLayout layout = draws.Of({WeightLayout::kInOut, WeightLayout::kInOutNz});
    const auto type = draws.Of({plan::ScaleType::kFloat, plan::ScaleType::kPackedInt64});
    return plan::W8A8(
        layout, draws.Coin() ? plan::LinearScales::kStatic : plan::LinearScales::kDynamic, type);
}

plan::PrefetchRequest DrawRequest(Draws& draws) {
    plan::PrefetchRequest request;
    if (draws.Coin()) return request;
    const uint64_t regions = 1 + draws.Below(draws.OneIn(8) ? plan::kMaxPrefetchRegions : 3);
    for (uint64_t i = 0; i < regions; ++i) {
        const uint64_t most = draws.OneIn(4) ? 64 * 1024 : kPrefetchBytes;
        request.regions.push_back(
            {draws.Below(16) * plan::kBlockBytes, 2 + 2 * draws.Below(most / 2)});
        if (draws.Coin()) request.passing_bytes.resize(regions);
    }
    for (uint64_t& passing : request.passing_bytes) passing = draws.Below(uint64_t{256} << 20);
    if (draws.Coin()) request.bytes = draws.Below(uint64_t{64} << 20);
    return request;
}

CachePlan DrawCache(uint32_t width, plan::ElementType type, uint32_t block_size, bool nz,
                    Draws& draws) {
    const uint32_t element_bytes = type == plan::ElementType::kInt8 ? 1 : plan::kHalfBytes;
    const uint32_t c0 = plan::kBlockBytes / element_bytes;
    CachePlan cache{};
    cache.block_size = block_size;
    cache.row_stride = nz ? c0 : width;
    cache.layout =
        static_cast<uint32_t>(nz ? plan::CacheLayout::kFractalNz : plan::CacheLayout::kRowMajor);
    cache.type = static_cast<uint32_t>(type);
    cache.block_stride = uint64_t{block_size} * width + (draws.OneIn(4) ? 64 * c0 : 0);
    return cache;
}

std::string Text(const LinearFormat& format) {
    std::string text = "layout " + std::to_string(format.layout);
    if (!plan::Quantised(format)) return text + " 16 bits";
    return text + " int8, scales of " + std::to_string(plan::ScaleBytes(format)) + " bytes, " +
           (plan::Dynamic(format) ? "dynamic" : "static");
}

std::string Text(const CachePlan& cache) {
    std::ostringstream text;
    text << "block_size " << cache.block_size << " block_stride " << cache.block_stride
         << " row_stride " << cache.row_stride << " layout " << cache.layout;
    return text.str();
}

std::string Text(const plan::PrefetchRequest& request) {
    std::ostringstream text;
    for (const plan::PrefetchRegion& region : request.regions) {
        text << " [" << region.address << ", +" << region.bytes << ")";
    }
    if (request.bytes) text << " budget " << *request.bytes;
    for (const uint64_t passing : request.passing_bytes) text << " passing " << passing;
    return text.str();
}

}  // namespace

std::vector<Model> ReadModels(std::istream& lines) {
    std::vector<Model> models;
    std::string line;
    while (std::getline(lines, line)) {
        std::istringstream fields(line);
        Model model;
        std::string more;
        fields >> model.name >> model.hidden >> model.heads >> model.q_lora_rank >>
            model.kv_lora_rank >> model.nope_dim >> model.v_dim >> model.indexer_heads >>
            model.indexer_dim;
        if (!fields || fields >> more)
            throw std::runtime_error("expected a model and its eight sizes, got '" + line + "'");
        models.push_back(model);
    }
    return models;
}

Model DrawModel(Draws& draws) {
    const auto multiple = [&](uint32_t unit, uint32_t most) {
        return static_cast<uint32_t>(unit * (1 + draws.Below(most / unit)));
    };
    Model model{};
    model.name = "drawn";
    model.hidden = draws.OneIn(8) ? multiple(64, 20480) : multiple(64, 8192);
    model.heads = multiple(1, draws.OneIn(4) ? 128 : 32);
    model.q_lora_rank = draws.OneIn(4) ? 0 : multiple(64, draws.OneIn(8) ? 4096 : 2048);
    model.kv_lora_rank = multiple(64, draws.OneIn(8) ? 4096 : 1024);
    model.nope_dim = draws.Coin() ? multiple(64, 256) : multiple(16, 512);
    model.v_dim = multiple(draws.Coin() ? 64 : 16, 512);
    if (model.q_lora_rank > 0 && draws.Coin()) {
        model.indexer_heads = multiple(16, 128);
        model.indexer_dim = multiple(64, 512);
    }
    return model;
}

PrologCase DrawProlog(const Model& model, uint32_t tp, uint32_t tokens, const arch::Chip& chip,
                      Draws& draws) {
    PrologCase drawn{};
    drawn.chip = &chip;
    drawn.half = draws.Coin();
    drawn.norm_bias = draws.OneIn(4);
    drawn.input_offset = draws.Coin();
    drawn.quant_bias = draws.Coin();
    plan::PrologProblem& problem = drawn.problem;
    problem.tokens = tokens;
    problem.hidden_size = model.hidden;
    problem.heads = model.heads / tp;
    problem.q_lora_rank = model.q_lora_rank;
    problem.kv_lora_rank = model.kv_lora_rank;
    problem.nope_dim = model.nope_dim;
    problem.rope_dim = plan::kRopeDim;
    problem.rope_interleaved = draws.Coin();
    problem.rope_table_float = draws.Coin();
    problem.slots_int64 = draws.Coin();
    problem.w_uk = draws.Of({WeightLayout::kInOut, WeightLayout::kInOutNz});
    const bool quantised = draws.Coin();
    auto type = plan::ElementType::kActivation;
    if (quantised) {
        problem.quantize_q_nope = draws.Coin();
        if (draws.OneIn(3)) type = plan::ElementType::kInt8;
        problem.qkv_a = DrawFormat(draws);
        problem.q_b = DrawFormat(draws);
        if (model.nope_dim % plan::kLanes != 0) problem.q_b = plan::Plain(WeightLayout::kOutInNz);
    } else {
        problem.qkv_a = plan::Plain(draws.Of({WeightLayout::kOutIn, WeightLayout::kOutInNz}));
        problem.q_b = plan::Plain(draws.Of({WeightLayout::kOutIn, WeightLayout::kOutInNz}));
    }
    const uint32_t block_size = draws.Of({1u, 16u, 64u, 128u, 128u, 1024u});
    const bool nz = draws.OneIn(3);
    LatentCachePlan& caches = problem.latent_cache;
    caches.joint = type == plan::ElementType::kActivation && draws.OneIn(3) ? 1 : 0;
    drawn.cache_blocks = static_cast<uint32_t>(plan::CeilDiv(tokens, block_size) + draws.Below(3));
    drawn.padding = draws.OneIn(4);
    const auto activation = plan::ElementType::kActivation;
    if (caches.joint != 0) {
        caches.latent =
            DrawCache(model.kv_lora_rank + plan::kRopeDim, activation, block_size, nz, draws);
        caches.rope = caches.latent;
    } else {
        caches.latent = DrawCache(model.kv_lora_rank, type, block_size, nz, draws);
        caches.rope = DrawCache(plan::kRopeDim, activation, block_size, draws.OneIn(3), draws);
    }
    drawn.prefetch = DrawRequest(draws);
    if (model.indexer_heads > 0) {
        plan::IndexerProblem& indexer = problem.indexer;
        indexer.heads = model.indexer_heads;
        indexer.head_dim = model.indexer_dim;
        indexer.rope_interleaved = draws.Coin();
        indexer.norm_float = draws.Coin();
        indexer.fused = draws.Coin();
        indexer.cache = DrawCache(model.indexer_dim, activation, block_size, draws.OneIn(3), draws);
        indexer.wk = draws.Of({WeightLayout::kOutIn, WeightLayout::kOutInNz});
        indexer.weights_proj =
            indexer.fused ? indexer.wk : draws.Of({WeightLayout::kOutIn, WeightLayout::kOutInNz});
        indexer.wq_b = quantised
                           ? DrawFormat(draws)
                           : plan::Plain(draws.Of({WeightLayout::kOutIn, WeightLayout::kOutInNz}));
    }
    return drawn;
}

OProjCase DrawOProj(const Model& model, uint32_t tp, uint32_t tokens, const arch::Chip& chip,
                    Draws& draws) {
    OProjCase drawn{};
    drawn.chip = &chip;
    drawn.half = draws.Coin();
    drawn.input_offset = draws.Coin();
    drawn.quant_bias = draws.Coin();
    plan::OProjProblem& problem = drawn.problem;
    problem.tokens = tokens;
    problem.heads = model.heads / tp;
    problem.kv_lora_rank = draws.OneIn(4) ? 0 : model.kv_lora_rank;
    problem.heads_outermost = draws.Coin();
    problem.value_columns = problem.heads * model.v_dim;
    problem.hidden_size = model.hidden;
    problem.has_bias = draws.OneIn(3);
    problem.bias_float = draws.Coin();
    problem.w_uv = draws.Of({WeightLayout::kInOut, WeightLayout::kInOutNz});
    problem.o_proj = DrawFormat(draws);
    // The op takes int8 of whole vectors of 64 only.
    if (problem.value_columns % plan::kLanes != 0)
        problem.o_proj = plan::Plain(WeightLayout::kOutIn);
    drawn.prefetch = DrawRequest(draws);
    return drawn;
}

MatmulCase DrawMatmul(uint32_t rows, const arch::Chip& chip, Draws& draws) {
    MatmulCase drawn{};
    drawn.half = draws.Coin();
    plan::GemmProblem& problem = drawn.problem;
    problem.name = "matmul";
    problem.int8 = draws.OneIn(3);
    const uint32_t unit = problem.int8 ? 32 : 16;
    const auto side = [&](uint32_t most) {
        return static_cast<uint32_t>(unit * (1 + draws.Below(most / unit)));
    };
    problem.m = rows;
    problem.n = side(draws.Coin() ? 1024 : 16384);
    problem.k = side(draws.Coin() ? 1024 : 16384);
    problem.cores =
        draws.Coin() ? chip.aic_count : static_cast<uint32_t>(1 + draws.Below(chip.aic_count));
    problem.a_row_stride = problem.k;
    problem.c_row_stride = problem.n;
    problem.layout = problem.int8 ? draws.Of({WeightLayout::kInOut, WeightLayout::kInOutNz})
                                  : draws.Of({WeightLayout::kOutIn, WeightLayout::kOutInNz,
                                              WeightLayout::kInOut, WeightLayout::kInOutNz});
    problem.row_shares = plan::BestRowShares(problem);
    problem.c_sums = !problem.int8 && draws.OneIn(3);
    return drawn;
}

PrefetchCase DrawPrefetch(const arch::Chip& chip, Draws& draws) {
    PrefetchCase drawn{};
    const bool cube = draws.Coin();
    drawn.type = cube ? plan::LoadingCores::kCube : plan::LoadingCores::kVector;
    drawn.cores = static_cast<uint32_t>(1 + draws.Below(cube ? chip.aic_count : chip.aiv_count));
    const uint64_t tensors = 1 + draws.Below(4);
    for (uint64_t i = 0; i < tensors; ++i) {
        plan::PrefetchRegion tensor;
        tensor.address = draws.Coin() ? 0 : 2 * draws.Below(256);
        tensor.bytes = 1 + draws.Below(draws.Coin() ? 256 * 1024 : kPrefetchBytes);
        // One range, or two without a common byte, in either order.
        const uint64_t cut = draws.Below(tensor.bytes);
        const uint64_t begin = draws.Below(cut + 1);
        std::vector<plan::PrefetchRange> ranges;
        if (begin < cut) ranges.push_back({tensor, begin, cut - begin});
        if (ranges.empty() || draws.Coin())
            ranges.push_back({tensor, cut, 1 + draws.Below(tensor.bytes - cut)});
        if (draws.Coin()) std::reverse(ranges.begin(), ranges.end());
        drawn.ranges.insert(drawn.ranges.end(), ranges.begin(), ranges.end());
    }
    return drawn;
}

// As csrc/lab/microbenchmarks.cpp makes them.
CopyCase DrawCopy(const arch::Chip& chip, Draws& draws) {
    CopyCase drawn{};
    drawn.to_l1 = draws.Coin();
    drawn.cores = drawn.to_l1 ? chip.aic_count : chip.aiv_count;
    CopyPlan& plan = drawn.plan;
    const uint32_t room =
        drawn.to_l1 ? arch::DavC220::kUsableL1Bytes : arch::DavC220::kUsableUbBytes;
    plan.rows = static_cast<uint32_t>(1 + draws.Below(2048));
    plan.tile_bytes = static_cast<uint32_t>(plan::kBlockBytes * (1 + draws.Below(256)));
    plan.tile_rows = static_cast<uint32_t>(1 + draws.Below(room / plan.tile_bytes));
    plan.slices = draws.Of({1u, 2u, 4u});
    plan.row_bytes = plan.slices * plan.tile_bytes * draws.Of({1u, 2u, 3u});
    plan.repeats = draws.Of({1u, 2u});
    plan.slots = room / (plan.tile_rows * plan.tile_bytes);
    return drawn;
}

std::string Text(const PrologCase& prolog) {
    const plan::PrologProblem& p = prolog.problem;
    std::ostringstream text;
    text << "prolog on " << prolog.chip->name << ", " << (prolog.half ? "fp16" : "bf16")
         << ", tokens " << p.tokens << ", hidden " << p.hidden_size << ", heads " << p.heads
         << ", q_lora_rank " << p.q_lora_rank << ", kv_lora_rank " << p.kv_lora_rank
         << ", nope_dim " << p.nope_dim << ", qkv_a: " << Text(p.qkv_a) << ", q_b: " << Text(p.q_b)
         << ", w_uk: layout " << static_cast<uint32_t>(p.w_uk) << ", int8 q_nope "
         << p.quantize_q_nope << ", int8 cache " << plan::HoldsInt8(p.latent_cache.latent)
         << ", joint cache " << p.latent_cache.joint << " (" << Text(p.latent_cache.latent) << "; "
         << Text(p.latent_cache.rope) << "), slots int64 " << p.slots_int64 << ", fp32 tables "
         << p.rope_table_float;
    if (p.indexer.heads > 0) {
        const plan::IndexerProblem& i = p.indexer;
        text << ", indexer: heads " << i.heads << " of " << i.head_dim << ", fused " << i.fused
             << ", wk: layout " << static_cast<uint32_t>(i.wk) << ", weights_proj: layout "
             << static_cast<uint32_t>(i.weights_proj) << ", wq_b: " << Text(i.wq_b) << ", cache "
             << Text(i.cache);
    }
    text << ", prefetch:" << Text(prolog.prefetch);
    return text.str();
}

std::string Text(const OProjCase& o_proj) {
    const plan::OProjProblem& p = o_proj.problem;
    std::ostringstream text;
    text << "o_proj on " << o_proj.chip->name << ", " << (o_proj.half ? "fp16" : "bf16")
         << ", tokens " << p.tokens << ", hidden " << p.hidden_size << ", heads " << p.heads
         << ", kv_lora_rank " << p.kv_lora_rank << ", heads outermost " << p.heads_outermost
         << ", value columns " << p.value_columns << ", bias " << p.has_bias << " fp32 "
         << p.bias_float << ", w_uv: layout " << static_cast<uint32_t>(p.w_uv)
         << ", o_proj: " << Text(p.o_proj) << ", prefetch:" << Text(o_proj.prefetch);
    return text.str();
}

std::string Text(const MatmulCase& matmul) {
    const plan::GemmProblem& p = matmul.problem;
    std::ostringstream text;
    text << "matmul on " << p.cores << " cores, "
         << (p.int8        ? "int8"
             : matmul.half ? "fp16"
                           : "bf16")
         << ", m " << p.m << ", n " << p.n << ", k " << p.k << ", layout "
         << static_cast<uint32_t>(p.layout) << ", row shares " << p.row_shares << ", fp32 result "
         << p.c_sums;
    return text.str();
}

std::string Text(const PrefetchCase& prefetch) {
    std::ostringstream text;
    text << "prefetch on " << prefetch.cores
         << (prefetch.type == plan::LoadingCores::kCube ? " cube" : " vector") << " cores:";
    for (const plan::PrefetchRange& range : prefetch.ranges) {
        text << " [" << range.offset << ", +" << range.bytes << ") of " << range.tensor.bytes
             << " bytes at " << range.tensor.address;
    }
    return text.str();
}

std::string Text(const CopyCase& copy) {
    const CopyPlan& p = copy.plan;
    std::ostringstream text;
    text << "copy to " << (copy.to_l1 ? "L1" : "UB") << " on " << copy.cores << " cores, rows "
         << p.rows << " of " << p.row_bytes << " bytes, tiles " << p.tile_rows << " x "
         << p.tile_bytes << ", slices " << p.slices << ", repeats " << p.repeats << ", slots "
         << p.slots;
    return text.str();
}

}  // namespace walk
