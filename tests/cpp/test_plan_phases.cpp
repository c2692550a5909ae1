// The lists of a prolog's products and stages: what known layers do, and that no lane waits for
// ever.
#include "plan/plan_phases.h"

#include <set>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "check.h"
#include "plan/hand_over_flags.h"
#include "plan/plan_prolog.h"
#include "plan_problems.h"

namespace {

constexpr LinearFormat kInt8 = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);

plan::PrologShapePlan Plan(const plan::PrologProblem& problem) {
    return plan::PlanProlog(problem, arch::FindChip("Ascend910_9391"));
}

plan::PrologProblem Sparse(plan::PrologProblem problem) {
    problem.indexer.heads = 64;
    problem.indexer.head_dim = 128;
    return problem;
}

/// Every layer that differs in its lists.
std::vector<plan::PrologProblem> Layers() {
    std::vector<plan::PrologProblem> layers;
    for (uint32_t bits = 0; bits < 64; ++bits) {
        plan::PrologProblem problem = DeepSeekV3(16, 16);
        if ((bits & 1) != 0) problem.q_lora_rank = 0;
        if ((bits & 2) != 0) problem.qkv_a = kInt8;
        if ((bits & 4) != 0) problem.q_b = kInt8;
        problem.quantize_q_nope = (bits & 8) != 0;
        if ((bits & 16) != 0) {
            if ((bits & 1) != 0) continue;  // an indexer needs the latent
            problem = Sparse(problem);
        }
        if ((bits & 32) != 0) {
            if ((bits & 16) == 0) continue;
            problem.indexer.wq_b = kInt8;
        }
        layers.push_back(problem);
    }
    return layers;
}

/// "q_b (q_norm) !": q_b awaits q_norm, and is published; "+ w_uk": then moves W_UK's weights.
std::string Products(const PrologPlan& plan) {
    std::string text;
    for (uint32_t i = 0; i < prolog::kProducts; ++i) {
        const PrologProduct& product = plan.products[i];
        if (!plan::Has(product)) continue;
        text += plan::NameOf(static_cast<prolog::Product>(i));
        if (product.awaits != prolog::kNone)
            text +=
                std::string(" (") + plan::NameOf(static_cast<prolog::Stage>(product.awaits)) + ")";
        if (product.then_moves != prolog::kNone)
            text +=
                std::string(" + ") + plan::NameOf(static_cast<prolog::Product>(product.then_moves));
        text += product.flag != plan::flags::kNoFlag ? " !; " : "; ";
    }
    return text;
}

/// "q_rope [0] (q_b) !": opens window 0, awaits q_b, runs, and is published.
std::string Stages(const PrologPlan& plan) {
    std::string text;
    for (uint32_t i = 0; i < prolog::kStages; ++i) {
        const PrologStep& step = plan.steps[i];
        if (!plan::Has(step)) continue;
        text += plan::NameOf(static_cast<prolog::Stage>(i));
        if (step.window != prolog::kNone) text += " [" + std::to_string(step.window) + "]";
        if (step.awaits != prolog::kNone)
            text +=
                std::string(" (") + plan::NameOf(static_cast<prolog::Product>(step.awaits)) + ")";
        text += step.publishes != 0 ? " !; " : "; ";
    }
    return text;
}

}  // namespace

TEST(lists_of_known_layers) {
    plan::PrologProblem problem = DeepSeekV3(16, 16);
    CHECK_EQ(Products(Plan(problem).kernel), "qkv_a !; q_b (q_norm) + w_uk !; w_uk; ");
    CHECK_EQ(Stages(Plan(problem).kernel),
             "q_norm (qkv_a) !; kv_norm_rope_cache; q_rope [0] (q_b); end [1]; ");
    problem.qkv_a = problem.q_b = problem.indexer.wq_b = kInt8;
    problem.quantize_q_nope = true;
    problem = Sparse(problem);
    CHECK_EQ(Products(Plan(problem).kernel),
             "q_a (quantise_hidden) !; qkv_a !; indexer_wk; indexer_weights_proj; q_b (q_norm) !; "
             "indexer_wq_b + w_uk !; w_uk (q_dequantise) !; ");
    CHECK_EQ(
        Stages(Plan(problem).kernel),
        "quantise_hidden !; q_norm (q_a) !; q_dequantise [0] (q_b) !; q_tiles_rope; "
        "kv_norm_rope_cache (qkv_a); indexer_norm_rope_cache; indexer_q_rope [1] (indexer_wq_b); "
        "quantise_q_nope [2] (w_uk); ");
    problem = DeepSeekV3(16, 16);
    problem.q_lora_rank = 0;
    problem.q_b = kInt8;
    CHECK_EQ(Products(Plan(problem).kernel),
             "qkv_a (quantise_hidden) !; q_b + w_uk !; w_uk (q_dequantise); ");
    CHECK_EQ(Stages(Plan(problem).kernel),
             "quantise_hidden !; q_dequantise [0] (q_b) !; q_tiles_rope; "
             "kv_norm_rope_cache (qkv_a); end [1]; ");
}

TEST(windows_are_those_of_the_list) {
    const plan::IdleWindows dense = Plan(DeepSeekV3(16, 16)).room.times.windows;
    CHECK_EQ(dense.size(), size_t{2});
    CHECK_EQ(dense[0].name, std::string("while q_b"));
    CHECK_EQ(dense[1].name, std::string("while w_uk"));
    const plan::IdleWindows sparse = Plan(Sparse(DeepSeekV3(16, 16))).room.times.windows;
    CHECK_EQ(sparse.size(), size_t{3});
    CHECK_EQ(sparse[1].name, std::string("while the indexer's q"));
}

// Flags are counted, not named: the n-th wait of a cube core is for the n-th publication of the
// vector cores, and a second one must not come before the first has been waited for.
TEST(every_wait_ends) {
    for (const plan::PrologProblem& problem : Layers()) {
        const PrologPlan plan = Plan(problem).kernel;
        std::set<uint32_t> published;  // flags
        uint32_t to_cube = 0;          // publications that no product has awaited yet
        uint32_t stage = 0;
        const auto run_stages = [&] {
            for (; stage < prolog::kStages; ++stage) {
                const PrologStep& step = plan.steps[stage];
                if (!plan::Has(step)) continue;
                if (step.awaits != prolog::kNone &&
                    published.count(plan.products[step.awaits].flag) == 0)
                    return;
                if (step.publishes == 0) continue;
                CHECK_EQ(++to_cube, 1u);
                ++stage;
                return;
            }
        };
        run_stages();
        for (const PrologProduct& product : plan.products) {
            if (!plan::Has(product)) continue;
            if (product.awaits != prolog::kNone) {
                if (to_cube == 0) run_stages();
                CHECK_EQ(to_cube, 1u);
                CHECK(stage > product.awaits);
                to_cube = 0;
            }
            if (product.flag == plan::flags::kNoFlag) continue;
            CHECK(product.flag > 0 && product.flag <= 10);
            CHECK(product.flag != plan::flags::kFlagVectorToCube);
            CHECK(product.flag != plan::flags::kFlagStreamed);
            CHECK(published.insert(product.flag).second);
        }
        run_stages();
        CHECK_EQ(stage, static_cast<uint32_t>(prolog::kStages));
        CHECK_EQ(to_cube, 0u);
    }
}

TEST(operands_are_found_among_the_addresses) {
    PrologAddresses addresses{};
    addresses.hidden_states = 1000;
    addresses.w_uk = 2000;
    addresses.q_nope = 3000;
    addresses.q_c = 4000;
    addresses.workspace = 5000;
    addresses.indexer.wk = 6000;
    addresses.indexer.weights = 7000;
    const PrologPlan plan = Plan(Sparse(DeepSeekV3(16, 16))).kernel;
    const auto& products = plan.products;
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kQkvA].a), uint64_t{1000});
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kQkvA].c), uint64_t{5000});
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kIndexerK].weight), uint64_t{6000});
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kIndexerWeights].c), uint64_t{7000});
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kQueryB].a), uint64_t{4000});
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kQueryB].c), 5000 + plan.workspace_query);
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kAbsorb].a), 5000 + plan.workspace_query);
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kAbsorb].weight), uint64_t{2000});
    CHECK_EQ(plan::AddressOf(addresses, products[prolog::kAbsorb].c), uint64_t{3000});
}
