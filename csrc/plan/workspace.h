// Allocates a kernel's GM workspace, one buffer after the other.
#pragma once

#include <cstdint>

#include "plan/rounding.h"
#include "plan/units.h"

namespace plan {

class Workspace {
public:
    /// Allocates a buffer and returns its byte offset.
    uint64_t Take(uint64_t bytes) {
        const uint64_t begin = bytes_;
        bytes_ += RoundUp(bytes, kGmAlignment);
        return begin;
    }
    uint64_t Bytes() const { return bytes_; }

private:
    uint64_t bytes_ = 0;
};

}  // namespace plan
