// The mathematics of the fused ops as separate kernels, launched one after the other: a product, a
// norm, a cache write or a rotation each. They are built from the same blocks with the same tiles
// as the fused kernels, and stand for what a model runs without them.
#pragma once

#include "ops/run_kernel.h"
#include "plan/o_proj_plan.h"
#include "plan/prolog_plan.h"

namespace ops {

/// mla_prolog or sfa_prolog with the arguments of the fused kernel; nothing is prefetched.
void RunPrologSeparately(const PrologAddresses& addresses, const PrologPlan& plan, bool bf16,
                         const Target& target, LaunchTensors& tensors);

/// A kernel of o_proj.
using OProjKernel = void(OProjAddresses addresses, OProjPlan plan);

/// o_proj likewise. Where W8A8 or a bias finish the sums, the kernel of the linear layer does that
/// itself, as the frameworks' own kernels do: that is `kernel`, the fused one, without W_UV.
void RunOProjSeparately(const OProjAddresses& addresses, const OProjPlan& plan,
                        Kernel<OProjAddresses, OProjPlan> kernel, bool bf16, const Target& target,
                        LaunchTensors& tensors);

}  // namespace ops
