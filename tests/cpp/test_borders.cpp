// Random and damaged input at the borders of the host code: planners and readers of traces either
// refuse it with std::invalid_argument or deliver something sound. Built with the compiler's
// address and undefined-behaviour sanitizers as well (make test-asan).
//
// Seeds are fixed. ASCEND_PREFETCH_FUZZ_SECONDS makes every test go on with new ones for that long.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "arch/dav_c220.h"
#include "check.h"
#include "model/prefetch_account.h"
#include "model/trace_reader.h"
#include "plan/plan_gemm.h"
#include "plan/plan_o_proj.h"
#include "plan/plan_phases.h"
#include "plan/plan_prefetch.h"
#include "plan/plan_prolog.h"
#include "twin/launch.h"

namespace {

constexpr int kRounds = 2000;

using Random = std::mt19937_64;

/// Calls `round` kRounds times, or for as long as the environment says.
void Repeat(const std::function<void(Random&)>& round) {
    const char* text = std::getenv("ASCEND_PREFETCH_FUZZ_SECONDS");
    const double seconds = text == nullptr ? 0 : std::atof(text);
    const auto start = std::chrono::steady_clock::now();
    for (uint64_t seed = 0;; ++seed) {
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
        if (seed >= kRounds && spent.count() >= seconds) return;
        Random random(seed);
        round(random);
    }
}

bool Coin(Random& random) { return random() % 2 == 0; }

/// Numbers as they come, and those at which things break.
uint32_t Any(Random& random) {
    constexpr uint32_t kEdges[] = {
        0,    1,    15,   16,   17,   32,   48,    63,    64,     128,    192,        512,
        1536, 4096, 4097, 7168, 8192, 8193, 65535, 65536, 131070, 131072, 0x7FFFFFFF, 0xFFFFFFFF};
    switch (random() % 4) {
        case 0:
            return kEdges[random() % std::size(kEdges)];
        case 1:
            return static_cast<uint32_t>(random() % 64) * 16;
        case 2:
            return static_cast<uint32_t>(random() % 300);
        default:
            return static_cast<uint32_t>(random() >> (32 + random() % 32));
    }
}

const arch::Chip& AnyChip(Random& random) { return arch::Chips()[random() % arch::Chips().size()]; }

plan::WeightLayout AnyLayout(Random& random) {
    return static_cast<plan::WeightLayout>(random() % 4);
}

LinearFormat AnyFormat(Random& random) {
    if (Coin(random)) return plan::Plain(AnyLayout(random));
    const auto layout = Coin(random) ? plan::WeightLayout::kInOut : plan::WeightLayout::kInOutNz;
    const auto type = Coin(random) ? plan::ScaleType::kFloat : plan::ScaleType::kPackedInt64;
    return plan::W8A8(
        layout, Coin(random) ? plan::LinearScales::kStatic : plan::LinearScales::kDynamic, type);
}

plan::PrefetchRequest AnyRequest(Random& random) {
    plan::PrefetchRequest request;
    request.regions.resize(random() % (plan::kMaxPrefetchRegions + 2));
    for (auto& region : request.regions) region = {uint64_t{Any(random)} * 32, Any(random)};
    if (Coin(random)) request.bytes = random() >> (random() % 64);
    return request;
}

/// False where the planner refuses.
template <typename Plan>
bool Planned(const Plan& plan) {
    try {
        plan();
    } catch (const std::invalid_argument& error) {
        CHECK(std::string(error.what()).size() > 10);
        return false;
    }
    return true;
}

void CheckGemm(const GemmPlan& gemm, const GemmBuffers& buffers) {
    CHECK(gemm.tile_m > 0 && gemm.tile_n > 0 && gemm.tile_k > 0 && gemm.l0_k > 0);
    CHECK(gemm.tile_n % gemm.strip == 0 && gemm.tile_n <= gemm.n);
    CHECK(gemm.tile_k * gemm.element_bytes % plan::kBlockBytes == 0 && gemm.tile_k <= gemm.k);
    CHECK(gemm.l0_k <= gemm.tile_k);
    const uint32_t rows = (gemm.tile_m + 15) / 16 * 16;
    CHECK(gemm.tile_n * gemm.tile_k * gemm.element_bytes <= buffers.b_slot_bytes);
    CHECK(rows * gemm.tile_k * gemm.element_bytes <= buffers.a_slot_bytes);
    CHECK(rows * gemm.tile_n * 4 <= gemm.l0c_slots * buffers.l0c_slot_bytes);
    CHECK(gemm.tile_n * gemm.l0_k * gemm.element_bytes <= arch::DavC220::kL0bBytes / 2);
    CHECK(rows * gemm.l0_k * gemm.element_bytes <= arch::DavC220::kL0aBytes / 2);
    CHECK(buffers.b_slots * buffers.b_slot_bytes + 2 * buffers.a_slot_bytes <=
          arch::DavC220::kUsableL1Bytes);
    CHECK(2 * buffers.l0c_slot_bytes <= arch::DavC220::kL0cBytes &&
          buffers.l0c_slot_bytes % 1024 == 0);
}

std::string SmallTrace() {
    twin::Trace trace;
    trace.kernel = "fuzzed";
    trace.chip = "Ascend910B4";
    trace.aic_count = 2;
    trace.cores.resize(6);
    trace.tensors.resize(2);
    trace.tensors[0] = {"weight", nullptr, 65536, false};
    trace.tensors[1] = {"other", nullptr, 4096, true};
    trace.sites = {"a.h:1", "b.h:22"};
    Random random(3);
    for (auto& core : trace.cores) {
        for (int i = 0; i < 8; ++i) {
            twin::TraceRecord record{};
            record.op = static_cast<twin::TraceOp>(random() % 9);
            record.pipe = static_cast<twin::TracePipe>(random() % 7);
            record.tensor = record.op <= twin::TraceOp::kStore ? random() % 2 : twin::kNoTensor;
            record.site = random() % 2;
            record.block_bytes = 32;
            record.block_count = 1 + random() % 4;
            record.block_stride = 64;
            if (record.op == twin::TraceOp::kWaitFlag) record.op = twin::TraceOp::kSetFlag;
            core.push_back(record);
        }
    }
    return trace.Serialise();
}

}  // namespace

TEST(gemms_of_any_shape_are_refused_or_fit) {
    int planned = 0;
    Repeat([&](Random& random) {
        plan::GemmProblem problem;
        problem.name = "gemm";
        problem.m = Any(random);
        problem.n = Any(random);
        problem.k = Any(random);
        problem.batches = Coin(random) ? 1 : 1 + Any(random) % 256;
        problem.int8 = Coin(random);
        problem.cores = AnyChip(random).aic_count;
        problem.a_row_stride = Coin(random) ? problem.k : Any(random);
        problem.c_row_stride = problem.n;
        problem.layout = AnyLayout(random);
        if (problem.int8 && plan::DepthIsContiguous(problem.layout)) return;
        GemmPlan gemm{};
        if (!Planned([&] { gemm = plan::PlanGemm(problem); })) return;
        CheckGemm(gemm, plan::PlanGemmBuffers({gemm}));
        ++planned;
    });
    CHECK(planned > 20);
}

TEST(prologs_of_any_shape_are_refused_or_fit) {
    int planned = 0;
    Repeat([&](Random& random) {
        // Mostly what a model could have, one quantity off.
        plan::PrologProblem problem;
        problem.tokens = 1 + random() % 100;
        problem.hidden_size = 16 * (1 + random() % 500);
        problem.heads = 1 + random() % 130;
        problem.q_lora_rank = 64 * (random() % 65);
        problem.kv_lora_rank = 64 * (1 + random() % 64);
        problem.nope_dim = 64 * (1 + random() % 8);
        problem.rope_dim = 64;
        problem.rope_table_float = Coin(random);
        problem.slots_int64 = Coin(random);
        problem.quantize_q_nope = Coin(random);
        const auto type = Coin(random) ? plan::ElementType::kInt8 : plan::ElementType::kActivation;
        const CachePlan rows = {4096, 16, 64, 0, 0};
        problem.latent_cache = {rows, rows, 0};
        problem.latent_cache.latent.type = static_cast<uint32_t>(type);
        problem.qkv_a = AnyFormat(random);
        problem.q_b = AnyFormat(random);
        problem.w_uk = Coin(random) ? plan::WeightLayout::kInOut : plan::WeightLayout::kInOutNz;
        if (Coin(random)) {
            problem.indexer.heads = 16 * (1 + random() % 8);
            problem.indexer.head_dim = 64 * (1 + random() % 9);
            problem.indexer.fused = Coin(random);
            problem.indexer.norm_float = Coin(random);
            problem.indexer.cache = rows;
            problem.indexer.wq_b = AnyFormat(random);
        }
        const plan::PrefetchRequest request = AnyRequest(random);
        uint32_t* const quantities[] = {
            &problem.tokens,      &problem.hidden_size,   &problem.heads,
            &problem.q_lora_rank, &problem.kv_lora_rank,  &problem.nope_dim,
            &problem.rope_dim,    &problem.indexer.heads, &problem.indexer.head_dim};
        if (Coin(random)) *quantities[random() % std::size(quantities)] = Any(random);
        plan::PrologShapePlan shape{};
        PrologWarm warm{};
        const arch::Chip& chip = AnyChip(random);
        if (!Planned([&] {
                shape = plan::PlanProlog(problem, chip);
                warm = plan::PlanPrologWarm(shape, chip, request);
            }))
            return;
        const PrologPlan& plan = shape.kernel;
        // The same plan as a cached one, the first time and later.
        for (int i = 0; i < 2; ++i) {
            const plan::PrologShapePlan cached = plan::CachedPlanProlog(problem, chip);
            CHECK(std::memcmp(&cached.kernel, &plan, sizeof(plan)) == 0);
            const PrologWarm again = plan::PlanPrologWarm(cached, chip, request);
            CHECK(std::memcmp(&again, &warm, sizeof(warm)) == 0);
        }
        CheckGemm(plan::GemmOf(plan, prolog::kQkvA), plan.buffers);
        CheckGemm(plan::GemmOf(plan, prolog::kQueryB), plan.buffers);
        CheckGemm(plan::GemmOf(plan, prolog::kAbsorb), plan.buffers);
        CHECK(uint64_t{warm.plan.pad_slots} * warm.plan.chunk_bytes <=
              arch::DavC220::kUsableUbBytes);
        ++planned;
    });
    CHECK(planned > 100);
}

TEST(output_projections_of_any_shape_are_refused_or_fit) {
    int planned = 0;
    Repeat([&](Random& random) {
        plan::OProjProblem problem;
        problem.tokens = 1 + random() % 100;
        problem.heads = 1 + random() % 130;
        problem.kv_lora_rank = Coin(random) ? 0 : 64 * (1 + random() % 16);
        problem.value_columns = problem.heads * 16 * (1 + random() % 16);
        problem.hidden_size = 64 * (1 + random() % 120);
        problem.has_bias = Coin(random);
        problem.bias_float = Coin(random);
        problem.w_uv = Coin(random) ? plan::WeightLayout::kInOut : plan::WeightLayout::kInOutNz;
        problem.o_proj = AnyFormat(random);
        const plan::PrefetchRequest request = AnyRequest(random);
        uint32_t* const quantities[] = {&problem.tokens, &problem.heads, &problem.kv_lora_rank,
                                        &problem.value_columns, &problem.hidden_size};
        if (Coin(random)) *quantities[random() % std::size(quantities)] = Any(random);
        plan::OProjShapePlan shape{};
        OProjWarm warm{};
        const arch::Chip& chip = AnyChip(random);
        if (!Planned([&] {
                shape = plan::PlanOProj(problem, chip);
                warm = plan::PlanOProjWarm(shape, chip, request);
            }))
            return;
        const OProjPlan& plan = shape.kernel;
        for (int i = 0; i < 2; ++i) {
            const plan::OProjShapePlan cached = plan::CachedPlanOProj(problem, chip);
            CHECK(std::memcmp(&cached.kernel, &plan, sizeof(plan)) == 0);
            const OProjWarm again = plan::PlanOProjWarm(cached, chip, request);
            CHECK(std::memcmp(&again, &warm, sizeof(warm)) == 0);
        }
        if (plan.has_v_up != 0) CheckGemm(plan.v_up, plan.buffers);
        CheckGemm(plan.o_proj, plan.buffers);
        CHECK(uint64_t{warm.plan.pad_slots} * warm.plan.chunk_bytes <=
              arch::DavC220::kUsableUbBytes);
        ++planned;
    });
    CHECK(planned > 100);
}

TEST(prefetches_of_any_ranges_cover_them) {
    Repeat([](Random& random) {
        std::vector<plan::PrefetchRange> ranges(1 + random() % plan::kMaxPrefetchRegions);
        uint64_t address = 4096;
        for (auto& range : ranges) {
            range.tensor = {address, 1 + random() % 100000};
            range.offset = random() % range.tensor.bytes;
            range.bytes = 1 + random() % (range.tensor.bytes - range.offset);
            address += range.tensor.bytes + random() % 100;
        }
        const auto cores = static_cast<uint32_t>(1 + random() % 48);
        const auto type =
            random() % 2 == 0 ? plan::LoadingCores::kVector : plan::LoadingCores::kCube;
        const PrefetchPlan plan = plan::PlanPrefetch(ranges, type, cores);
        uint64_t asked = 0;
        uint64_t planned = 0;
        for (const auto& range : ranges) asked += range.bytes;
        for (uint32_t i = 0; i < plan.warm.region_count; ++i) planned += plan.warm.regions[i].bytes;
        CHECK(planned >= asked);
        CHECK(planned <= asked + 64 * ranges.size());
    });
}

TEST(damaged_traces_are_refused_or_read) {
    const std::string whole = SmallTrace();
    CHECK(Planned([&] { model::AccountPrefetch({model::ReadTrace(whole)}, {"weight"}); }));
    int refused = 0;
    Repeat([&](Random& random) {
        std::string damaged = whole;
        if (random() % 4 == 0) damaged.resize(random() % damaged.size());
        for (uint64_t i = random() % 6; i > 0 && !damaged.empty(); --i) {
            damaged[random() % damaged.size()] = static_cast<char>(random());
        }
        if (random() % 8 == 0) damaged += damaged.substr(damaged.size() / 2);
        if (!Planned([&] { model::AccountPrefetch({model::ReadTrace(damaged)}, {"weight"}); }))
            ++refused;
    });
    CHECK(refused > 1000);
}
