#include "plan/plan_phases.h"

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "plan/hand_over_flags.h"
#include "plan/plan_gemm.h"
#include "plan/units.h"

namespace plan {

namespace {

static_assert(std::extent_v<decltype(PrologPlan::products)> == prolog::kProducts);
static_assert(std::extent_v<decltype(PrologPlan::steps)> == prolog::kStages);

struct ProductNames {
    const char* name;
    const char* window;
    bool of_indexer;
};

constexpr ProductNames kProductNames[prolog::kProducts] = {
    {"q_a", "while q_a", false},
    {"qkv_a", "while qkv_a", false},
    {"indexer_wk", "while the indexer's key", true},
    {"indexer_weights_proj", "while the indexer's weights", true},
    {"q_b", "while q_b", false},
    {"indexer_wq_b", "while the indexer's q", true},
    {"w_uk", "while w_uk", false},
};

struct StageNames {
    const char* name;
    bool of_indexer;
};

constexpr StageNames kStageNames[prolog::kStages] = {
    {"quantise_hidden", false},        {"q_norm", false},
    {"q_dequantise", false},           {"q_tiles_rope", false},
    {"kv_norm_rope_cache", false},     {"q_rope", false},
    {"indexer_norm_rope_cache", true}, {"indexer_q_rope", true},
    {"quantise_q_nope", false},        {"end", false},
};

/// The flag by which a product tells the vector cores that it is complete.
uint16_t FlagOf(prolog::Product product) {
    switch (product) {
        case prolog::kQueryA:
            return flags::kFlagQueryA;
        case prolog::kQkvA:
            return flags::kFlagQkvA;
        case prolog::kQueryB:
            return flags::kFlagQueryB;
        case prolog::kIndexerQuery:
            return flags::kFlagIndexerQuery;
        case prolog::kAbsorb:
            return flags::kFlagQueryNope;
        default:
            return flags::kNoFlag;
    }
}

/// Adds to the lists of a plan.
class Lists {
public:
    explicit Lists(PrologPlan& plan) : plan_(plan) {
        for (PrologProduct& product : plan.products) {
            product.awaits = prolog::kNone;
            product.reads = prolog::kNone;
            product.then_moves = prolog::kNone;
            product.flag = flags::kNoFlag;
        }
        for (PrologStep& step : plan.steps) {
            step.awaits = prolog::kNone;
            step.window = prolog::kNone;
        }
    }

    /// A product of an input or a result of the call, or of a part of the workspace.
    void Multiply(prolog::Product product, GmOperand weight, GmOperand a, GmOperand c) {
        plan_.products[product].weight = weight;
        plan_.products[product].a = a;
        plan_.products[product].c = c;
    }

    void Run(prolog::Stage stage) { plan_.steps[stage].present = 1; }

    /// A product multiplies what a stage writes. While it waits, its first weights go into L0B.
    void Await(prolog::Product product, prolog::Stage stage) {
        plan_.products[product].awaits = stage;
        plan_.steps[stage].publishes = 1;
    }

    /// A stage reads what a product writes, or one before it.
    void Await(prolog::Stage stage, prolog::Product product) {
        plan_.steps[stage].awaits = product;
        plan_.products[product].flag = FlagOf(product);
        if (FlagOf(product) == flags::kNoFlag) {
            throw std::logic_error(std::string(NameOf(product)) + " has no flag to wait for");
        }
    }

    /// A stage reads what the cube core beside each vector core writes in a product.
    void AwaitBeside(prolog::Stage stage, prolog::Product product) {
        Await(stage, product);
        plan_.products[product].publication = prolog::kBeside;
    }

    /// A stage reads what a product writes; another product between them awaits a stage.
    void AwaitWithNext(prolog::Stage stage, prolog::Product product) {
        Await(stage, product);
        plan_.products[product].publication = prolog::kWithNext;
    }

    /// Before it waits, a stage opens the next window.
    void OpenWindow(prolog::Stage stage) { plan_.steps[stage].window = windows_++; }

private:
    PrologPlan& plan_;
    uint32_t windows_ = 0;
};

/// Bytes of the columns before column c of an int8 weight, by c; c is a multiple of a strip.
uint64_t ColumnBytes(const GemmPlan& gemm) { return IsFractal(LayoutOf(gemm)) ? gemm.k : 1; }

constexpr size_t kAddresses = sizeof(PrologAddresses) / sizeof(uint64_t);
static_assert(std::is_trivially_copyable_v<PrologAddresses> &&
              sizeof(PrologAddresses) % sizeof(uint64_t) == 0);

/// In place of each address, its index: names the tensors of operands.
PrologAddresses NumberAddresses() {
    uint64_t numbers[kAddresses];
    for (size_t i = 0; i < kAddresses; ++i) numbers[i] = i;
    PrologAddresses addresses;
    std::memcpy(&addresses, numbers, sizeof(addresses));
    return addresses;
}

}  // namespace

void PlanPhases(PrologPlan& plan) {
    const IndexerPlan& indexer = plan.indexer;
    const auto int8 = [&](prolog::Product product) {
        return plan.products[product].gemm.element_bytes == 1;
    };
    const bool has_latent = plan.q_lora_rank > 0;
    const bool indexed = indexer.heads.heads > 0;
    const bool quantises_hidden = int8(prolog::kQkvA) || (!has_latent && int8(prolog::kQueryB));
    const PrologAddresses number = NumberAddresses();
    const auto tensor = [](uint64_t index) { return GmOperand{index, 0}; };
    const auto workspace = [&](uint64_t bytes) { return GmOperand{number.workspace, bytes}; };
    const GmOperand hidden = tensor(number.hidden_states);
    const GmOperand query = workspace(plan.workspace_query);
    Lists lists(plan);

    // The sums of both parts are columns of one matrix.
    const bool parts = Has(plan.products[prolog::kQueryA]);
    const prolog::Product first = parts ? prolog::kQueryA : prolog::kQkvA;
    const GmOperand latents = int8(prolog::kQkvA) ? workspace(plan.workspace_hidden) : hidden;
    const uint64_t before = parts ? plan.q_lora_rank : 0;
    if (parts) {
        lists.Multiply(prolog::kQueryA, tensor(number.qkv_a_weight), latents, workspace(0));
    }
    lists.Multiply(prolog::kQkvA,
                   {number.qkv_a_weight, before * ColumnBytes(plan.products[prolog::kQkvA].gemm)},
                   latents, workspace(before * kFloatBytes));
    if (quantises_hidden) {
        lists.Run(prolog::kQuantiseHidden);
        lists.Await(first, prolog::kQuantiseHidden);
    }
    if (indexed) {
        // These two products need no hand-over: they fill the time in which the vector cores
        // normalise q_c.
        lists.Multiply(prolog::kIndexerK, tensor(number.indexer.wk), hidden,
                       workspace(indexer.workspace_k));
        lists.Multiply(prolog::kIndexerWeights, tensor(number.indexer.weights_proj), hidden,
                       tensor(number.indexer.weights));
    }
    lists.Run(prolog::kWriteCaches);
    if (has_latent) {
        lists.Run(prolog::kNormQuery);
        lists.Await(prolog::kNormQuery, first);
        if (parts) lists.AwaitWithNext(prolog::kWriteCaches, prolog::kQkvA);
        lists.Await(prolog::kQueryB, prolog::kNormQuery);
    } else {
        lists.Await(prolog::kWriteCaches, prolog::kQkvA);
    }

    if (int8(prolog::kQueryB)) {
        lists.Multiply(prolog::kQueryB, tensor(number.q_b_weight),
                       workspace(plan.workspace_q_b_input), workspace(plan.workspace_query_sums));
    } else {
        lists.Multiply(prolog::kQueryB, tensor(number.q_b_weight),
                       has_latent ? tensor(number.q_c) : hidden, query);
    }
    if (int8(prolog::kQueryB)) {
        lists.Run(prolog::kDequantiseQuery);
        lists.Run(prolog::kRotateTiles);
        lists.AwaitBeside(prolog::kDequantiseQuery, prolog::kQueryB);
        lists.OpenWindow(prolog::kDequantiseQuery);
    } else {
        lists.Run(prolog::kRotateQuery);
        lists.Await(prolog::kRotateQuery, prolog::kQueryB);
        lists.OpenWindow(prolog::kRotateQuery);
    }

    if (indexed) {
        if (int8(prolog::kIndexerQuery)) {
            lists.Multiply(prolog::kIndexerQuery, tensor(number.indexer.wq_b),
                           workspace(indexer.workspace_q_c), workspace(indexer.workspace_sums));
        } else {
            lists.Multiply(prolog::kIndexerQuery, tensor(number.indexer.wq_b), tensor(number.q_c),
                           tensor(number.indexer.q));
        }
        lists.Run(prolog::kWriteIndexerKeys);
        lists.Run(prolog::kRotateIndexerQuery);
        if (int8(prolog::kIndexerQuery)) {
            lists.AwaitBeside(prolog::kRotateIndexerQuery, prolog::kIndexerQuery);
        } else {
            lists.Await(prolog::kRotateIndexerQuery, prolog::kIndexerQuery);
        }
        lists.OpenWindow(prolog::kRotateIndexerQuery);
    }

    const bool q_nope_int8 = plan.quantize_q_nope != 0;
    lists.Multiply(prolog::kAbsorb, tensor(number.w_uk), query,
                   q_nope_int8 ? workspace(plan.workspace_q_nope) : tensor(number.q_nope));
    if (int8(prolog::kQueryB)) {
        lists.Await(prolog::kAbsorb, prolog::kDequantiseQuery);
    } else {
        plan.products[prolog::kAbsorb].reads = prolog::kQueryB;
    }
    // The first weights of W_UK go into L0B before the publication of the product before it: its
    // barrier of the cube cores is what W_UK waits for.
    plan.products[indexed ? prolog::kIndexerQuery : prolog::kQueryB].then_moves = prolog::kAbsorb;
    if (q_nope_int8) {
        lists.Run(prolog::kQuantiseQueryNope);
        lists.Await(prolog::kQuantiseQueryNope, prolog::kAbsorb);
        lists.OpenWindow(prolog::kQuantiseQueryNope);
    } else {
        lists.Run(prolog::kEnd);
        lists.OpenWindow(prolog::kEnd);
    }
}

const char* NameOf(prolog::Product product) { return kProductNames[product].name; }
const char* NameOf(prolog::Stage stage) { return kStageNames[stage].name; }
const char* WindowName(prolog::Product product) { return kProductNames[product].window; }
bool OfIndexer(prolog::Product product) { return kProductNames[product].of_indexer; }
bool OfIndexer(prolog::Stage stage) { return kStageNames[stage].of_indexer; }

uint64_t AddressOf(const PrologAddresses& addresses, const GmOperand& operand) {
    uint64_t all[kAddresses];
    std::memcpy(all, &addresses, sizeof(addresses));
    return all[operand.tensor] + operand.offset;
}

}  // namespace plan
