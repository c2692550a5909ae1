// Linear layers as arguments of ops: 16-bit weights [out, in] or int8 weights [in, out], row-major
// or FRACTAL_NZ, with their quantisation.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include <optional>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/launch_tensors.h"
#include "plan/plan_linear.h"

namespace ops {

using OptionalTensor = std::optional<at::Tensor>;

struct LinearArguments {
    LinearArguments(const char* weight_name, const char* prefix)
        : weight_name(weight_name), prefix(prefix) {}

    const char* weight_name;
    const char* prefix;  ///< prefix of the other arguments' names, e.g. "q_b_"
    at::Tensor weight;
    OptionalTensor dequant_scale;
    OptionalTensor input_scale;
    OptionalTensor input_offset;
    OptionalTensor quant_bias;

    bool quantised() const { return dequant_scale.has_value(); }
};

/// Visits the arguments that a quantised layer has beside its weight.
template <typename Linear, typename Visit>
void VisitQuant(Linear& linear, Visit&& visit) {
    visit(ArgumentName(linear.prefix, "dequant_scale"), linear.dequant_scale);
    visit(ArgumentName(linear.prefix, "input_scale"), linear.input_scale);
    visit(ArgumentName(linear.prefix, "input_offset"), linear.input_offset);
    visit(ArgumentName(linear.prefix, "quant_bias"), linear.quant_bias);
}

/// Visits all arguments of a layer (ops/arguments.h).
template <typename Visit>
void VisitArguments(LinearArguments& linear, Visit&& visit) {
    visit(linear.weight_name, linear.weight);
    VisitQuant(linear, visit);
}

/// Checks a weight [out, in] of `dtype`, or in FRACTAL_NZ [in/16, out, 16].
void CheckWeight(const ArgumentChecks& check, const char* name, const at::Tensor& weight,
                 const c10::SymInt& out, const c10::SymInt& in, at::ScalarType dtype);

/// Checks the form of a layer: rank and dtype of the weight, and that only an int8 weight has
/// scales. 16-bit weights are of `dtype`.
void CheckForm(const ArgumentChecks& check, const LinearArguments& linear, at::ScalarType dtype);

/// Checks all arguments of a linear layer from `in` to `out` features. 16-bit weights are of
/// `dtype`.
void CheckLinear(const ArgumentChecks& check, const LinearArguments& linear, const c10::SymInt& out,
                 const c10::SymInt& in, at::ScalarType dtype);

/// Checks that scales are positive and finite, and that a zero point is finite. Reads the values,
/// so it is for CPU tensors only.
void CheckQuantValues(const ArgumentChecks& check, const LinearArguments& linear);
void CheckScale(const ArgumentChecks& check, ArgumentName name, const OptionalTensor& scale);

/// Number of output features; valid after CheckForm.
c10::SymInt OutFeatures(const LinearArguments& linear);

/// Layouts of checked weights: OutInLayout of [out, in]; InOutLayout of [in, out], or of [N, in,
/// out] if `rank` is 3.
plan::WeightLayout OutInLayout(const at::Tensor& weight);
plan::WeightLayout InOutLayout(const at::Tensor& weight, int64_t rank);

/// The format of a checked layer. The scales are static where the layer has an input_scale, and
/// dynamic without one: this is the only place that infers it.
LinearFormat FormatOf(const LinearArguments& linear);

/// Registers scales, offset and bias with the launch.
QuantAddresses BindQuant(LaunchTensors& tensors, const LinearArguments& linear);

}  // namespace ops
