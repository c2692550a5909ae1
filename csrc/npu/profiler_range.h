// Ranges that the profilers of CANN show on the timeline of a stream (mstx).
#pragma once

#include <acl/acl.h>

#include <cstdint>

namespace npu {

/// A range from construction to destruction, on the host and on `stream`. Ranges are off unless the
/// environment variable ASCEND_PREFETCH_MSTX is 1 when the first range begins, because each adds
/// two tasks to the stream. Profiles show kernels by name with and without ranges.
class ProfilerRange {
public:
    ProfilerRange(const char* name, aclrtStream stream);
    ~ProfilerRange();
    ProfilerRange(const ProfilerRange&) = delete;
    ProfilerRange& operator=(const ProfilerRange&) = delete;

private:
    uint64_t id_ = 0;
};

}  // namespace npu
