// The device that stands in for that of CPU tensors while calls are only planned (ops/plan_log.h).
#pragma once

#include "npu/device.h"

namespace ops {

/// A device that ignores launches; its chip is HostChip().
npu::Device& PlanningDevice();

}  // namespace ops
