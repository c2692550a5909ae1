// The mathematics of the fused ops as separate kernels, launched one after the other: a product, a
// norm, a cache write or a rotation each. They are built from the same blocks with the same tiles
// as the fused kernels, and stand for what a model runs without them.
#pragma once

#include "lab/twin_device.h"

namespace lab {

/// Runs the launch of a fused kernel as separate ones; nothing is prefetched. Where W8A8 or a bias
/// finish the sums of o_proj, the kernel of the linear layer does that itself, as the frameworks'
/// own kernels do: that is the fused one, without W_UV. Returns false, and does nothing, for
/// kernels that are not fused.
bool RunSeparately(const npu::KernelLaunch& launch, TwinLaunches& launches);

}  // namespace lab
