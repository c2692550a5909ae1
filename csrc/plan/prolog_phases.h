// What mla_prolog and sfa_prolog do, in order, on either kind of core.
//
//   AIC   qkv_a --> wk, weights --> q_b --> wq_b --> absorb
//            \      _______________/ \        \      /
//   AIV   (q)  norm q_c               heads of q  heads of the indexer's q     (q)
//              then kv_c, k_pe -> caches   indexer key -> cache
//
// An int8 qkv_a is two products: the query latent's columns come first, because norm, q_b and
// absorption wait for them, and the weights of the others arrive meanwhile. Behind an int8 q_b the
// caches are written last.
//
// At (q) vector cores quantise the input of int8 products, or q_nope; they also dequantise the sums
// of int8 products: those of the heads each beside the cube core that made them. In windows in
// which they would only wait, they warm the next weights. The cube's weight stream runs ahead
// across every hand-over.
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
    kQueryA,          ///< hidden states to the query latent, where it comes before the rest
    kQkvA,            ///< hidden states to both latents, or to the rest
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
    kDequantiseQuery,  ///< of an int8 q_b, each vector core what the cube core beside it made
    kRotateTiles,      ///< of the same
    kWriteCaches,
    kRotateQuery,  ///< of another q_b
    kWriteIndexerKeys,
    kRotateIndexerQuery,
    kQuantiseQueryNope,
    kEnd,  ///< no work, but the window before the kernel ends
    kStages,
};

/// Whom a product's flag reaches, and when.
enum Publication : uint32_t {
    kToAll,     ///< the vector cores, once all cube cores have made their parts
    kBeside,    ///< those beside each cube core, once that one has made its part
    kWithNext,  ///< like kToAll, behind the meeting of all cube cores at the next product that
                ///< awaits a stage
};

/// In place of a product, a stage or a window: there is none.
constexpr uint32_t kNone = 0xFF;

}  // namespace prolog
