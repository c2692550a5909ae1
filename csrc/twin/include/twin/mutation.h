// Mutation of kernels: a launch can leave out or weaken single calls of a kernel, to test whether
// the sanitizer or the results show it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

namespace twin {

/// A synchronisation call or a rounding. Calls in helpers that take their caller's site
/// (ascendc/call_site.h) count as calls of the caller.
struct CallSite {
    std::string kind;  ///< e.g. "PipeBarrier<V>", "SetFlag<MTE2_V>", "RoundUp"
    std::string site;  ///< "file:line"

    bool operator<(const CallSite& other) const {
        return std::tie(kind, site) < std::tie(other.kind, other.site);
    }
    bool operator==(const CallSite& other) const {
        return kind == other.kind && site == other.site;
    }
};

/// The calls that launches have reached.
struct CallLog {
    /// Every call, with the site of the instruction before its first execution: "file:line", or
    /// "start".
    std::map<CallSite, std::string> calls;
    /// The calls on which MutationKind::kWeaken has an effect: roundings, and each CrossCoreSetFlag
    /// that publishes work of its core. A CrossCoreSetFlag directly after a CrossCoreWaitFlag is
    /// not among them: it only passes on what the wait has waited for, which is complete whatever
    /// pipe the set names (Order::kCrossWait).
    std::set<CallSite> weakened;
    /// Pairs of a set and a wait that it released, and of the calls that took an event id and gave
    /// it back.
    std::set<std::pair<CallSite, CallSite>> met;
};

/// How a mutated call is changed.
enum class MutationKind : uint8_t {
    /// A synchronisation call does nothing; AllocEventID returns an id without taking it; a value
    /// is not rounded or, where that has no meaning, rounded down.
    kLeaveOut,
    /// CrossCoreSetFlag names a pipe other than the one that has done the work; a value is rounded
    /// down.
    kWeaken,
};

/// The calls that a launch changes, and how.
struct Mutation {
    std::set<CallSite> calls;
    MutationKind kind = MutationKind::kLeaveOut;
};

}  // namespace twin
