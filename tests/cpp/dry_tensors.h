// The arguments of a dry launch: tensors without memory, all large enough.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "twin/launch.h"

/// Adds a tensor of `bytes` bytes to a dry launch for every address of the kernel's struct of
/// addresses, and returns the struct.
template <typename Addresses>
Addresses AddDryTensors(twin::LaunchConfig& config, uint64_t bytes) {
    constexpr size_t kCount = sizeof(Addresses) / sizeof(uint64_t);
    uint64_t numbers[kCount];
    for (size_t i = 0; i < kCount; ++i) {
        numbers[i] = (i + 1) * bytes;
        twin::GmTensor tensor;
        tensor.name = "tensor " + std::to_string(i);
        tensor.data = reinterpret_cast<void*>(numbers[i]);
        tensor.bytes = bytes;
        tensor.writable = true;
        tensor.present = false;
        config.tensors.push_back(tensor);
    }
    Addresses addresses;
    std::memcpy(&addresses, numbers, sizeof(addresses));
    return addresses;
}
