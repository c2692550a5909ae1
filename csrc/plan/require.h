// The error that planners throw for a quantity they cannot plan for.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace plan {

/// Throws std::invalid_argument "<quantity>: expected <expected>, got <actual>" unless `condition`.
inline void Require(bool condition, const std::string& quantity, const std::string& expected,
                    uint64_t actual) {
    if (condition) return;
    throw std::invalid_argument(quantity + ": expected " + expected + ", got " +
                                std::to_string(actual));
}

}  // namespace plan
