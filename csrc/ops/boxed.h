// Access to the arguments of a call on torch's stack, for boxed kernels that serve every op of the
// library.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstring>

#include "ops/argument_name.h"

namespace ops {

/// The op's name without namespace.
inline const char* OpName(const c10::OperatorHandle& op) {
    const std::string& name = op.schema().name();
    const size_t colons = name.rfind(':');
    return name.c_str() + (colons == std::string::npos ? 0 : colons + 1);
}

/// Calls `visit(name, tensor, argument)` for every tensor of a call, and for each tensor of a list.
/// Optional tensors that are None are skipped; None where the schema demands a tensor is visited as
/// an undefined tensor.
template <typename Visit>
void ForEachTensor(const c10::OperatorHandle& op, const torch::jit::Stack& stack, Visit&& visit) {
    const auto& arguments = op.schema().arguments();
    const size_t first = stack.size() - arguments.size();
    for (size_t i = 0; i < arguments.size(); ++i) {
        const c10::IValue& value = stack[first + i];
        const char* name = arguments[i].name().c_str();
        if (value.isTensor()) {
            visit(ArgumentName(name), value.toTensor(), arguments[i]);
        } else if (value.isTensorList()) {
            const auto list = value.toTensorList();
            for (size_t k = 0; k < list.size(); ++k) {
                visit(ArgumentName(name, k), at::Tensor(list[k]), arguments[i]);
            }
        }
    }
}

/// Whether the argument is a list of tensors, which in all ops means tensors to prefetch.
inline bool IsPrefetched(const c10::Argument& argument) {
    const c10::TypePtr& type = argument.type();
    const auto* optional = type->castRaw<c10::OptionalType>();
    return (optional == nullptr ? type : optional->getElementType())->kind() ==
           c10::TypeKind::ListType;
}

/// Whether the op writes the argument.
inline bool IsWritten(const c10::Argument& argument) {
    return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

}  // namespace ops
