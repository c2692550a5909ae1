// What the ops need of a device that runs kernels. Implemented with torch_npu in npu/torch_npu.cpp,
// which is a library of its own: the Python module neither links nor includes anything of CANN.
// Hosts have a device too, where the laboratory is installed (lab/twin_device.h).
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

/// Everything happens on the current device, that of the tensors, and its current stream, in the
/// order of the calls and of torch's own ops, and blocks neither host nor stream. Errors of the
/// host side are thrown where they are found; those of work that is queued come with a later call,
/// as for torch's own ops.
class Device {
public:
    virtual ~Device() = default;

    /// Of a c10::Device: the tensors that are run here.
    virtual int8_t TensorType() const = 0;
    /// "Ascend910_9391". Throws std::runtime_error, one line, where the chip cannot be used.
    virtual const char* SocName() = 0;

    virtual void Launch(const KernelLaunch& launch) = 0;

    /// Whether launches say which tensors they may touch.
    virtual bool ChecksAccesses() const { return false; }
    /// Whether the host may read what tensors hold without waiting for anything.
    virtual bool HostReads() const { return false; }
    /// Whether kernels compute. Where they do not, tensors need not hold any values but slots.
    virtual bool Computes() const { return true; }

    /// Whether a tensor is stored in FRACTAL_NZ of its last two dimensions although its shape is
    /// that of the matrix.
    virtual bool IsStoredNz(const at::Tensor& tensor) = 0;

    /// Loads ranges into L2 by SDMA on a side stream of the current stream, behind what is on the
    /// current stream now. `tensors` hold the ranges.
    virtual void Prefetch(const MemoryRange* ranges, const at::Tensor* tensors, size_t count) = 0;
    /// The current stream waits for all prefetches issued from it.
    virtual void JoinPrefetches() = 0;
};

/// A library with a device exports one function of this type and name. It starts nothing: the first
/// use of the device does.
using MakeDevice = Device*();
constexpr const char* kMakeDevice = "ascend_prefetch_make_device";

}  // namespace npu
