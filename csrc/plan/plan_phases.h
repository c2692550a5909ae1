// Decides which products and stages a prolog has, what each of them awaits, and in which windows
// its vector cores may prefetch.
#pragma once

#include "plan/prolog_phases.h"
#include "plan/prolog_plan.h"

namespace plan {

/// Fills in everything of the plan's products and steps but the GEMMs, which have to be there.
void PlanPhases(PrologPlan& plan);

/// The GEMM of a product.
inline const GemmPlan& GemmOf(const PrologPlan& plan, prolog::Product product) {
    return plan.products[product].gemm;
}
/// The GEMM of a product.
inline GemmPlan& GemmOf(PrologPlan& plan, prolog::Product product) {
    return plan.products[product].gemm;
}

/// Whether the layer has a product or a stage.
inline bool Has(const PrologProduct& product) { return product.gemm.m > 0; }
/// Whether the layer has a product or a stage.
inline bool Has(const PrologStep& step) { return step.present != 0; }

/// A product's name in reports, errors and traces, e.g. "q_b"; it is that of the weight.
const char* NameOf(prolog::Product product);
/// A stage's name where it is a kernel of its own, e.g. "q_norm".
const char* NameOf(prolog::Stage stage);
/// The window in which vector cores wait for a product, e.g. "while q_b".
const char* WindowName(prolog::Product product);

/// Whether a product or a stage belongs to the indexer.
bool OfIndexer(prolog::Product product);
bool OfIndexer(prolog::Stage stage);

/// The address of an operand of a product.
uint64_t AddressOf(const PrologAddresses& addresses, const GmOperand& operand);

}  // namespace plan
