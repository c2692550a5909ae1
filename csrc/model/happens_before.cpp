#include "model/happens_before.h"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>

namespace model {

namespace {

using twin::TraceOp;
using twin::TracePipe;

constexpr size_t kPipes = 7;  // without kAll
constexpr uint32_t kCrossFlags = 16;

void Join(LoadClock& into, const LoadClock& from) {
    for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

struct CoreState {
    size_t next = 0;
    uint32_t loads = 0;
    std::array<LoadClock, kPipes> pipes;
    std::map<std::array<uint32_t, 3>, LoadClock> events;
    struct Flag {
        uint32_t signals = 0;
        uint32_t pending = 0;
        LoadClock clock;
    };
    std::array<Flag, kCrossFlags> flags;

    void JoinAll(const LoadClock& clock) {
        for (auto& pipe : pipes) Join(pipe, clock);
    }
};

class Replayer {
public:
    Replayer(const TraceFile& trace, const std::function<void(const ReplayedInstruction&)>& visit)
        : trace_(trace),
          visit_(visit),
          aiv_count_(trace.cores.size() - trace.aic_count),
          cores_(trace.cores.size()) {
        for (auto& core : cores_) {
            for (auto& pipe : core.pipes) pipe.assign(aiv_count_, 0);
            for (auto& flag : core.flags) flag.clock.assign(aiv_count_, 0);
        }
    }

    void Run() {
        // Cores take turns, a record each: what they load mixes in L2 as it does side by side. One
        // core after the other, a stream longer than L2 would evict what the last ones still need.
        bool progress = true;
        while (progress) {
            progress = false;
            for (uint32_t core = 0; core < cores_.size(); ++core) {
                if (cores_[core].next < trace_.cores[core].size() && Step(core)) progress = true;
            }
        }
        for (uint32_t core = 0; core < cores_.size(); ++core) {
            if (cores_[core].next == trace_.cores[core].size()) continue;
            throw std::invalid_argument("trace: core " + std::to_string(core) +
                                        " waits for a cross-core flag that is never set");
        }
    }

private:
    bool IsAic(uint32_t core) const { return core < trace_.aic_count; }

    /// Whether the next record of `core` could run.
    bool Step(uint32_t index) {
        CoreState& core = cores_[index];
        const twin::TraceRecord& record = trace_.cores[index][core.next];
        if (record.op == TraceOp::kCrossWait) {
            CoreState::Flag& flag = core.flags[FlagId(record.args[0])];
            if (flag.signals == 0) return false;
            --flag.signals;
            core.JoinAll(flag.clock);
        }
        if (record.op == TraceOp::kWaitFlag) WaitFlag(core, record);
        if (record.op == TraceOp::kBarrier && record.pipe == TracePipe::kAll) {
            LoadClock all(aiv_count_, 0);
            for (const auto& pipe : core.pipes) Join(all, pipe);
            core.JoinAll(all);
        }
        const size_t pipe = record.pipe == TracePipe::kAll ? 0 : static_cast<size_t>(record.pipe);
        const bool counted = record.op == TraceOp::kLoad && !IsAic(index);
        visit_({index, record, counted ? core.loads + 1 : 0, core.pipes[pipe]});
        // What follows on the same pipe, or waits for a flag set on it, comes after the load.
        if (counted) core.pipes[pipe][index - trace_.aic_count] = ++core.loads;
        if (record.op == TraceOp::kSetFlag) core.events[EventKey(record)] = core.pipes[pipe];
        if (record.op == TraceOp::kCrossSet) CrossSet(index, record);
        ++core.next;
        return true;
    }

    static std::array<uint32_t, 3> EventKey(const twin::TraceRecord& record) {
        return {record.args[0], record.args[1], record.args[2]};
    }

    static uint32_t FlagId(uint32_t id) {
        if (id >= kCrossFlags)
            throw std::invalid_argument("trace: cross-core flag " + std::to_string(id));
        return id;
    }

    void WaitFlag(CoreState& core, const twin::TraceRecord& record) {
        const auto event = core.events.find(EventKey(record));
        if (event == core.events.end())
            throw std::invalid_argument("trace: a wait without its set");
        // The scalar unit issues for all pipes: what it waits for, everything later waits for.
        if (record.pipe == TracePipe::kS) {
            core.JoinAll(event->second);
        } else {
            Join(core.pipes[static_cast<size_t>(record.pipe)], event->second);
        }
        core.events.erase(event);
    }

    std::vector<uint32_t> Members(bool aic, int64_t block) const {
        std::vector<uint32_t> members;
        for (uint32_t i = 0; i < cores_.size(); ++i) {
            if (IsAic(i) == aic && (block < 0 || Block(i) == static_cast<uint32_t>(block)))
                members.push_back(i);
        }
        return members;
    }

    uint32_t Block(uint32_t core) const {
        if (IsAic(core)) return core;
        const uint32_t aiv = core - trace_.aic_count;
        return trace_.aic_count > 0 ? aiv / 2 : aiv;
    }

    // Modes as in the twin: a group that has set a flag completely signals itself (0, 1) or the
    // other core type of its block (2).
    void CrossSet(uint32_t index, const twin::TraceRecord& record) {
        const uint32_t mode = record.args[0];
        const uint32_t id = FlagId(record.args[1]);
        const bool aic = IsAic(index);
        const auto group = Members(aic, mode == 0 ? -1 : static_cast<int64_t>(Block(index)));
        CoreState::Flag& mine = cores_[index].flags[id];
        ++mine.pending;
        set_clocks_[{index, id}].push_back(cores_[index].pipes[static_cast<size_t>(record.pipe)]);
        for (const uint32_t member : group) {
            if (cores_[member].flags[id].pending == 0) return;
        }
        LoadClock clock(aiv_count_, 0);
        for (const uint32_t member : group) {
            --cores_[member].flags[id].pending;
            auto& clocks = set_clocks_[{member, id}];
            Join(clock, clocks.front());
            clocks.erase(clocks.begin());
        }
        const auto signalled =
            mode == 2 ? Members(!aic, static_cast<int64_t>(Block(index))) : group;
        for (const uint32_t member : signalled) {
            ++cores_[member].flags[id].signals;
            Join(cores_[member].flags[id].clock, clock);
        }
    }

    const TraceFile& trace_;
    const std::function<void(const ReplayedInstruction&)>& visit_;
    const size_t aiv_count_;
    std::vector<CoreState> cores_;
    std::map<std::pair<uint32_t, uint32_t>, std::vector<LoadClock>> set_clocks_;
};

}  // namespace

void Replay(const TraceFile& trace, const std::function<void(const ReplayedInstruction&)>& visit) {
    Replayer(trace, visit).Run();
}

}  // namespace model
