// What mla_prolog and sfa_prolog do, in order, on either kind of core.
//
//   AIC   qkv_a --> wk, weights --> q_b --> wq_b --> absorb
//            \      _______________/ \        \      /
//   AIV   (q)  norm q_c               heads of q  heads of the indexer's q     (q)
//              then kv_c, k_pe -> caches   indexer key -> cache
//
// At (q) vector cores quantise the input of int8 products, or q_nope; they also dequantise the sums
// of int8 products. In windows in which they would only wait, they warm the next weights. The
// cube's weight stream runs ahead across every hand-over.
//
// The products and the stages of the two lists below are numbered in the order in which they run.
// plan_phases.cpp says which of them a layer has and where one lane waits for the other. The
// kernels, the closed form of their time, the windows and the separate kernels all walk the lists
// of the plan. CONTRIBUTING.md says what to touch for a new product or stage.
#pragma once

#include <cstdint>

namespace prolog {

/// Matrix products of the cube cores; indices of PrologPlan::products.
enum Product : uint32_t {
    kQkvA,            ///< hidden states to latents
    kIndexerK,        ///< hidden states to the indexer's key
    kIndexerWeights,  ///< hidden states to the weights of the indexer's heads
    kQueryB,          ///< query latent, or hidden states, to the heads of the query
    kIndexerQuery,    ///< query latent to the heads of the indexer's query
    kAbsorb,          ///< W_UK, head by head
    kProducts,
};

/// Stages of the vector cores; indices of PrologPlan::steps.
enum Stage : uint32_t {
    kQuantiseHidden,
    kNormQuery,
    kWriteCaches,
    kRotateQuery,
    kWriteIndexerKeys,
    kRotateIndexerQuery,
    kQuantiseQueryNope,
    kEnd,  ///< no work, but the window before the kernel ends
    kStages,
};

/// In place of a product, a stage or a window: there is none.
constexpr uint32_t kNone = 0xFF;

}  // namespace prolog
