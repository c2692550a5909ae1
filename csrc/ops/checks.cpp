#include "ops/checks.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace ops {

namespace {

template <typename Range>
std::string Alternatives(const Range& values) {
    std::ostringstream text;
    bool first = true;
    for (const auto& value : values) {
        if (!first) text << " or ";
        text << value;
        first = false;
    }
    return text.str();
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const ShapeText& text) {
    out << "[";
    for (size_t i = 0; i < text.shape_.size(); ++i) out << (i == 0 ? "" : ", ") << text.shape_[i];
    return out << "]";
}

void ArgumentChecks::Fail(Error error, const ArgumentName& name, const std::string& expected,
                          const std::string& actual) const {
    const std::string message = std::string("ascend_prefetch::") + op_ + ": argument '" +
                                name.str() + "': expected " + expected + ", got " + actual;
    TORCH_CHECK_VALUE(error != Error::kValue, message);
    TORCH_CHECK(false, message);
}

void ArgumentChecks::Rank(ArgumentName name, const at::Tensor& tensor,
                          std::initializer_list<int64_t> allowed) const {
    if (std::find(allowed.begin(), allowed.end(), tensor.dim()) != allowed.end()) return;
    Require(false, name, Text(Alternatives(allowed), " dimensions"), ShapeText(tensor.sym_sizes()));
}

void ArgumentChecks::Shape(ArgumentName name, const at::Tensor& tensor,
                           at::ArrayRef<c10::SymInt> expected) const {
    const auto actual = tensor.sym_sizes();
    if (actual.size() == expected.size() &&
        std::equal(actual.begin(), actual.end(), expected.begin()))
        return;
    Require(false, name, Text("shape ", ShapeText(expected)), ShapeText(actual));
}

void ArgumentChecks::DType(ArgumentName name, const at::Tensor& tensor,
                           std::initializer_list<at::ScalarType> allowed) const {
    if (std::find(allowed.begin(), allowed.end(), tensor.scalar_type()) != allowed.end()) return;
    Require(false, name, Text("dtype ", Alternatives(allowed)), tensor.scalar_type());
}

void ArgumentChecks::Device(ArgumentName name, const at::Tensor& tensor) const {
    Require(tensor.device() == device_, name, Text("device ", device_), tensor.device());
}

void ArgumentChecks::Contiguous(ArgumentName name, const at::Tensor& tensor) const {
    if (tensor.is_contiguous()) return;
    Require(false, name, "a contiguous tensor", Text("strides ", ShapeText(tensor.sym_strides())));
}

void ArgumentChecks::Dense(ArgumentName name, const at::Tensor& tensor,
                           at::ArrayRef<c10::SymInt> expected,
                           std::initializer_list<at::ScalarType> allowed) const {
    Device(name, tensor);
    DType(name, tensor, allowed);
    Shape(name, tensor, expected);
    Contiguous(name, tensor);
}

}  // namespace ops
