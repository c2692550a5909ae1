// Planners count the bytes of UB that kernels allocate on the twin.
#include "plan/ub_bytes.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "arch/dav_c220.h"
#include "check.h"
#include "dry_tensors.h"
#include "plan/plan_o_proj.h"
#include "plan/plan_prolog.h"
#include "plan/units.h"
#include "plan_problems.h"
#include "twin/launch.h"

extern "C" {
void mla_prolog_bf16(PrologAddresses addresses, PrologPlan plan, PrologWarm warm);
void mla_prolog_bf16_w8a8(PrologAddresses addresses, PrologPlan plan, PrologWarm warm);
void sfa_prolog_bf16(PrologAddresses addresses, PrologPlan plan, PrologWarm warm);
void sfa_prolog_bf16_w8a8(PrologAddresses addresses, PrologPlan plan, PrologWarm warm);
void prolog_stage_bf16_w8a8(PrologAddresses addresses, PrologPlan plan, uint32_t stage);
void o_proj_bf16(OProjAddresses addresses, OProjPlan plan, OProjWarm warm);
void o_proj_bf16_w8a8(OProjAddresses addresses, OProjPlan plan, OProjWarm warm);
}

namespace {

constexpr uint64_t kTensorBytes = uint64_t{1} << 36;

const arch::Chip& Chip() { return arch::FindChip("Ascend910_9391"); }

/// The UB of a dry launch of `kernel`, whose tensors have no memory and are all large enough. Its
/// last argument is what it warms, or a stage.
template <typename Addresses, typename Plan, typename Last>
uint32_t UbOf(void (*kernel)(Addresses, Plan, Last), const Plan& plan,
              twin::KernelKind kind = twin::KernelKind::kMixAic1Aiv2) {
    std::vector<twin::BufferUsage> usage;
    twin::LaunchConfig config;
    config.name = "kernel";
    config.chip = &Chip();
    config.kind = kind;
    config.dry = true;
    config.buffer_usage = &usage;
    const auto addresses = AddDryTensors<Addresses>(config, kTensorBytes);
    twin::Launch(config, [&] { kernel(addresses, plan, Last{}); });
    for (const twin::BufferUsage& buffer : usage) {
        if (std::string(buffer.buffer) == "UB") return buffer.peak;
    }
    return 0;
}

}  // namespace

TEST(a_prologs_blocks_take_what_is_planned) {
    constexpr LinearFormat kInt8 =
        plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
    for (const uint32_t tokens : {1u, 16u, 49u, 500u}) {
        for (const uint32_t indexer_heads : {0u, 64u}) {
            for (const bool int8 : {false, true}) {
                plan::PrologProblem problem = DeepSeekV3(tokens, 16);
                problem.slots_int64 = tokens == 49;
                problem.indexer.heads = indexer_heads;
                problem.indexer.head_dim = 128;
                problem.indexer.cache = {128 * 128, 128, 128, 0, 0};
                if (int8) problem.qkv_a = problem.q_b = problem.indexer.wq_b = kInt8;
                const plan::PrologShapePlan shape = plan::PlanProlog(problem, Chip());
                const bool indexed = indexer_heads > 0;
                const auto dense = int8 ? mla_prolog_bf16_w8a8 : mla_prolog_bf16;
                const auto sparse = int8 ? sfa_prolog_bf16_w8a8 : sfa_prolog_bf16;
                const uint32_t taken = UbOf(indexed ? sparse : dense, shape.kernel);
                const plan::PrologUb bytes(shape.kernel);
                CHECK_EQ(taken, bytes.Total(int8, indexed));
                CHECK_EQ(shape.room.pad_bytes, uint64_t{arch::DavC220::kUsableUbBytes} - taken);
            }
        }
    }
}

// Found by the plan walk: the laboratory's kernel of one stage had sfa_prolog's second quantiser,
// for which a plan without an indexer leaves no room.
TEST(a_stage_takes_what_is_planned) {
    for (const uint32_t indexer_heads : {0u, 64u}) {
        plan::PrologProblem problem = DeepSeekV3(64, 22);
        problem.hidden_size = 16064;
        problem.q_lora_rank = indexer_heads > 0 ? 2048 : 4032;
        problem.qkv_a = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
        problem.indexer.heads = indexer_heads;
        problem.indexer.head_dim = 128;
        problem.indexer.cache = {128 * 128, 128, 128, 0, 0};
        const plan::PrologShapePlan shape = plan::PlanProlog(problem, Chip());
        CHECK_EQ(UbOf(prolog_stage_bf16_w8a8, shape.kernel, twin::KernelKind::kAivOnly),
                 plan::PrologUb(shape.kernel).Total(true, indexer_heads > 0));
    }
}

TEST(o_projs_blocks_take_what_is_planned) {
    for (const uint32_t tokens : {1u, 16u, 100u}) {
        for (const bool int8 : {false, true}) {
            plan::OProjProblem problem;
            problem.tokens = tokens;
            problem.heads = 8;
            problem.kv_lora_rank = 512;
            problem.value_columns = 1024;
            problem.hidden_size = 7168;
            problem.has_bias = !int8;
            if (int8) {
                problem.o_proj =
                    plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);
            }
            const plan::OProjShapePlan shape = plan::PlanOProj(problem, Chip());
            const uint32_t taken = UbOf(int8 ? o_proj_bf16_w8a8 : o_proj_bf16, shape.kernel);
            CHECK_EQ(taken, plan::OProjUb(shape.kernel).Total(int8));
            CHECK_EQ(shape.room.pad_bytes, uint64_t{arch::DavC220::kUsableUbBytes} - taken);
        }
    }
}

// Each width is within its own limit, their combination is not: a refusal, not an internal error.
TEST(widths_that_do_not_fit_a_vector_cores_ub_together_are_refused) {
    plan::PrologProblem problem = DeepSeekV3(67, 32);
    problem.hidden_size = 4352;
    problem.q_lora_rank = problem.kv_lora_rank = plan::kMaxLoraRank;
    problem.nope_dim = 384;
    problem.qkv_a = plan::W8A8(plan::WeightLayout::kInOutNz, plan::LinearScales::kStatic);
    problem.q_b = plan::W8A8(plan::WeightLayout::kInOutNz, plan::LinearScales::kStatic);
    problem.indexer.heads = 64;
    problem.indexer.head_dim = plan::kMaxIndexerHeadDim;
    const arch::Chip& chip = arch::FindChip("Ascend910B4-1");
    CHECK_THROWS_WITH(plan::PlanProlog(problem, chip), std::invalid_argument,
                      "latents and heads of this layer: expected widths that take at most 188160 "
                      "bytes of a vector core's UB together, got ");
    problem.kv_lora_rank = 512;
    problem.indexer.head_dim = 128;
    CHECK_EQ(plan::PlanProlog(problem, chip).kernel.tokens, 67u);
}
