// What every pipe of every core knows to be complete, as vector clocks. Only rules of
// twin/ordering.h move them. Private to the twin.
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

constexpr uint32_t kPipes = 7;  ///< without TracePipe::kAll

class Clocks {
public:
    /// `without`: a row of the table that does not hold, or null.
    Clocks(size_t cores, const Order* without);

    /// A pipe is given its next instruction; its time on that pipe.
    uint32_t Begin(uint32_t core, TracePipe pipe);
    /// What `pipe` is given now starts when instruction `time` of the other pipe is complete.
    bool Ordered(uint32_t core, TracePipe pipe, uint32_t other_core, TracePipe other_pipe,
                 uint32_t time) const {
        return cores_[core].known[static_cast<uint32_t>(pipe)][Slot(other_core, other_pipe)] >=
               time;
    }
    bool Holds(Order rule) const { return without_ == nullptr || *without_ != rule; }

    /// Uses of flags that are right in some orders only are errors.
    void SetEvent(uint32_t core, TracePipe source, TracePipe destination, int event, int id,
                  const Site& site);
    void WaitEvent(uint32_t core, TracePipe destination, int event, int id, const Site& site);
    void Barrier(uint32_t core, TracePipe pipe);
    void CrossSet(uint32_t core, TracePipe pipe, int mode, int id, const Site& site);
    /// The sets of `members` have become a signal for `signalled`.
    void CrossSignal(const std::vector<size_t>& members, const std::vector<size_t>& signalled,
                     int id, const Site& site);
    void CrossWait(uint32_t core, int id);

private:
    /// The time of every pipe of every core, and how many cross-core waits each core is past.
    using Clock = std::vector<uint32_t>;
    static constexpr uint32_t kSlots = kPipes + 1;
    static constexpr uint32_t kFlags = 16;

    struct EventUse {
        Clock set;               ///< what the last SetFlag knew
        uint32_t wait_time = 0;  ///< of the last WaitFlag on its pipe
        Site wait_site{"", 0};
    };
    struct CrossCoreSet {
        TracePipe pipe;
        int mode;
        Site site;
        Clock clock;
        size_t signalled = 0;  ///< cores, once it has become a signal
        /// Who has waited for it, at which of its cross-core waits.
        std::vector<std::pair<uint32_t, uint32_t>> met;
    };
    using SetPointer = std::shared_ptr<CrossCoreSet>;
    using Signal = std::vector<SetPointer>;
    struct Flag {
        std::deque<SetPointer> pending;   ///< sets of this core that are no signal yet
        std::vector<SetPointer> history;  ///< sets of this core that may still be under way
        std::deque<Signal> signals;       ///< for this core, not waited for
        /// The last signal of every group that has signalled this core, by mode and first member.
        std::map<std::pair<int, size_t>, Signal> last;
    };
    struct CoreClocks {
        std::array<Clock, kPipes> known;
        std::array<uint32_t, kPipes> issued{};
        /// Version of the scalar unit's clock that a pipe has taken up.
        std::array<uint32_t, kPipes> scalar_seen{};
        uint32_t scalar_version = 0;
        uint32_t waits = 0;  ///< cross-core
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
