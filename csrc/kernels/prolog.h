// MLA and SFA projections of a token batch in one kernel, with the paged cache writes. What the two
// kinds of cores do, and in which order, is in plan/prolog_phases.h.
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
        PrologCube<T, kQuantised> cube;
        cube.Run(&pipe, addresses, plan, warm);
    }
    if ASCEND_IS_AIV {
        PrologVector<T, kQuantised, kIndexer> vector;
        vector.Run(&pipe, addresses, plan, warm);
    }
}

}  // namespace kernels
