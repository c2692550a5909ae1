// Runs the computation of a fused op as separate kernels, one after the other, each of which is one
// product, norm, cache write or rotation. They are built from the same blocks with the same tiles
// as the fused kernels, and represent what a model runs without fused kernels.
#pragma once

#include "lab/twin_device.h"

namespace lab {

/// Runs the launch of a fused kernel as separate kernels; nothing is prefetched. If o_proj has an
/// epilogue (W8A8 or a bias), the linear layer and its epilogue are one kernel, as in the
/// frameworks: the fused one, without W_UV. Returns false, and does nothing, for kernels that are
/// not fused.
bool RunSeparately(const npu::KernelLaunch& launch, TwinLaunches& launches);

}  // namespace lab
