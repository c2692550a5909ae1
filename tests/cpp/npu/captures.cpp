#include "captures.h"

#include <iterator>
#include <utility>

namespace acl_double {

std::shared_ptr<Captures::Capture> Captures::Of(aclrtStream stream) const {
    const auto found = streams_.find(stream);
    return found == streams_.end() ? nullptr : found->second;
}

std::shared_ptr<Captures::Capture> Captures::Recorded::Running() const {
    std::shared_ptr<Capture> known = capture.lock();
    return known != nullptr && known->running ? known : nullptr;
}

aclError Captures::Begin(aclrtStream stream) {
    if (stream == nullptr) return kCaptureImplicit;
    if (Of(stream) != nullptr) return kStreamCaptured;
    auto capture = std::make_shared<Capture>();
    capture->origin = stream;
    streams_[stream] = std::move(capture);
    return ACL_SUCCESS;
}

// Every stream that was taken in ends with a record that another stream awaits, and one of these is
// the stream on which the capture began.
bool Captures::HasReturned(const Capture& capture) const {
    bool to_origin = false;
    bool alone = true;
    for (const auto& [stream, recorded] : capture.last) {
        if (stream == capture.origin) continue;
        alone = false;
        if (recorded == nullptr) return false;
        bool awaited = false;
        for (aclrtStream waiting : recorded->waiting) {
            awaited = awaited || waiting != stream;
            to_origin = to_origin || waiting == capture.origin;
        }
        if (!awaited) return false;
    }
    return alone || to_origin;
}

aclError Captures::End(aclrtStream stream, std::vector<std::string>& calls) {
    const std::shared_ptr<Capture> capture = Of(stream);
    if (capture == nullptr) return kStreamNotCaptured;
    if (capture->origin != stream) return kCaptureUnmatched;
    capture->running = false;
    for (auto it = streams_.begin(); it != streams_.end();) {
        it = it->second == capture ? streams_.erase(it) : std::next(it);
    }
    if (capture->invalid) return kCaptureInvalidated;
    if (!HasReturned(*capture)) return kStreamUnjoined;
    calls = std::move(capture->calls);
    return ACL_SUCCESS;
}

bool Captures::Keep(aclrtStream stream, const std::string& call) {
    const std::shared_ptr<Capture> capture = Of(stream);
    if (capture == nullptr) return false;
    capture->calls.push_back(call);
    capture->last[stream] = nullptr;
    return true;
}

aclError Captures::Record(aclrtEvent event, aclrtStream stream, const std::string& call,
                          bool& kept) {
    const std::shared_ptr<Capture> capture = Of(stream);
    std::shared_ptr<Recorded>& recorded = events_[event];
    const std::shared_ptr<Capture> other = recorded == nullptr ? nullptr : recorded->Running();
    if (capture != nullptr && other != nullptr && other != capture) {
        other->invalid = capture->invalid = true;
        return kCaptureConflict;
    }
    recorded = std::make_shared<Recorded>();
    recorded->capture = capture;
    kept = Keep(stream, call);
    if (kept) capture->last[stream] = recorded;
    return ACL_SUCCESS;
}

aclError Captures::Wait(aclrtStream stream, aclrtEvent event, const std::string& call, bool& kept) {
    const std::shared_ptr<Capture> capture = Of(stream);
    const std::shared_ptr<Recorded> recorded = events_[event];
    const std::shared_ptr<Capture> other = recorded == nullptr ? nullptr : recorded->Running();
    if (other != nullptr) {
        if (stream == nullptr) return kCaptureImplicit;
        if (capture != nullptr && capture != other) {
            other->invalid = capture->invalid = true;
            return kCaptureConflict;
        }
        streams_[stream] = other;  // from here on a part of the capture
        recorded->waiting.insert(stream);
    } else if (capture != nullptr && recorded != nullptr) {
        return kCaptureDependency;
    }
    kept = Keep(stream, call);
    return ACL_SUCCESS;
}

}  // namespace acl_double
