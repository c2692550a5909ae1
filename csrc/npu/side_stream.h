// The side stream of SDMA prefetches: forked from the stream they are issued from, joined to it
// again.
#pragma once

#include <acl/acl.h>

#include <vector>

#include "npu/device.h"

namespace npu {

/// Of one stream. The functions are called by the one thread that issues work to that stream.
///
/// Nothing but stream and event operations is used, so that a capture of the stream takes the side
/// stream in at the fork; it has to be joined before the capture ends (107025 otherwise).
class SideStream {
public:
    /// `stream` runs the prefetches of `main`; both outlive the object.
    SideStream(aclrtStream main, aclrtStream stream) : main_(main), stream_(stream) {}
    SideStream(const SideStream&) = delete;
    SideStream& operator=(const SideStream&) = delete;
    /// Keeps the events: what was captured replays them.
    ~SideStream() = default;

    /// Prefetches ranges behind what is on the main stream now.
    void Prefetch(const std::vector<MemoryRange>& ranges);
    /// The main stream waits for what the side stream has been given.
    void Join();

private:
    void MakeEvents();

    aclrtStream main_;
    aclrtStream stream_;
    aclrtEvent forked_ = nullptr;
    aclrtEvent done_ = nullptr;
};

}  // namespace npu
