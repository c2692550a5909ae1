// Argument checks that all ops share. Every error names the op, the argument, the expected and the
// actual value.
//
// Shapes are compared as SymInt, so that the same checks serve real, Meta and fake tensors. Texts
// are put together only when a check fails, because decode calls an op every few microseconds.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include <initializer_list>
#include <ostream>
#include <sstream>
#include <string>
#include <tuple>

#include "ops/argument_name.h"

namespace ops {

/// Streams its parts one after the other. It refers to them, so it must not outlive the expression
/// that makes it.
template <typename... Parts>
class Text {
public:
    explicit Text(const Parts&... parts) : parts_(parts...) {}

    friend std::ostream& operator<<(std::ostream& out, const Text& text) {
        std::apply([&](const Parts&... parts) { (void)(out << ... << parts); }, text.parts_);
        return out;
    }

private:
    std::tuple<const Parts&...> parts_;
};

/// Streams a shape as "[16, 7168]".
class ShapeText {
public:
    explicit ShapeText(at::ArrayRef<c10::SymInt> shape) : shape_(shape) {}
    friend std::ostream& operator<<(std::ostream& out, const ShapeText& text);

private:
    at::ArrayRef<c10::SymInt> shape_;
};

/// Whether torch has put off computing the values of a tensor: a negative or conjugate view, or
/// zeros without memory.
bool IsPending(const at::Tensor& tensor);

/// The checks of one call. Each throws an error that names the op, the argument, the expected and
/// the actual value.
class ArgumentChecks {
public:
    /// `op` has no namespace, e.g. "mla_prolog"; `device` is that of the first tensor argument.
    ArgumentChecks(const char* op, c10::Device device) : op_(op), device_(device) {}
    /// `first` is the first tensor argument. If it is undefined, the CPU stands for its device;
    /// such a call fails in Given.
    ArgumentChecks(const char* op, const at::Tensor& first)
        : ArgumentChecks(op, first.defined() ? first.device() : c10::Device(at::kCPU)) {}

    /// The tensor is defined. Where the schema demands a tensor, torch passes None on as an
    /// undefined one.
    void Given(const ArgumentName& name, const at::Tensor& tensor) const {
        if (!tensor.defined()) Require(false, name, "a tensor", "None");
    }
    /// The tensor is dense and on a device that has a backend.
    void Strided(const ArgumentName& name, const at::Tensor& tensor) const;
    /// The tensor's bytes are its values: it is no negative or conjugate view, nor zeros without
    /// memory.
    void Resolved(const ArgumentName& name, const at::Tensor& tensor) const;
    void Rank(ArgumentName name, const at::Tensor& tensor,
              std::initializer_list<int64_t> allowed) const;
    void Shape(ArgumentName name, const at::Tensor& tensor,
               at::ArrayRef<c10::SymInt> expected) const;
    void DType(ArgumentName name, const at::Tensor& tensor,
               std::initializer_list<at::ScalarType> allowed) const;
    void Device(ArgumentName name, const at::Tensor& tensor) const;
    void Contiguous(ArgumentName name, const at::Tensor& tensor) const;
    /// Checks device, dtype, shape and contiguity.
    void Dense(ArgumentName name, const at::Tensor& tensor, at::ArrayRef<c10::SymInt> expected,
               std::initializer_list<at::ScalarType> allowed) const;

    /// RuntimeError unless `condition`; `expected` and `actual` can be anything with an operator<<.
    template <typename Expected, typename Actual>
    void Require(bool condition, ArgumentName name, const Expected& expected,
                 const Actual& actual) const {
        if (!condition) Fail(Error::kRuntime, name, Stream(expected), Stream(actual));
    }
    /// ValueError unless `condition`.
    template <typename Expected, typename Actual>
    void RequireValue(bool condition, ArgumentName name, const Expected& expected,
                      const Actual& actual) const {
        if (!condition) Fail(Error::kValue, name, Stream(expected), Stream(actual));
    }

private:
    enum class Error { kRuntime, kValue };

    template <typename Value>
    static std::string Stream(const Value& value) {
        std::ostringstream text;
        text << value;
        return text.str();
    }
    [[noreturn]] void Fail(Error error, const ArgumentName& name, const std::string& expected,
                           const std::string& actual) const;

    const char* op_;
    c10::Device device_;
};

}  // namespace ops
