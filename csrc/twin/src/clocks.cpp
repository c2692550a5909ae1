#include "clocks.h"

#include <algorithm>

#include "core.h"

namespace twin {

Clocks::Clocks(size_t cores, const Order* without) : without_(without), cores_(cores) {
    for (CoreClocks& core : cores_) {
        for (Clock& clock : core.known) clock.assign(cores * kSlots, 0);
    }
}

void Clocks::Join(Order rule, Clock& into, const Clock& from) const {
    if (!Holds(rule)) return;
    for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

uint32_t Clocks::Begin(uint32_t core, TracePipe pipe) {
    Issue(core, pipe);
    const uint32_t time = ++cores_[core].issued[static_cast<uint32_t>(pipe)];
    if (pipe == TracePipe::kS && Holds(Order::kScalar)) {
        cores_[core].known[0][Slot(core, pipe)] = time - 1;
    }
    return time;
}

// Whatever the scalar unit has waited for is complete when it issues the next instruction. Its own
// reads and writes are not ordered by that: they need an event.
void Clocks::Issue(uint32_t core, TracePipe pipe) {
    CoreClocks& clocks = cores_[core];
    const auto index = static_cast<uint32_t>(pipe);
    if (pipe == TracePipe::kS || clocks.scalar_seen[index] == clocks.scalar_version) return;
    Clock& known = clocks.known[index];
    const uint32_t own = known[Slot(core, TracePipe::kS)];
    Join(Order::kIssue, known, clocks.known[0]);
    known[Slot(core, TracePipe::kS)] = own;
    clocks.scalar_seen[index] = clocks.scalar_version;
}

/// What is known to be complete once all instructions issued to `pipe` so far are.
Clocks::Clock Clocks::Complete(uint32_t core, TracePipe pipe) const {
    const auto index = static_cast<uint32_t>(pipe);
    Clock clock = cores_[core].known[index];
    clock[Slot(core, pipe)] = cores_[core].issued[index];
    return clock;
}

// "相同流水、相同eventID下，连续使用SetFlag会引发未定义行为" (SetFlag-WaitFlag(ISASI)): the flag is
// one bit, and a set does not wait until the other pipe has consumed the last one. A WaitFlag
// between the two sets in program order does not tell when its pipe reaches it (FetchEventID).
void Clocks::SetEvent(uint32_t core, TracePipe source, TracePipe destination, int event, int id,
                      const Site& site) {
    Issue(core, source);
    EventUse& use = cores_[core].events[event * kEventIds + id];
    // The scalar unit blocks until its wait is over, so it issues the next set after that.
    const bool taken =
        destination == TracePipe::kS || Ordered(core, source, core, destination, use.wait_time);
    if (!taken) {
        Fail("event-reuse", site,
             "SetFlag<%s>(%d) again, and nothing tells %s that %s is past the WaitFlag of %s:%d "
             "(an event from %s to %s, or PipeBarrier<PIPE_ALL>, would)",
             EventName(event), id, PipeName(source), PipeName(destination), use.wait_site.file,
             use.wait_site.line, PipeName(destination), PipeName(source));
    }
    use.set = Complete(core, source);
}

void Clocks::WaitEvent(uint32_t core, TracePipe destination, int event, int id, const Site& site) {
    CoreClocks& clocks = cores_[core];
    const auto index = static_cast<uint32_t>(destination);
    EventUse& use = clocks.events[event * kEventIds + id];
    Issue(core, destination);
    Join(Order::kEvent, clocks.known[index], use.set);
    if (destination == TracePipe::kS) ++clocks.scalar_version;
    use.wait_time = ++clocks.issued[index];
    use.wait_site = site;
}

void Clocks::Barrier(uint32_t core, TracePipe pipe) {
    CoreClocks& clocks = cores_[core];
    if (pipe != TracePipe::kAll) {
        Join(Order::kPipeBarrier, clocks.known[static_cast<uint32_t>(pipe)], Complete(core, pipe));
        return;
    }
    Clock all = Complete(core, TracePipe::kS);
    for (uint32_t index = 1; index < kPipes; ++index) {
        Join(Order::kAllBarrier, all, Complete(core, static_cast<TracePipe>(index)));
    }
    for (Clock& known : clocks.known) Join(Order::kAllBarrier, known, all);
}

void Clocks::CrossSet(uint32_t core, TracePipe pipe, int mode, int id, const Site& site) {
    Issue(core, pipe);
    Flag& flag = cores_[core].flags[static_cast<size_t>(id)];
    auto set =
        std::make_shared<CrossCoreSet>(CrossCoreSet{pipe, mode, site, Complete(core, pipe), 0, {}});
    // Only a cross-core wait tells a core which waits of other cores are over, and it tells all its
    // pipes.
    const auto over = [&](const SetPointer& earlier) {
        return earlier->signalled > 0 && earlier->met.size() == earlier->signalled &&
               std::all_of(earlier->met.begin(), earlier->met.end(),
                           [&](const auto& met) { return KnowsMet(set->clock, met); });
    };
    flag.history.erase(std::remove_if(flag.history.begin(), flag.history.end(), over),
                       flag.history.end());
    CheckCrossSet(flag, *set, id);
    flag.history.push_back(set);
    flag.pending.push_back(std::move(set));
}

// The sets of a core may arrive in another order than it issues them in (CrossCoreSetFlag(ISASI),
// constraints), and a flag must not be set twice in a row ("不允许连续设置同一个flagId",
// 架构规格/NPU架构版本2201), although its counter goes up to 15.
void Clocks::CheckCrossSet(const Flag& flag, const CrossCoreSet& set, int id) const {
    for (const SetPointer& earlier : flag.history) {
        if (earlier->mode != set.mode) {
            Fail("cross-core-flag", set.site,
                 "flag %d is set with mode %d, and this core has not heard that all waits for the "
                 "set with mode %d of %s:%d are over",
                 id, set.mode, earlier->mode, earlier->site.file, earlier->site.line);
        }
        const bool arrived = std::any_of(earlier->met.begin(), earlier->met.end(),
                                         [&](const auto& met) { return KnowsMet(set.clock, met); });
        if (arrived) continue;
        if (earlier->pipe == set.pipe) FailRepeated(id, set.site, earlier->site);
        Fail("cross-core-order", set.site,
             "flag %d is set behind %s while its set behind %s of %s:%d may still be under way: a "
             "wait can be met by either (another flag id, or a signal back, would tell them apart)",
             id, PipeName(set.pipe), PipeName(earlier->pipe), earlier->site.file,
             earlier->site.line);
    }
}

void Clocks::FailRepeated(int id, const Site& site, const Site& earlier) {
    Fail("cross-core-repeat", site,
         "flag %d is set again, and nothing tells this core that the set of %s:%d was waited for "
         "(another flag id would do, or a signal back)",
         id, earlier.file, earlier.line);
}

void Clocks::CrossSignal(const std::vector<size_t>& members, const std::vector<size_t>& signalled,
                         int id, const Site& site) {
    const auto index = static_cast<size_t>(id);
    Signal signal;
    for (const size_t member : members) {
        auto& pending = cores_[member].flags[index].pending;
        signal.push_back(std::move(pending.front()));
        pending.pop_front();
        signal.back()->signalled = signalled.size();
    }
    const std::pair<int, size_t> group{signal.front()->mode, members.front()};
    // The wait for the last signal of the same flag, from this or another group, has to be over
    // when this signal comes. A signal comes with the last of its sets, so it is enough that one of
    // the sets is known to come after that wait.
    for (const size_t core : signalled) {
        Flag& flag = cores_[core].flags[index];
        for (const auto& [other, last] : flag.last) {
            const auto& met = last.front()->met;
            const auto own = std::find_if(met.begin(), met.end(),
                                          [&](const auto& entry) { return entry.first == core; });
            const bool over =
                own != met.end() && std::any_of(signal.begin(), signal.end(), [&](const auto& set) {
                    return KnowsMet(set->clock, *own);
                });
            if (over) continue;
            if (other == group) FailRepeated(id, site, last.back()->site);
            Fail("cross-core-order", site,
                 "flag %d is signalled to %s while its signal of %s:%d, by other cores, may "
                 "not have been waited for: the wait can be met by either",
                 id, Current().machine->CoreName(core).c_str(), last.front()->site.file,
                 last.front()->site.line);
        }
        flag.last[group] = signal;
        flag.signals.push_back(signal);
    }
}

void Clocks::CrossWait(uint32_t core, int id) {
    CoreClocks& clocks = cores_[core];
    auto& signals = clocks.flags[static_cast<size_t>(id)].signals;
    const Signal signal = std::move(signals.front());
    signals.pop_front();
    const uint32_t wait = ++clocks.waits;
    for (const SetPointer& set : signal) set->met.emplace_back(core, wait);
    for (Clock& known : clocks.known) {
        // With the rule kCrossWait ignored, the wait holds the scalar unit only.
        if (&known != &clocks.known[0] && !Holds(Order::kCrossWait)) continue;
        for (const SetPointer& set : signal) Join(Order::kCrossFlag, known, set->clock);
        known[WaitSlot(core)] = wait;
    }
}

}  // namespace twin
