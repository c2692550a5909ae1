// Vector clocks: what every pipe of every core knows to be complete. Only the rules of
// twin/ordering.h advance them. Private to the twin.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "twin/detail.h"
#include "twin/ordering.h"

namespace twin {

constexpr uint32_t kPipes = 7;  ///< all of TracePipe but kAll

class Clocks {
public:
    /// `without` is a row of kOrdering to ignore, or null.
    Clocks(size_t cores, const Order* without);

    /// Issues the next instruction to a pipe. Returns its time: its number on that pipe.
    uint32_t Begin(uint32_t core, TracePipe pipe);
    /// Whether an instruction issued to `pipe` now starts only after instruction `time` of the
    /// other pipe is complete.
    bool Ordered(uint32_t core, TracePipe pipe, uint32_t other_core, TracePipe other_pipe,
                 uint32_t time) const {
        return cores_[core].known[static_cast<uint32_t>(pipe)][Slot(other_core, other_pipe)] >=
               time;
    }
    bool Holds(Order rule) const { return without_ == nullptr || *without_ != rule; }

    /// The calls on events and flags. A use that is correct in some interleavings only is an error.
    void SetEvent(uint32_t core, TracePipe source, TracePipe destination, int event, int id,
                  const Site& site);
    void WaitEvent(uint32_t core, TracePipe destination, int event, int id, const Site& site);
    void Barrier(uint32_t core, TracePipe pipe);
    void CrossSet(uint32_t core, TracePipe pipe, int mode, int id, const Site& site);
    /// The oldest pending sets of `members` have become a signal for `signalled`.
    void CrossSignal(const std::vector<size_t>& members, const std::vector<size_t>& signalled,
                     int id, const Site& site);
    void CrossWait(uint32_t core, int id);

private:
    /// The known time of every pipe of every core, and for each core how many of its cross-core
    /// waits are known to be over.
    using Clock = std::vector<uint32_t>;
    static constexpr uint32_t kSlots = kPipes + 1;
    static constexpr uint32_t kFlags = 16;

    struct EventUse {
        Clock set;               ///< what is complete once the last SetFlag takes effect
        uint32_t wait_time = 0;  ///< time of the last WaitFlag on its pipe
        Site wait_site{"", 0};
    };
    struct CrossCoreSet {
        TracePipe pipe;
        int mode;
        Site site;
        Clock clock;
        size_t signalled = 0;  ///< number of cores signalled; 0 while it is not yet a signal
        /// The cores that have waited for it, each with the number of that cross-core wait.
        std::vector<std::pair<uint32_t, uint32_t>> met;
    };
    using SetPointer = std::shared_ptr<CrossCoreSet>;
    using Signal = std::vector<SetPointer>;
    struct Flag {
        std::deque<SetPointer> pending;   ///< sets of this core that are not yet a signal
        std::vector<SetPointer> history;  ///< sets of this core that may still be in flight
        std::deque<Signal> signals;       ///< signals for this core that it has not waited for
        /// The last signal of every group that has signalled this core, by mode and first member.
        std::map<std::pair<int, size_t>, Signal> last;
    };
    struct CoreClocks {
        std::array<Clock, kPipes> known;
        std::array<uint32_t, kPipes> issued{};
        /// By pipe: the version of the scalar unit's clock that it has joined last.
        std::array<uint32_t, kPipes> scalar_seen{};
        uint32_t scalar_version = 0;
        uint32_t waits = 0;  ///< number of cross-core waits so far
        std::map<int, EventUse> events;
        std::array<Flag, kFlags> flags;
    };

    static uint32_t Slot(uint32_t core, TracePipe pipe) {
        return core * kSlots + static_cast<uint32_t>(pipe);
    }
    static uint32_t WaitSlot(uint32_t core) { return core * kSlots + kPipes; }
    void Issue(uint32_t core, TracePipe pipe);
    Clock Complete(uint32_t core, TracePipe pipe) const;
    void Join(Order rule, Clock& into, const Clock& from) const;
    static bool KnowsMet(const Clock& clock, const std::pair<uint32_t, uint32_t>& met) {
        return clock[WaitSlot(met.first)] >= met.second;
    }
    void CheckCrossSet(const Flag& flag, const CrossCoreSet& set, int id) const;
    [[noreturn]] static void FailRepeated(int id, const Site& site, const Site& earlier);

    const Order* without_;
    std::vector<CoreClocks> cores_;
};

}  // namespace twin
