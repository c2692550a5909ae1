// Stands for the device of CPU tensors while calls are only planned (ops/plan_log.h).
#pragma once

#include "npu/device.h"

namespace ops {

/// Takes launches and does nothing; its chip is HostChip().
npu::Device& PlanningDevice();

}  // namespace ops
