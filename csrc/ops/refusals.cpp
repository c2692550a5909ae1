// Refuses, for all ops and with an error that names the argument, what no backend of the ops
// supports: tensors that are not dense, values that torch has not computed yet, and torch.vmap.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "ops/boxed.h"
#include "ops/checks.h"
#include "plan/plan_warm.h"

namespace ops {

namespace {

using torch::jit::Stack;

/// The dispatcher falls back to this where an argument belongs to no backend, or where there is no
/// tensor at all.
void RefuseBackend(const c10::OperatorHandle& op, Stack* stack) {
    const ArgumentChecks check(OpName(op), at::kCPU);
    size_t tensors = 0;
    ForEachTensor(op, *stack, [&](const ArgumentName& name, const at::Tensor& tensor, const auto&) {
        ++tensors;
        check.Given(name, tensor);
        check.Strided(name, tensor);
    });
    check.RequireValue(tensors > 0, op.schema().arguments().front().name().c_str(),
                       Text("1 to ", plan::kMaxPrefetchRegions, " tensors"), tensors);
    TORCH_CHECK(false, op.schema().name(), ": no backend takes these tensors together");
}

/// Handles negative and conjugate views and zeros without memory. As in torch's own ops, views that
/// are only read are resolved to new tensors. Arguments that are written or prefetched have to be
/// resolved already, and zeros without memory are refused.
void ResolvePending(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
    const ArgumentChecks check(OpName(op), at::kCPU);
    const auto& arguments = op.schema().arguments();
    const size_t first = stack->size() - arguments.size();
    ForEachTensor(
        op, *stack,
        [&](const ArgumentName& name, const at::Tensor& tensor, const c10::Argument& argument) {
            if (!tensor.defined()) return;
            const bool computed =
                !IsWritten(argument) && !IsPrefetched(argument) && !tensor._is_zerotensor();
            if (!computed) check.Resolved(name, tensor);
        });
    for (size_t i = 0; i < arguments.size(); ++i) {
        c10::IValue& value = (*stack)[first + i];
        if (!value.isTensor() || !value.toTensor().defined()) continue;
        if (IsPending(value.toTensor())) value = value.toTensor().resolve_conj().resolve_neg();
    }
    const c10::DispatchKeySet below(c10::DispatchKeySet::FULL_AFTER, c10::DispatchKey::Conjugate);
    op.redispatchBoxed(keys & below, stack);
}

/// Without this torch.vmap would call the op in a loop, once for each slice of a batch.
void RefuseVmap(const c10::OperatorHandle& op, Stack*) {
    TORCH_CHECK_NOT_IMPLEMENTED(false, op.schema().name(),
                                ": expected a call for all tokens at once, got one under "
                                "torch.vmap, for which the op has no batching rule");
}

template <torch::CppFunction Make()>
void ForAllOps(torch::Library& m) {
    for (const char* op : {"mla_prolog", "sfa_prolog", "o_proj", "prefetch"}) m.impl(op, Make());
}

torch::CppFunction Backend() { return torch::CppFunction::makeFromBoxedFunction<&RefuseBackend>(); }
torch::CppFunction Pending() {
    return torch::CppFunction::makeFromBoxedFunction<&ResolvePending>();
}
torch::CppFunction Vmap() { return torch::CppFunction::makeFromBoxedFunction<&RefuseVmap>(); }

}  // namespace

TORCH_LIBRARY_IMPL(ascend_prefetch, CompositeExplicitAutograd, m) { ForAllOps<Backend>(m); }
// The alias key does not cover nested tensors. Those with the jagged layout arrive with the second
// of the next two keys.
TORCH_LIBRARY_IMPL(ascend_prefetch, NestedTensorCPU, m) { ForAllOps<Backend>(m); }
TORCH_LIBRARY_IMPL(ascend_prefetch, AutogradNestedTensor, m) { ForAllOps<Backend>(m); }
TORCH_LIBRARY_IMPL(ascend_prefetch, Negative, m) { ForAllOps<Pending>(m); }
TORCH_LIBRARY_IMPL(ascend_prefetch, Conjugate, m) { ForAllOps<Pending>(m); }
TORCH_LIBRARY_IMPL(ascend_prefetch, ZeroTensor, m) { ForAllOps<Pending>(m); }
TORCH_LIBRARY_IMPL(ascend_prefetch, FuncTorchBatched, m) { ForAllOps<Vmap>(m); }

}  // namespace ops
