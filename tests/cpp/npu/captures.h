// Captures of streams for the double of ACL, with the rules and error codes of the runtime.
//
// Sources: hicann/runtime docs/zh/dev_guide/04-02_cross_stream_capture.md (which streams a capture
// takes in, and what has to return), docs/zh/api_ref/25-01_aclError.md and
// include/external/acl/error_codes/rt_error_codes.h (codes). Where the pages leave open which code
// comes where, it is the one that the runtime's sources return there (src/runtime, of 2026).
#pragma once

#include <acl/acl.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace acl_double {

/// A stream waits in a capture for an event that was recorded outside of it, or in another one.
constexpr aclError kCaptureDependency = 107024;
/// At the end of a capture a stream that it took in has not returned.
constexpr aclError kStreamUnjoined = 107025;
/// A capture begins on a stream that is being captured.
constexpr aclError kStreamCaptured = 107027;
/// A capture ends on a stream that is not being captured.
constexpr aclError kStreamNotCaptured = 107029;
/// The default stream takes part in a capture.
constexpr aclError kCaptureImplicit = 107031;
/// An event connects the streams of two captures that both still run.
constexpr aclError kCaptureConflict = 107032;
/// A capture ends on a stream other than the one on which it began.
constexpr aclError kCaptureUnmatched = 107036;
/// A capture ends in which a call has failed.
constexpr aclError kCaptureInvalidated = 507903;

class Captures {
public:
    aclError Begin(aclrtStream stream);
    /// On success `calls` are those that a replay makes. The capture is over whatever it returns,
    /// but for kStreamNotCaptured and kCaptureUnmatched.
    aclError End(aclrtStream stream, std::vector<std::string>& calls);

    /// A call for a stream, other than the two below. Returns whether a capture has kept it; if not
    /// it is executed.
    bool Keep(aclrtStream stream, const std::string& call);
    /// The same for a record of an event, and for a wait, unless they are refused.
    aclError Record(aclrtEvent event, aclrtStream stream, const std::string& call, bool& kept);
    aclError Wait(aclrtStream stream, aclrtEvent event, const std::string& call, bool& kept);

private:
    struct Capture;

    /// What a record made of an event; it lasts as long as the event is not recorded again.
    struct Recorded {
        /// Empty where it was executed. Not an owner: a capture holds the last record of its
        /// streams.
        std::weak_ptr<Capture> capture;
        std::set<aclrtStream> waiting;  ///< streams that wait for it

        /// The capture in which it stands, as long as that has not ended.
        std::shared_ptr<Capture> Running() const;
    };

    struct Capture {
        aclrtStream origin = nullptr;
        bool running = true;
        bool invalid = false;
        std::vector<std::string> calls;
        /// By stream: its last call if that is a record, else null.
        std::map<aclrtStream, std::shared_ptr<Recorded>> last;
    };

    std::shared_ptr<Capture> Of(aclrtStream stream) const;
    bool HasReturned(const Capture& capture) const;

    std::map<aclrtStream, std::shared_ptr<Capture>> streams_;  ///< that are being captured
    std::map<aclrtEvent, std::shared_ptr<Recorded>> events_;
};

}  // namespace acl_double
