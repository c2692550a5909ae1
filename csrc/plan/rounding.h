// Rounding of sizes in planners. Kernels have their own, whose calls the twin can change.
#pragma once

#include <cstdint>

namespace plan {

/// The number of units needed to hold `value`.
constexpr uint64_t CeilDiv(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit; }
/// `value`, rounded up to a multiple of `unit`.
constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) { return CeilDiv(value, unit) * unit; }

}  // namespace plan
