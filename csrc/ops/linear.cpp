#include "ops/linear.h"

#include <cmath>
#include <cstring>

#include "plan/units.h"

namespace ops {

namespace {

constexpr int64_t kStrip = plan::kStrip;
constexpr int64_t kLanes = plan::kLanes;
constexpr int64_t kByteStrip = plan::kBlockBytes;  // columns of an int8 fractal

void CheckQuant(const ArgumentChecks& check, const LinearArguments& linear,
                const c10::SymInt& out) {
    const auto name = [&](const char* suffix) { return ArgumentName(linear.prefix, suffix); };
    check.Dense(name("dequant_scale"), *linear.dequant_scale, {out}, {at::kFloat, at::kLong});
    if (linear.input_scale) {
        check.Dense(name("input_scale"), *linear.input_scale, {1}, {at::kFloat});
    }
    if (linear.input_offset) {
        check.Require(linear.input_scale.has_value(), name("input_offset"),
                      Text("None without '", name("input_scale"), "' (dynamic quantisation)"),
                      "a tensor");
        check.Dense(name("input_offset"), *linear.input_offset, {1}, {at::kFloat});
    }
    if (linear.quant_bias) {
        check.Dense(name("quant_bias"), *linear.quant_bias, {out}, {at::kInt});
    }
}

void CheckNoQuant(const ArgumentChecks& check, const LinearArguments& linear) {
    const std::pair<const char*, const std::optional<at::Tensor>&> others[] = {
        {"input_scale", linear.input_scale},
        {"input_offset", linear.input_offset},
        {"quant_bias", linear.quant_bias}};
    for (const auto& [suffix, tensor] : others) {
        check.Require(!tensor.has_value(), ArgumentName(linear.prefix, suffix),
                      Text("None without '", linear.prefix, "dequant_scale'"), "a tensor");
    }
}

}  // namespace

void CheckWeight(const ArgumentChecks& check, const char* name, const at::Tensor& weight,
                 const c10::SymInt& out, const c10::SymInt& in, at::ScalarType dtype) {
    check.Rank(name, weight, {2, 3});
    if (weight.dim() == 2) {
        check.Dense(name, weight, {out, in}, {dtype});
        check.RequireValue(!IsNz(weight, 2) || out % kStrip == 0, name,
                           "out features in a multiple of 16 where it is stored in FRACTAL_NZ",
                           out);
    } else {
        check.Dense(name, weight, {in / kStrip, out, kStrip}, {dtype});
    }
}

void CheckForm(const ArgumentChecks& check, const LinearArguments& linear, at::ScalarType dtype) {
    check.Rank(linear.weight_name, linear.weight, {2, 3});
    if (!linear.quantised()) CheckNoQuant(check, linear);
    check.DType(linear.weight_name, linear.weight, {linear.quantised() ? at::kChar : dtype});
}

void CheckLinear(const ArgumentChecks& check, const LinearArguments& linear, const c10::SymInt& out,
                 const c10::SymInt& in, at::ScalarType dtype) {
    const char* name = linear.weight_name;
    CheckForm(check, linear, dtype);
    if (!linear.quantised()) {
        CheckWeight(check, name, linear.weight, out, in, dtype);
        return;
    }
    const auto lanes = [](const c10::SymInt& size) { return size > 0 && size % kLanes == 0; };
    check.RequireValue(lanes(in) && lanes(out), name,
                       "int8 with in and out features in multiples of 64", ShapeText({in, out}));
    if (linear.weight.dim() == 2) {
        check.Dense(name, linear.weight, {in, out}, {at::kChar});
    } else {
        check.Dense(name, linear.weight, {out / kByteStrip, in, kByteStrip}, {at::kChar});
    }
    CheckQuant(check, linear, out);
}

void CheckScale(const ArgumentChecks& check, ArgumentName name, const OptionalTensor& scale) {
    if (!scale) return;
    const bool packed = scale->scalar_type() == at::kLong;
    const void* data = scale->const_data_ptr();
    for (int64_t i = 0; i < scale->numel(); ++i) {
        float value = 0;
        if (packed) {
            // The fp32 scale is in the low half; the kernel does not read the high half.
            const auto bits = static_cast<uint32_t>(static_cast<const int64_t*>(data)[i]);
            std::memcpy(&value, &bits, sizeof(value));
        } else {
            value = static_cast<const float*>(data)[i];
        }
        check.RequireValue(std::isfinite(value) && value > 0, name, "positive finite scales",
                           Text(value, " at index ", i));
    }
}

void CheckQuantValues(const ArgumentChecks& check, const LinearArguments& linear) {
    const auto name = [&](const char* suffix) { return ArgumentName(linear.prefix, suffix); };
    CheckScale(check, name("dequant_scale"), linear.dequant_scale);
    CheckScale(check, name("input_scale"), linear.input_scale);
    if (!linear.input_offset) return;
    const float offset = *linear.input_offset->const_data_ptr<float>();
    check.RequireValue(std::isfinite(offset), name("input_offset"), "a finite zero point", offset);
}

c10::SymInt OutFeatures(const LinearArguments& linear) {
    const at::Tensor& weight = linear.weight;
    if (!linear.quantised()) return weight.sym_size(weight.dim() == 2 ? 0 : 1);
    return weight.dim() == 2 ? weight.sym_size(1) : weight.sym_size(0) * kByteStrip;
}

plan::WeightLayout OutInLayout(const at::Tensor& weight) {
    return IsNz(weight, 2) ? plan::WeightLayout::kOutInNz : plan::WeightLayout::kOutIn;
}

plan::WeightLayout InOutLayout(const at::Tensor& weight, int64_t rank) {
    return IsNz(weight, rank) ? plan::WeightLayout::kInOutNz : plan::WeightLayout::kInOut;
}

LinearFormat FormatOf(const LinearArguments& linear) {
    if (!linear.quantised()) return plan::Plain(OutInLayout(linear.weight));
    const bool packed = linear.dequant_scale->scalar_type() == at::kLong;
    return plan::W8A8(
        InOutLayout(linear.weight, 2),
        linear.input_scale ? plan::LinearScales::kStatic : plan::LinearScales::kDynamic,
        packed ? plan::ScaleType::kPackedInt64 : plan::ScaleType::kFloat);
}

QuantAddresses BindQuant(LaunchTensors& tensors, const LinearArguments& linear) {
    const auto bind = [&](const char* suffix, const std::optional<at::Tensor>& tensor) {
        return tensors.Read(ArgumentName(linear.prefix, suffix), tensor);
    };
    return {bind("dequant_scale", linear.dequant_scale), bind("input_scale", linear.input_scale),
            bind("input_offset", linear.input_offset), bind("quant_bias", linear.quant_bias)};
}

}  // namespace ops
