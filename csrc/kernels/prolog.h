// MLA and SFA projections of a token batch in one kernel, with the paged cache writes.
//
//   AIC   qkv_a --> wk, weights --> q_b --> wq_b --> absorb
//            \      _______________/ \        \      /
//   AIV   (q)  norm q_c               heads of q  heads of the indexer's q     (q)
//              then kv_c, k_pe -> caches      indexer key -> cache
//
// At (q) vector cores quantise the input of int8 products, or q_nope; they also dequantise the sums
// of int8 products. In windows in which they would only wait, they warm the next weights. The
// cube's weight stream runs ahead across every hand-over. Every arrow between the lanes is a
// PublishTo... call in prolog_cube.h or prolog_vector.h; the two files have them in the same order.
#pragma once

#include "kernel_operator.h"
#include "kernels/prolog_cube.h"
#include "kernels/prolog_vector.h"
#include "plan/prolog_plan.h"

namespace kernels {

// T is bfloat16_t or half. With kQuantised, linear layers, q_nope or the latent cache may be int8;
// with kIndexer, the layer may have an indexer.
template <typename T, bool kQuantised, bool kIndexer>
__aicore__ inline void Prolog(const PrologAddresses& addresses, const PrologPlan& plan,
                              const PrologWarm& warm) {
    AscendC::TPipe pipe;
    if ASCEND_IS_AIC {
        PrologCube<T, kQuantised, kIndexer> cube;
        cube.Run(&pipe, addresses, plan, warm);
    }
    if ASCEND_IS_AIV {
        PrologVector<T, kQuantised, kIndexer> vector;
        vector.Run(&pipe, addresses, plan, warm);
    }
}

}  // namespace kernels
