// The prefetch arguments of the fused ops: weights that are needed next, and a budget.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "ops/checks.h"
#include "ops/launch_tensors.h"
#include "plan/plan_warm.h"

namespace ops {

struct PrefetchArguments {
    std::vector<at::Tensor> weights;
    std::optional<int64_t> bytes;
    std::optional<std::vector<int64_t>> passing_bytes;
};

/// Visits the arguments (ops/arguments.h).
template <typename Visit>
void VisitArguments(PrefetchArguments& prefetch, Visit&& visit) {
    visit("prefetch", prefetch.weights);
    visit("prefetch_bytes", prefetch.bytes);
    visit("prefetch_passing_bytes", prefetch.passing_bytes);
}

/// Makes all checks of the prefetch arguments that need no addresses.
void CheckPrefetch(const ArgumentChecks& check, const PrefetchArguments& prefetch);

/// A tensor, and the prefetch arguments, in the form that the planner takes.
plan::PrefetchRegion RegionOf(const at::Tensor& tensor);
plan::PrefetchRequest RequestOf(const PrefetchArguments& prefetch);

/// Registers the weights with the launch; the kernel gets their addresses from the plan.
void BindPrefetch(LaunchTensors& tensors, const PrefetchArguments& prefetch);

}  // namespace ops
