// Argument checks that all ops share. Every failure names the op, the argument, what was expected
// and what came.
//
// Shapes are compared as SymInt, so that the same checks serve real, Meta and fake tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include <initializer_list>
#include <string>

namespace ops {

class ArgumentChecks {
public:
    /// `op` without namespace, e.g. "mla_prolog"; `device` is that of the first tensor argument.
    ArgumentChecks(const char* op, c10::Device device) : op_(op), device_(device) {}

    void Rank(const char* name, const at::Tensor& tensor,
              std::initializer_list<int64_t> allowed) const;
    void Shape(const char* name, const at::Tensor& tensor,
               at::ArrayRef<c10::SymInt> expected) const;
    void DType(const char* name, const at::Tensor& tensor,
               std::initializer_list<at::ScalarType> allowed) const;
    void Device(const char* name, const at::Tensor& tensor) const;
    void Contiguous(const char* name, const at::Tensor& tensor) const;
    /// Device, dtype, shape and contiguity in one.
    void Dense(const char* name, const at::Tensor& tensor, at::ArrayRef<c10::SymInt> expected,
               std::initializer_list<at::ScalarType> allowed) const;

    /// RuntimeError unless `condition`.
    void Require(bool condition, const char* name, const std::string& expected,
                 const std::string& actual) const;
    /// ValueError unless `condition`.
    void RequireValue(bool condition, const char* name, const std::string& expected,
                      const std::string& actual) const;

private:
    std::string Message(const char* name, const std::string& expected,
                        const std::string& actual) const;

    const char* op_;
    c10::Device device_;
};

/// Text of a shape: "[16, 7168]".
std::string ShapeText(at::ArrayRef<c10::SymInt> shape);

}  // namespace ops
