// The side stream of prefetches: it is forked from the stream that issues them, and joined to that
// stream again.
#pragma once

#include <acl/acl.h>

#include <vector>

#include "npu/device.h"

namespace npu {

/// The side stream of one main stream. Its functions are called only by the thread that issues work
/// to the main stream.
///
/// Forks and joins are stream and event operations, so a capture of the main stream includes the
/// side stream from the fork on; it has to be joined before the capture ends (error 107025
/// otherwise). One pair of events serves all forks: a record replaces what the event stood for, and
/// leaves earlier waits as they are (hicann/runtime docs/zh/api_ref/07_event_management.md,
/// aclrtRecordEvent).
class SideStream {
public:
    /// `stream` runs the prefetches of `main`; both outlive the object.
    SideStream(aclrtStream main, aclrtStream stream) : main_(main), stream_(stream) {}
    SideStream(const SideStream&) = delete;
    SideStream& operator=(const SideStream&) = delete;
    /// Does not destroy the events, because captured graphs replay them.
    ~SideStream() = default;

    /// Makes what is issued to the side stream next wait for everything issued to the main stream
    /// so far.
    void Fork();
    /// Prefetches ranges by SDMA.
    void Prefetch(const std::vector<MemoryRange>& ranges);
    /// Makes the main stream wait for everything issued to the side stream so far. It does nothing
    /// where no fork is open: an event that was recorded before a capture may not be awaited in it
    /// (error 107024).
    void Join();

    aclrtStream stream() const { return stream_; }

private:
    void MakeEvents();

    aclrtStream main_;
    aclrtStream stream_;
    aclrtEvent forked_ = nullptr;
    aclrtEvent done_ = nullptr;
    bool open_ = false;
};

}  // namespace npu
