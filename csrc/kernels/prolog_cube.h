// The matrix products of mla_prolog and sfa_prolog, in the order of the plan's list.
#pragma once

#include "kernel_operator.h"
#include "kernels/gemm.h"
#include "kernels/hand_over.h"
#include "kernels/partition.h"
#include "kernels/weight_stream.h"
#include "plan/prolog_phases.h"
#include "plan/prolog_plan.h"

namespace kernels {

template <typename T, bool kQuantised>
class PrologCube {
public:
    __aicore__ inline void Run(AscendC::TPipe* pipe, const PrologAddresses& addresses,
                               const PrologPlan& plan, const PrologWarm& warm) {
        const uint32_t core = AscendC::GetBlockIdx();
        const uint32_t cores = AscendC::GetBlockNum();
        stream_.Open(pipe, plan.buffers, core, cores);
        gemm_.Open(pipe, plan.buffers, core, cores);
        for (const PrologProduct& product : plan.products) {
            if (product.gemm.m == 0) continue;
            stream_.AddPhase(product.gemm, Address(addresses, product.weight));
        }
        stream_.Start(warm.plan.await_stream != 0 ? kFlagStreamed : kNoFlag);

        uint16_t unpublished = kNoFlag;
        uint32_t moved = prolog::kNone;  // whose first weights are already in L0B
        for (uint32_t i = 0; i < prolog::kProducts; ++i) {
            const PrologProduct& product = plan.products[i];
            if (product.gemm.m == 0) continue;
            if (product.awaits != prolog::kNone) {
                if (moved != i) MoveAhead(product.gemm);
                AwaitVector();
                if (unpublished != kNoFlag) PublishToGroup(unpublished);
                unpublished = kNoFlag;
            }
            const PrologProduct& next = Next(plan, i);
            const bool ready = next.awaits == prolog::kNone && next.reads == prolog::kNone;
            Multiply(product.gemm, Address(addresses, product.a), Address(addresses, product.c),
                     next.gemm, ready ? Address(addresses, next.a) : nullptr);
            if (product.publication == prolog::kBeside) PublishToGroup(product.flag);
            if (product.publication == prolog::kWithNext) unpublished = product.flag;
            if (product.then_moves != prolog::kNone) {
                moved = product.then_moves;
                MoveAhead(plan.products[moved].gemm);
            }
            if (product.flag != kNoFlag && product.publication == prolog::kToAll) {
                PublishToVector(product.flag);
            }
        }
        gemm_.Close(pipe);
        stream_.Close(pipe);
    }

private:
    static_assert(sizeof(PrologPlan::products) / sizeof(PrologProduct) == prolog::kProducts);

    static __aicore__ inline GM_ADDR Address(const PrologAddresses& addresses,
                                             const GmOperand& operand) {
        return Gm(reinterpret_cast<const uint64_t*>(&addresses)[operand.tensor] + operand.offset);
    }

    // The product behind product `i`; the same one behind the last, whose A awaits something.
    static __aicore__ inline const PrologProduct& Next(const PrologPlan& plan, uint32_t i) {
        uint32_t next = i + 1;
        while (next < prolog::kProducts && plan.products[next].gemm.m == 0) ++next;
        return plan.products[next < prolog::kProducts ? next : i];
    }

    static __aicore__ inline bool Int8(const GemmPlan& gemm) {
        return kQuantised && gemm.element_bytes == sizeof(int8_t);
    }

    __aicore__ inline void MoveAhead(const GemmPlan& gemm) {
        if (Int8(gemm)) {
            gemm_.template MoveAhead<int8_t>(gemm, stream_);
        } else {
            gemm_.template MoveAhead<T>(gemm, stream_);
        }
    }

    __aicore__ inline void Multiply(const GemmPlan& gemm, GM_ADDR a, GM_ADDR c,
                                    const GemmPlan& next, GM_ADDR next_a) {
        if (Int8(gemm)) {
            gemm_.template Run<int8_t>(gemm, a, c, stream_, next, next_a);
        } else {
            gemm_.template Run<T>(gemm, a, c, stream_, next, next_a);
        }
    }

    WeightStream<prolog::kProducts> stream_;
    Gemm gemm_;
};

}  // namespace kernels
