// The ops have no derivative: the forward pass accepts tensors that require gradients, and a
// backward pass that reaches an op raises an error that names the op.
#include <ATen/ATen.h>
#include <ATen/FuncTorchTLS.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <utility>
#include <vector>

#include "ops/boxed.h"
#include "ops/checks.h"

namespace ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using torch::jit::Stack;

constexpr const char* kNoBackward = "ascend_prefetch::no_backward";

/// Takes the place of the ops' backward. It is an op because torch.compile traces the backward pass
/// along with the forward pass: tracing must not raise, only the compiled backward when it runs.
at::Tensor NoBackward(const at::Tensor& /*grad*/, c10::string_view op, c10::SymIntArrayRef /*size*/,
                      at::ScalarType /*dtype*/) {
    TORCH_CHECK_NOT_IMPLEMENTED(
        false, "ascend_prefetch::", op,
        ": expected a forward pass alone, got a backward pass: the op has no derivative");
}

at::Tensor NoBackwardMeta(const at::Tensor& grad, c10::string_view /*op*/, c10::SymIntArrayRef size,
                          at::ScalarType dtype) {
    return at::empty_symint(size, grad.options().dtype(dtype));
}

/// Refuses torch.func.grad and similar transforms in the forward pass, where they look for a
/// derivative.
void RefuseTransforms(const c10::OperatorHandle& op) {
    const auto& transforms = at::functorch::functorchTLSAccessor();
    if (transforms == nullptr) return;
    try {
        transforms->checkSupportsCppAutogradFunction();
    } catch (const c10::Error&) {
        TORCH_CHECK_NOT_IMPLEMENTED(
            false, op.schema().name(),
            ": expected a call outside of torch.func's transforms, got one under grad, vjp, jacrev "
            "or their like: the op has no derivative");
    }
}

/// A call of an op, as the autograd node's forward takes it.
struct Call {
    const c10::OperatorHandle& op;
    c10::DispatchKeySet keys;
    Stack* stack;
};

class Underivable : public torch::autograd::Function<Underivable> {
public:
    static variable_list forward(AutogradContext* context, at::TensorList inputs, Call call) {
        // Undefined gradients stay undefined: a compiled graph must raise only for gradients that a
        // backward pass provides.
        context->set_materialize_grads(false);
        context->saved_data["op"] = std::string(OpName(call.op));
        for (size_t i = 0; i < inputs.size(); ++i) {
            const std::string index = std::to_string(i);
            context->saved_data["size" + index] = inputs[i].sym_sizes().vec();
            context->saved_data["dtype" + index] = static_cast<int64_t>(inputs[i].scalar_type());
        }
        call.op.redispatchBoxed(call.keys, call.stack);
        variable_list results, counts;
        for (const c10::IValue& value : *call.stack) {
            results.push_back(value.toTensor());
            if (!results.back().is_floating_point()) counts.push_back(results.back());
        }
        context->mark_non_differentiable(counts);
        return results;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        static const auto no_backward =
            c10::Dispatcher::singleton()
                .findSchemaOrThrow(kNoBackward, "")
                .typed<at::Tensor(const at::Tensor&, c10::string_view, c10::SymIntArrayRef,
                                  at::ScalarType)>();
        const std::string& op = context->saved_data["op"].toStringRef();
        at::Tensor gradient;
        for (const at::Tensor& given : gradients) {
            if (given.defined()) gradient = given;
        }
        variable_list results;
        for (size_t i = 0; context->saved_data.count("size" + std::to_string(i)) > 0; ++i) {
            const std::string index = std::to_string(i);
            const std::vector<c10::SymInt> size =
                context->saved_data["size" + index].toSymIntVector();
            const auto dtype =
                static_cast<at::ScalarType>(context->saved_data["dtype" + index].toInt());
            results.push_back(no_backward.call(gradient, op, size, dtype));
        }
        results.emplace_back();  // the gradient of the argument `call`, which has none
        return results;
    }
};

void Forward(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
    const c10::DispatchKeySet below = keys & c10::after_autograd_keyset;
    const bool enabled = at::GradMode::is_enabled();
    variable_list inputs;
    ForEachTensor(
        op, *stack,
        [&](const ArgumentName& name, const at::Tensor& tensor, const c10::Argument& argument) {
            if (!tensor.defined()) return;
            const ArgumentChecks check(OpName(op), tensor);
            check.Require(!tensor._fw_grad(0).defined(), name,
                          "a tensor without a tangent (the op has no forward derivative)",
                          "a dual tensor");
            if (!enabled || !tensor.requires_grad()) return;
            check.Require(!IsWritten(argument), name,
                          "a tensor that requires no gradient, since it is written in place",
                          "requires_grad=True");
            // Results do not depend on prefetched tensors.
            if (!IsPrefetched(argument)) inputs.push_back(tensor);
        });
    if (inputs.empty()) {
        op.redispatchBoxed(below, stack);
        return;
    }
    RefuseTransforms(op);
    variable_list results = Underivable::apply(at::TensorList(inputs), Call{op, below, stack});
    stack->clear();
    for (at::Tensor& result : results) stack->emplace_back(std::move(result));
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ascend_prefetch, m) {
    m.def("no_backward(Tensor grad, str op, SymInt[] size, ScalarType dtype) -> Tensor");
}
TORCH_LIBRARY_IMPL(ascend_prefetch, CompositeExplicitAutograd, m) {
    m.impl("no_backward", &NoBackward);
}
TORCH_LIBRARY_IMPL(ascend_prefetch, Meta, m) { m.impl("no_backward", &NoBackwardMeta); }
TORCH_LIBRARY_IMPL(ascend_prefetch, Autograd, m) {
    for (const char* op : {"mla_prolog", "sfa_prolog", "o_proj"}) {
        m.impl(op, torch::CppFunction::makeFromBoxedFunction<&Forward>());
    }
}

}  // namespace ops
