// The prefetch arguments of the fused ops: weights that are needed next, and a budget.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/OptionalArrayRef.h>

#include <optional>
#include <vector>

#include "ops/checks.h"
#include "ops/launch_tensors.h"
#include "plan/plan_warm.h"

namespace ops {

struct PrefetchArguments {
    PrefetchArguments(const std::optional<std::vector<at::Tensor>>& weights,
                      std::optional<int64_t> bytes, const at::OptionalIntArrayRef& passing_bytes)
        : weights(weights ? at::TensorList(*weights) : at::TensorList()),
          bytes(bytes),
          passing_bytes(passing_bytes) {}

    at::TensorList weights;
    std::optional<int64_t> bytes;
    at::OptionalIntArrayRef passing_bytes;
};

/// Makes all checks of the prefetch arguments that need no addresses.
void CheckPrefetch(const ArgumentChecks& check, const PrefetchArguments& prefetch);

/// A tensor, and the prefetch arguments, in the form that the planner takes.
plan::PrefetchRegion RegionOf(const at::Tensor& tensor);
plan::PrefetchRequest RequestOf(const PrefetchArguments& prefetch);

/// Registers the weights with the launch; the kernel gets their addresses from the plan.
void BindPrefetch(LaunchTensors& tensors, const PrefetchArguments& prefetch);

}  // namespace ops
