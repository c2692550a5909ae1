// Runs kernels on the host twin for CPU tensors.
#pragma once

#include <functional>
#include <string>

#include "arch/chip.h"
#include "ops/launch_tensors.h"
#include "twin/launch.h"

namespace ops {

struct TwinLaunch {
    std::string kernel;
    twin::KernelKind kind = twin::KernelKind::kMixAic1Aiv2;
    uint32_t block_count = 0;  ///< 0: all cores of the chip
};

/// Runs a kernel that was planned for `chip`.
void RunOnTwin(const TwinLaunch& launch, const arch::Chip& chip, LaunchTensors& tensors,
               const std::function<void()>& body);

}  // namespace ops
