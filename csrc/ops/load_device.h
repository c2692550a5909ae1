// The devices behind the ops, without torch: for the Python modules.
#pragma once

#include <string>

namespace npu {
class Device;
}

namespace ops {

/// Tensors of the type that the library at `path` names are run by its device from now on. Throws
/// std::runtime_error where the library cannot be loaded or has no usable device.
void LoadDevice(const std::string& path);
/// SoC name of the device that is loaded; empty without one. Throws std::runtime_error, one line,
/// where its chip cannot be used. The first call starts the device's runtime.
std::string DeviceChip();
/// The host's device runs CPU tensors again, nothing those of other types.
void UnloadDevice();
/// The device that is loaded; null without one.
npu::Device* LoadedDevice();

/// CPU tensors are run by this device, unless a loaded one runs them. It is never destroyed.
void SetHostDevice(npu::Device* device);
/// SoC name that CPU tensors are planned for.
std::string HostChipName();

}  // namespace ops
