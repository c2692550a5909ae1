// Argument checks that all ops share. Every failure names the op, the argument, what was expected
// and what came.
//
// Shapes are compared as SymInt, so that the same checks serve real, Meta and fake tensors. Texts
// are put together when a check fails, not before: decode calls an op every few microseconds.
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

/// Anything that can be streamed, one after the other. Refers to its parts: for use within the
/// expression that names them.
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

/// A shape: "[16, 7168]".
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

/// The checks of one call: each throws what names op, argument, what was expected and what came.
class ArgumentChecks {
public:
    /// `op` without namespace, e.g. "mla_prolog"; `device` is that of the first tensor argument.
    ArgumentChecks(const char* op, c10::Device device) : op_(op), device_(device) {}
    /// `first` is the first tensor argument; not Given, there is no device to compare with.
    ArgumentChecks(const char* op, const at::Tensor& first)
        : ArgumentChecks(op, first.defined() ? first.device() : c10::Device(at::kCPU)) {}

    /// A tensor where the schema demands one: torch hands None on as a tensor without anything.
    void Given(const ArgumentName& name, const at::Tensor& tensor) const {
        if (!tensor.defined()) Require(false, name, "a tensor", "None");
    }
    /// A dense tensor on a device that has a backend.
    void Strided(const ArgumentName& name, const at::Tensor& tensor) const;
    /// One whose bytes are its values: no negative or conjugate view, no zeros without memory.
    void Resolved(const ArgumentName& name, const at::Tensor& tensor) const;
    void Rank(ArgumentName name, const at::Tensor& tensor,
              std::initializer_list<int64_t> allowed) const;
    void Shape(ArgumentName name, const at::Tensor& tensor,
               at::ArrayRef<c10::SymInt> expected) const;
    void DType(ArgumentName name, const at::Tensor& tensor,
               std::initializer_list<at::ScalarType> allowed) const;
    void Device(ArgumentName name, const at::Tensor& tensor) const;
    void Contiguous(ArgumentName name, const at::Tensor& tensor) const;
    /// Device, dtype, shape and contiguity in one.
    void Dense(ArgumentName name, const at::Tensor& tensor, at::ArrayRef<c10::SymInt> expected,
               std::initializer_list<at::ScalarType> allowed) const;

    /// RuntimeError unless `condition`; `expected` and `actual` are anything that can be streamed.
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
