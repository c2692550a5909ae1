// Calls of a kernel that a launch can leave out or weaken, to see whether anything notices.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

namespace twin {

/// A synchronisation call or a rounding. Helpers that take their caller's site
/// (ascendc/call_site.h) stand for their caller.
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

/// What launches have reached.
struct CallLog {
    /// With where the instruction before the first of them stands: "file:line", or "start".
    std::map<CallSite, std::string> calls;
    /// Those that MutationKind::kWeaken changes: roundings, and a CrossCoreSetFlag that publishes
    /// work of its core. One right behind a CrossCoreWaitFlag only passes on what that has waited
    /// for, which is complete whatever its pipe (Order::kCrossWait).
    std::set<CallSite> weakened;
    /// A set and a wait that it let through; an event id taken and given back.
    std::set<std::pair<CallSite, CallSite>> met;
};

/// What becomes of a mutated call.
enum class MutationKind : uint8_t {
    /// A synchronisation call does nothing, AllocEventID names an id without taking it, a value is
    /// not rounded or, where that has no meaning, rounded down.
    kLeaveOut,
    /// CrossCoreSetFlag follows a pipe that has not done the work; a value is rounded down.
    kWeaken,
};

/// Calls that a launch changes.
struct Mutation {
    std::set<CallSite> calls;
    MutationKind kind = MutationKind::kLeaveOut;
};

}  // namespace twin
