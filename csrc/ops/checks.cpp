#include "ops/checks.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <sstream>

namespace ops {

namespace {

template <typename Range, typename Show>
std::string Alternatives(const Range& values, Show show) {
    std::ostringstream text;
    bool first = true;
    for (const auto& value : values) {
        if (!first) text << " or ";
        text << show(value);
        first = false;
    }
    return text.str();
}

}  // namespace

std::string ShapeText(at::ArrayRef<c10::SymInt> shape) {
    std::ostringstream text;
    text << "[";
    for (size_t i = 0; i < shape.size(); ++i) text << (i == 0 ? "" : ", ") << shape[i];
    text << "]";
    return text.str();
}

std::string ArgumentChecks::Message(const char* name, const std::string& expected,
                                    const std::string& actual) const {
    return std::string("ascend_prefetch::") + op_ + ": argument '" + name + "': expected " +
           expected + ", got " + actual;
}

void ArgumentChecks::Require(bool condition, const char* name, const std::string& expected,
                             const std::string& actual) const {
    TORCH_CHECK(condition, Message(name, expected, actual));
}

void ArgumentChecks::RequireValue(bool condition, const char* name, const std::string& expected,
                                  const std::string& actual) const {
    TORCH_CHECK_VALUE(condition, Message(name, expected, actual));
}

void ArgumentChecks::Rank(const char* name, const at::Tensor& tensor,
                          std::initializer_list<int64_t> allowed) const {
    if (std::find(allowed.begin(), allowed.end(), tensor.dim()) != allowed.end()) return;
    Require(
        false, name,
        Alternatives(allowed, [](int64_t rank) { return std::to_string(rank); }) + " dimensions",
        ShapeText(tensor.sym_sizes()));
}

void ArgumentChecks::Shape(const char* name, const at::Tensor& tensor,
                           at::ArrayRef<c10::SymInt> expected) const {
    const auto actual = tensor.sym_sizes();
    if (actual.size() == expected.size() &&
        std::equal(actual.begin(), actual.end(), expected.begin()))
        return;
    Require(false, name, "shape " + ShapeText(expected), ShapeText(actual));
}

void ArgumentChecks::DType(const char* name, const at::Tensor& tensor,
                           std::initializer_list<at::ScalarType> allowed) const {
    if (std::find(allowed.begin(), allowed.end(), tensor.scalar_type()) != allowed.end()) return;
    Require(false, name,
            "dtype " +
                Alternatives(allowed,
                             [](at::ScalarType type) { return std::string(c10::toString(type)); }),
            c10::toString(tensor.scalar_type()));
}

void ArgumentChecks::Device(const char* name, const at::Tensor& tensor) const {
    if (tensor.device() == device_) return;
    Require(false, name, "device " + device_.str(), tensor.device().str());
}

void ArgumentChecks::Contiguous(const char* name, const at::Tensor& tensor) const {
    if (tensor.is_contiguous()) return;
    Require(false, name, "a contiguous tensor", "strides " + ShapeText(tensor.sym_strides()));
}

void ArgumentChecks::Dense(const char* name, const at::Tensor& tensor,
                           at::ArrayRef<c10::SymInt> expected,
                           std::initializer_list<at::ScalarType> allowed) const {
    Device(name, tensor);
    DType(name, tensor, allowed);
    Shape(name, tensor, expected);
    Contiguous(name, tensor);
}

}  // namespace ops
