// The interface through which ops use a device that runs kernels. It is implemented with torch_npu
// in npu/torch_npu.cpp, which is a library of its own: the Python module neither links nor includes
// anything of CANN. Where the laboratory is installed, the host has a device too
// (lab/twin_device.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "npu/kernel_launch.h"

namespace at {
class Tensor;
}

namespace npu {

struct MemoryRange {
    uint64_t address;
    uint64_t bytes;
};

/// Everything runs on the tensors' device, which is the current one, and on its current stream, in
/// the order of the calls and of torch's own ops; it blocks neither the host nor the stream. Errors
/// found on the host are thrown at once; errors of queued work are thrown by a later call, as for
/// torch's own ops.
class Device {
public:
    virtual ~Device() = default;

    /// The c10::DeviceType of the tensors that this device runs.
    virtual int8_t TensorType() const = 0;
    /// SoC name, such as "Ascend910_9391". Throws std::runtime_error, with one line of text, if the
    /// chip cannot be used.
    virtual const char* SocName() = 0;

    virtual void Launch(const KernelLaunch& launch) = 0;

    /// Launches a kernel that only reads, on the side stream of the current stream, after
    /// everything issued to the current stream so far. `tensors` hold what it reads. A device
    /// without streams runs it at once.
    virtual void LaunchBeside(const KernelLaunch& launch, const at::Tensor* /*tensors*/,
                              size_t /*count*/) {
        Launch(launch);
    }

    /// Whether launches have to describe the tensors that they may access.
    virtual bool ChecksAccesses() const { return false; }
    /// Whether the host may read the values of tensors without waiting for anything.
    virtual bool HostReads() const { return false; }
    /// Whether kernels compute. If they do not, only slot mappings need to have valid values.
    virtual bool Computes() const { return true; }

    /// Whether the last two dimensions of a tensor are stored in FRACTAL_NZ although its shape is
    /// that of the row-major matrix.
    virtual bool IsStoredNz(const at::Tensor& tensor) = 0;

    /// Loads ranges into L2 by SDMA, where LaunchBeside launches. Range i lies in tensors[i].
    virtual void Prefetch(const MemoryRange* ranges, const at::Tensor* tensors, size_t count) = 0;
    /// Makes the current stream wait for all that was issued to its side stream.
    virtual void JoinPrefetches() = 0;
};

/// A library with a device exports one function of this type and name. The function does not start
/// the device's runtime; the first use of the device does.
using MakeDevice = Device*();
constexpr const char* kMakeDevice = "ascend_prefetch_make_device";

}  // namespace npu
