// Ranges that the profilers of CANN show on the timeline of a stream (mstx).
#pragma once

#include <acl/acl.h>

#include <cstdint>

namespace npu {

/// From construction to destruction, on the host and on `stream`. Off unless the environment
/// variable ASCEND_PREFETCH_MSTX is 1 when the first range begins: a range is two more tasks on the
/// stream. Kernels have their names in any profile, ranges or not.
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
