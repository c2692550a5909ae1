// Settings of the host twin behind CPU tensors: which chip it plays, and whether launches are
// traced.
#pragma once

#include <string>
#include <vector>

#include "arch/chip.h"

namespace ops {

/// The chip that CPU launches play; Ascend910_9391 until set. Throws std::invalid_argument for
/// unknown names.
void SetTwinChip(const std::string& name);
const arch::Chip& TwinChip();

/// Between Start and Take every launch appends a serialised trace (twin/trace_format.h). A second
/// Start before Take throws std::logic_error.
void StartTracing();
std::vector<std::string> TakeTraces();

bool Tracing();
void AddTrace(std::string trace);

}  // namespace ops
