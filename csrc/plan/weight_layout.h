// Memory layouts of a weight, by name, for planners and kernels.
#pragma once

#include <cstdint>

namespace plan {

// The two properties of a layout are bits of its value, so that kernels, which hold the value as a
// uint32_t, and planners ask for the same ones.
constexpr uint32_t kFractalBit = 1;  // FRACTAL_NZ: strips of 32 bytes, each column by column
constexpr uint32_t kInOutBit = 2;    // stored [in, out] = [k, n]; otherwise [out, in] = [n, k]

enum class WeightLayout : uint32_t {
    kOutIn = 0,                          // [n, k] row-major
    kOutInNz = kFractalBit,              // [k/16, n, 16]
    kInOut = kInOutBit,                  // [k, n] row-major
    kInOutNz = kInOutBit | kFractalBit,  // [n/16, k, 16], or [n/32, k, 32] for int8
};

/// Whether the weight is stored in FRACTAL_NZ; row-major otherwise.
constexpr bool IsFractal(WeightLayout layout) {
    return (static_cast<uint32_t>(layout) & kFractalBit) != 0;
}

/// Whether elements that follow each other in the K dimension are contiguous: [out, in]. Otherwise
/// those of the N dimension are: [in, out].
constexpr bool DepthIsContiguous(WeightLayout layout) {
    return (static_cast<uint32_t>(layout) & kInOutBit) == 0;
}

}  // namespace plan
