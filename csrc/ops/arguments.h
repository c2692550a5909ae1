// Fills an op's struct of arguments from torch's stack, by the names that its schema has for them.
//
// A struct of arguments names its members once, in a function that visits them, in any order:
//
//     template <typename Visit>
//     void VisitArguments(Arguments& args, Visit&& visit) {
//         visit("attn_output", args.attn_output);
//         visit("w_uv", args.w_uv);
//     }
//
// Each name is looked up in the registered schema once, when the Python module is imported; a call
// only reads where the arguments lie. An argument of the schema without a member, a member without
// an argument and a type that does not fit are errors of the import. The same kernel serves CPU,
// NPU and Meta tensors; calls from Python arrive on the stack anyway.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/stack.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "ops/argument_name.h"
#include "ops/backend.h"
#include "ops/checks.h"

namespace ops {

/// A member of a struct of arguments.
struct Member {
    std::string name;  ///< the argument's name in the schema
    const char* type;  ///< the schema's word for its type
    bool takes_none;   ///< whether the schema may have `type?` instead
};

/// Where the argument of a member lies among those of the schema.
struct Place {
    uint8_t index;
    bool required;  ///< whether the schema demands a value: the type has no question mark
};

/// The places of the members, in the order of the members. Throws std::invalid_argument, one line
/// that names op and argument, unless arguments and members are the same, type for type.
std::vector<Place> FindPlaces(const c10::FunctionSchema& schema,
                              const std::vector<Member>& members);

/// Adds an op to those that CheckSchemas checks (ops/check_schemas.h).
void AddMembers(const char* op, std::vector<Member> (*members)());

/// Lists the members of a struct of arguments.
class MemberList {
public:
    template <typename Value>
    void operator()(const ArgumentName& name, const Value& value) {
        Add(name, value);
    }

    std::vector<Member> members;

private:
    void Add(const ArgumentName& name, const at::Tensor&) { Add(name, "Tensor", true); }
    void Add(const ArgumentName& name, const std::optional<at::Tensor>&) { Add(name, "Tensor?"); }
    void Add(const ArgumentName& name, const std::vector<at::Tensor>&) {
        Add(name, "Tensor[]", true);
    }
    void Add(const ArgumentName& name, const std::optional<std::vector<int64_t>>&) {
        Add(name, "int[]?");
    }
    void Add(const ArgumentName& name, const std::optional<int64_t>&) { Add(name, "int?"); }
    void Add(const ArgumentName& name, double) { Add(name, "float"); }
    void Add(const ArgumentName& name, bool) { Add(name, "bool"); }
    void Add(const ArgumentName& name, const std::string&) { Add(name, "str"); }
    void Add(const ArgumentName& name, const char* type, bool takes_none = false) {
        members.push_back({name.str(), type, takes_none});
    }
};

/// The members of a struct of arguments, in the order in which they are visited.
template <typename Arguments>
std::vector<Member> MembersOf() {
    Arguments args{};
    MemberList list;
    VisitArguments(args, list);
    return list.members;
}

/// Moves the arguments of a call off the stack, so that no tensor is counted twice.
class StackReader {
public:
    /// `arguments` is the first argument of the call on the stack.
    StackReader(const char* op, const Place* places, c10::IValue* arguments)
        : op_(op), place_(places), arguments_(arguments) {}

    template <typename Value>
    void operator()(const ArgumentName& name, Value& member) {
        const Place place = *place_++;
        c10::IValue& value = arguments_[place.index];
        if (!value.isNone()) Take(std::move(value), member);
        if constexpr (std::is_same_v<Value, at::Tensor>) {
            if (place.required) ArgumentChecks(op_, at::kCPU).Given(name, member);
        }
    }

private:
    static void Take(c10::IValue&& value, at::Tensor& member) {
        member = std::move(value).toTensor();
    }
    static void Take(c10::IValue&& value, std::optional<at::Tensor>& member) {
        member = std::move(value).toTensor();
    }
    static void Take(const c10::IValue& value, std::vector<at::Tensor>& member) {
        member = value.toTensorVector();
    }
    static void Take(const c10::IValue& value, std::optional<std::vector<int64_t>>& member) {
        member = value.toIntVector();
    }
    static void Take(const c10::IValue& value, std::optional<int64_t>& member) {
        member = value.toInt();
    }
    static void Take(const c10::IValue& value, double& member) { member = value.toDouble(); }
    static void Take(const c10::IValue& value, bool& member) { member = value.toBool(); }
    static void Take(const c10::IValue& value, std::string& member) {
        member = value.toStringRef();
    }

    const char* op_;
    const Place* place_;
    c10::IValue* arguments_;
};

/// Leaves an op's results on the stack.
inline void Push(torch::jit::Stack& stack, at::Tensor result) {
    stack.emplace_back(std::move(result));
}

/// The same, for an op with several results.
template <typename... Results>
void Push(torch::jit::Stack& stack, std::tuple<Results...> results) {
    std::apply([&](Results&... each) { (stack.emplace_back(std::move(each)), ...); }, results);
}

/// Calls Op::Run(arguments, backend) with the arguments on the stack, and leaves its results there.
template <typename Op, Backend kBackend>
void CallBoxed(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    using Arguments = typename Op::Arguments;
    static const std::vector<Place> places = FindPlaces(op.schema(), MembersOf<Arguments>());
    Arguments args;
    const size_t first = stack->size() - places.size();
    VisitArguments(args, StackReader(Op::kName, places.data(), stack->data() + first));
    torch::jit::drop(*stack, places.size());
    if constexpr (std::is_void_v<decltype(Op::Run(args, kBackend))>) {
        Op::Run(args, kBackend);
    } else {
        Push(*stack, Op::Run(args, kBackend));
    }
}

/// The kernel of an op for the dispatcher. `Op` has its name without namespace in kName, a struct
/// Arguments that VisitArguments visits, and a function Run.
template <typename Op, Backend kBackend>
torch::CppFunction KernelOf() {
    AddMembers(Op::kName, &MembersOf<typename Op::Arguments>);
    return torch::CppFunction::makeFromBoxedFunction<&CallBoxed<Op, kBackend>>();
}

}  // namespace ops
