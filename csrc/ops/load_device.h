// Loads and selects the devices of the ops. This header needs no torch, for the Python modules.
#pragma once

#include <string>

namespace npu {
class Device;
}

namespace ops {

/// Loads the device in the library at `path`, which from now on runs the tensors of its type.
/// Throws std::runtime_error if the library cannot be loaded or has no usable device.
void LoadDevice(const std::string& path);
/// SoC name of the loaded device; empty if none is loaded. Throws std::runtime_error, with one line
/// of text, if its chip cannot be used. The first call starts the device's runtime.
std::string DeviceChip();
/// Unloads the device: the host's device runs CPU tensors again, and no device runs other tensors.
void UnloadDevice();
/// The loaded device; null if none is loaded.
npu::Device* LoadedDevice();

/// Sets the device that runs CPU tensors unless a loaded one runs them. It is never destroyed.
void SetHostDevice(npu::Device* device);
/// SoC name of the chip for which CPU tensors are planned.
std::string HostChipName();

}  // namespace ops
