// GM workspace of a kernel, handed out buffer after buffer.
#pragma once

#include <cstdint>

#include "plan/units.h"

namespace plan {

class Workspace {
public:
    /// Byte offset of a new buffer.
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
