// The device behind the ops, without torch: for the Python module.
#pragma once

#include <string>

namespace ops {

/// Tensors of the type that the library at `path` names are run by its device from now on. Throws
/// std::runtime_error where the library cannot be loaded or has no usable device.
void LoadDevice(const std::string& path);
/// SoC name of the device that is loaded; empty without one. Throws std::runtime_error, one line,
/// where its chip cannot be used. The first call starts the device's runtime.
std::string DeviceChip();
/// CPU tensors run on the twin again, others not at all.
void UnloadDevice();

}  // namespace ops
