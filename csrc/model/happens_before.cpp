#include "model/happens_before.h"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>

#include "model/launch_topology.h"

namespace model {

namespace {

using twin::TraceOp;
using twin::TracePipe;

void Join(LoadClock& into, const LoadClock& from) {
    for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

struct CoreState {
    size_t next = 0;
    uint32_t loads = 0;
    std::array<LoadClock, kPipes> pipes;
    std::map<uint32_t, LoadClock> events;
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
          topology_(trace),
          aiv_count_(trace.cores.size() - trace.aic_count),
          cores_(trace.cores.size()) {
        for (auto& core : cores_) {
            for (auto& pipe : core.pipes) pipe.assign(aiv_count_, 0);
            for (auto& flag : core.flags) flag.clock.assign(aiv_count_, 0);
        }
    }

    void Run() {
        // Cores take turns, one record each, so that their loads interleave in L2 as those of
        // concurrent cores do. If one core ran after the other, a stream longer than L2 would evict
        // what the last cores still need.
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
    /// Whether the next record of `core` could run.
    bool Step(uint32_t index) {
        CoreState& core = cores_[index];
        const twin::TraceRecord& record = trace_.cores[index][core.next];
        if (record.op == TraceOp::kCrossWait) {
            CoreState::Flag& flag = core.flags[CheckedFlag(record.args[0])];
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
        const bool counted = record.op == TraceOp::kLoad && !topology_.IsAic(index);
        visit_({index, record, counted ? core.loads + 1 : 0, core.pipes[pipe]});
        // Later work on the same pipe, and whatever waits for a flag set on it, comes after the
        // load.
        if (counted) core.pipes[pipe][index - trace_.aic_count] = ++core.loads;
        if (record.op == TraceOp::kSetFlag) core.events[EventKey(record)] = core.pipes[pipe];
        if (record.op == TraceOp::kCrossSet) CrossSet(index, record);
        ++core.next;
        return true;
    }

    void WaitFlag(CoreState& core, const twin::TraceRecord& record) {
        const auto event = core.events.find(EventKey(record));
        if (event == core.events.end())
            throw std::invalid_argument("trace: a wait without its set");
        // The scalar unit issues the instructions of all pipes, so all later work comes after what
        // it has waited for.
        if (record.pipe == TracePipe::kS) {
            core.JoinAll(event->second);
        } else {
            Join(core.pipes[static_cast<size_t>(record.pipe)], event->second);
        }
        core.events.erase(event);
    }

    // Once every core of the group has set the flag, the cores that the mode names are signalled.
    void CrossSet(uint32_t index, const twin::TraceRecord& record) {
        const uint32_t mode = record.args[0];
        const uint32_t id = CheckedFlag(record.args[1]);
        ++cores_[index].flags[id].pending;
        set_clocks_[{index, id}].push_back(cores_[index].pipes[static_cast<size_t>(record.pipe)]);
        for (uint32_t i = 0; i < cores_.size(); ++i) {
            if (topology_.SetsTogether(index, i, mode) && cores_[i].flags[id].pending == 0) return;
        }
        LoadClock clock(aiv_count_, 0);
        for (uint32_t i = 0; i < cores_.size(); ++i) {
            if (!topology_.SetsTogether(index, i, mode)) continue;
            --cores_[i].flags[id].pending;
            auto& clocks = set_clocks_[{i, id}];
            Join(clock, clocks.front());
            clocks.erase(clocks.begin());
        }
        for (uint32_t i = 0; i < cores_.size(); ++i) {
            if (!topology_.Signals(index, i, mode)) continue;
            ++cores_[i].flags[id].signals;
            Join(cores_[i].flags[id].clock, clock);
        }
    }

    const TraceFile& trace_;
    const std::function<void(const ReplayedInstruction&)>& visit_;
    const LaunchTopology topology_;
    const size_t aiv_count_;
    std::vector<CoreState> cores_;
    std::map<std::pair<uint32_t, uint32_t>, std::vector<LoadClock>> set_clocks_;
};

}  // namespace

void Replay(const TraceFile& trace, const std::function<void(const ReplayedInstruction&)>& visit) {
    Replayer(trace, visit).Run();
}

}  // namespace model
