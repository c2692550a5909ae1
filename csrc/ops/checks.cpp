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

bool IsPending(const at::Tensor& tensor) {
    constexpr c10::DispatchKeySet kPending(
        {c10::DispatchKey::Negative, c10::DispatchKey::Conjugate, c10::DispatchKey::ZeroTensor});
    return tensor.key_set().has_any(kPending);
}

void ArgumentChecks::Fail(Error error, const ArgumentName& name, const std::string& expected,
                          const std::string& actual) const {
    const std::string message = std::string("ascend_prefetch::") + op_ + ": argument '" +
                                name.str() + "': expected " + expected + ", got " + actual;
    TORCH_CHECK_VALUE(error != Error::kValue, message);
    TORCH_CHECK(false, message);
}

void ArgumentChecks::Strided(const ArgumentName& name, const at::Tensor& tensor) const {
    const c10::DeviceType type = tensor.device().type();
    const bool backend = type == at::kCPU || type == at::kPrivateUse1 || type == at::kMeta;
    const bool strided = tensor.layout() == at::kStrided && !tensor.is_quantized() &&
                         !tensor.is_nested() && tensor.unsafeGetTensorImpl()->has_storage();
    if (backend && strided) return;
    std::ostringstream kind;
    if (tensor.is_nested()) {
        kind << "a nested tensor";
    } else if (tensor.is_quantized()) {
        kind << "a quantized tensor (" << tensor.scalar_type() << ")";
    } else if (tensor.layout() == at::kStrided && !strided) {
        kind << "a tensor without storage";
    } else {
        kind << tensor.layout();
    }
    Require(false, name, "a dense tensor on cpu, npu or meta",
            Text(kind.str(), " on ", tensor.device()));
}

void ArgumentChecks::Resolved(const ArgumentName& name, const at::Tensor& tensor) const {
    if (!IsPending(tensor)) return;
    Require(false, name, "a tensor whose bytes are its values (see Tensor.resolve_neg)",
            tensor._is_zerotensor() ? "zeros without memory"
            : tensor.is_neg()       ? "a negative view"
                                    : "a conjugate view");
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
