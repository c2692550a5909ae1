// The side stream of SDMA prefetches: it is forked from the stream that issues them, and joined to
// that stream again.
#pragma once

#include <acl/acl.h>

#include <vector>

#include "npu/device.h"

namespace npu {

/// The side stream of one main stream. Its functions are called only by the thread that issues work
/// to the main stream.
///
/// Only stream and event operations are used, so a capture of the main stream includes the side
/// stream from the fork on; it has to be joined before the capture ends (error 107025 otherwise).
class SideStream {
public:
    /// `stream` runs the prefetches of `main`; both outlive the object.
    SideStream(aclrtStream main, aclrtStream stream) : main_(main), stream_(stream) {}
    SideStream(const SideStream&) = delete;
    SideStream& operator=(const SideStream&) = delete;
    /// Does not destroy the events, because captured graphs replay them.
    ~SideStream() = default;

    /// Prefetches ranges after everything issued to the main stream so far.
    void Prefetch(const std::vector<MemoryRange>& ranges);
    /// Makes the main stream wait for everything issued to the side stream so far.
    void Join();

private:
    void MakeEvents();

    aclrtStream main_;
    aclrtStream stream_;
    aclrtEvent forked_ = nullptr;
    aclrtEvent done_ = nullptr;
};

}  // namespace npu
