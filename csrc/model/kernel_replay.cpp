#include "model/kernel_replay.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace model {

namespace {

using twin::TraceBuffer;
using twin::TraceOp;
using twin::TracePipe;
using twin::TraceRecord;

/// The number of instructions that the queue of a pipe holds: 32 for MTE1 and M (published, AD),
/// taken for the other pipes too (assumed).
constexpr uint64_t kQueueDepth = 32;
constexpr uint32_t kFractalBytes = 512;
constexpr uint32_t kBlockBytes = 32;  ///< bytes of a row of a fractal

bool IsTransfer(const TraceRecord& record) {
    return record.op == TraceOp::kLoad || record.op == TraceOp::kStore ||
           record.op == TraceOp::kFixpipe;
}

}  // namespace

KernelReplay::KernelReplay(const TraceFile& trace, const arch::TimingConstants& constants,
                           MemorySystem& memory, double start,
                           std::function<void(const FinishedTransfer&)> others)
    : trace_(trace),
      constants_(constants),
      memory_(memory),
      others_(std::move(others)),
      topology_(trace),
      cores_(trace.cores.size()),
      busy_(trace.cores.size()),
      us_per_cycle_(1 / constants.clock_mhz) {
    for (uint32_t i = 0; i < cores_.size(); ++i) {
        Core& core = cores_[i];
        core.records = &trace.cores[i];
        core.scalar = start;
        for (Pipe& pipe : core.pipes) pipe.ready = pipe.complete = pipe.next_load = start;
        busy_[i].fill(0);
    }
}

double KernelReplay::Run() {
    std::vector<FinishedTransfer> finished;
    for (uint32_t i = 0; i < cores_.size(); ++i) Advance(i);
    while (true) {
        while (!woken_.empty()) {
            const uint32_t core = woken_.back();
            woken_.pop_back();
            Advance(core);
        }
        if (transferring_ == 0) break;
        finished.clear();
        memory_.Step(finished);
        for (const FinishedTransfer& transfer : finished) {
            if (transfer.tag == kNoTransfer) {
                others_(transfer);
                continue;
            }
            const uint32_t index = transfer.tag / kPipes;
            Core& core = cores_[index];
            Pipe& pipe = core.pipes[transfer.tag % kPipes];
            pipe.transferring = false;
            --transferring_;
            pipe.complete = transfer.end;
            pipe.ready = transfer.end;
            KeepTransfer(index, transfer);
            pipe.queue.pop_front();
            Advance(index);
        }
    }
    double end = 0;
    for (uint32_t i = 0; i < cores_.size(); ++i) {
        const Core& core = cores_[i];
        if (core.next < core.records->size() || !Drained(core)) {
            throw std::invalid_argument("trace: core " + std::to_string(i) +
                                        " waits for a flag that is never set");
        }
        end = std::max(end, core.scalar);
        for (const Pipe& pipe : core.pipes) end = std::max(end, pipe.complete);
    }
    return end;
}

bool KernelReplay::Drained(const Core& core) const {
    return std::all_of(core.pipes.begin(), core.pipes.end(),
                       [](const Pipe& pipe) { return pipe.queue.empty(); });
}

void KernelReplay::Advance(uint32_t index) {
    bool progress = true;
    while (progress) {
        progress = false;
        while (IssueNext(index)) progress = true;
        for (uint32_t pipe = 0; pipe < kPipes; ++pipe) {
            while (RunHead(index, pipe)) progress = true;
        }
    }
}

// The scalar unit runs through the program: it issues instructions to the queues, and stops where a
// queue is full or where it has to wait itself.
bool KernelReplay::IssueNext(uint32_t index) {
    Core& core = cores_[index];
    if (core.next == core.records->size()) return false;
    const auto number = static_cast<uint32_t>(core.next);
    const TraceRecord& record = (*core.records)[number];
    const double cost = constants_.scalar_cycles * us_per_cycle_;
    if (record.op == TraceOp::kCrossWait) {
        auto& signals = core.signals[CheckedFlag(record.args[0])];
        if (signals.empty()) return false;
        core.scalar = std::max(core.scalar, signals.front()) + cost;
        signals.pop_front();
        ++core.next;
        return true;
    }
    if (record.op == TraceOp::kBarrier && record.pipe == TracePipe::kAll) {
        if (!Drained(core)) return false;
        for (const Pipe& pipe : core.pipes) core.scalar = std::max(core.scalar, pipe.complete);
        core.scalar += cost;
        ++core.next;
        return true;
    }
    if (record.pipe == TracePipe::kS) {
        if (record.op == TraceOp::kWaitFlag) {
            auto& event = core.events[EventKey(record)];
            if (event.empty()) return false;
            core.scalar = std::max(core.scalar, event.front());
            event.pop_front();
        }
        core.scalar += cost;
        if (record.op == TraceOp::kSetFlag) {
            core.events[EventKey(record)].push_back(core.scalar +
                                                    constants_.event_cycles * us_per_cycle_);
        }
        if (record.op == TraceOp::kCrossSet) CrossSet(index, record, core.scalar);
        busy_[index][0] += cost;
        ++core.next;
        return true;
    }
    Pipe& pipe = core.pipes[static_cast<size_t>(record.pipe)];
    if (pipe.issued >= kQueueDepth) {
        const uint64_t needed =
            pipe.issued - kQueueDepth;  // number of the one that has to have left
        if (pipe.gone <= needed) return false;
        core.scalar = std::max(core.scalar, pipe.left[needed - (pipe.gone - pipe.left.size())]);
    }
    core.scalar += cost;
    busy_[index][0] += cost;
    pipe.queue.emplace_back(number, core.scalar);
    ++pipe.issued;
    ++core.next;
    return true;
}

void KernelReplay::Leave(Pipe& pipe, double time) {
    pipe.left.push_back(time);
    if (pipe.left.size() > kQueueDepth) pipe.left.pop_front();
    ++pipe.gone;
}

bool KernelReplay::RunHead(uint32_t index, uint32_t pipe_index) {
    Core& core = cores_[index];
    Pipe& pipe = core.pipes[pipe_index];
    if (pipe.transferring || pipe.queue.empty()) return false;
    const auto [number, issue] = pipe.queue.front();
    const TraceRecord& record = (*core.records)[number];
    if (IsTransfer(record)) {
        StartTransfer(index, pipe_index, record, issue);
        return false;
    }
    switch (record.op) {
        case TraceOp::kSetFlag:
            core.events[EventKey(record)].push_back(std::max(issue, pipe.complete) +
                                                    constants_.event_cycles * us_per_cycle_);
            break;
        case TraceOp::kWaitFlag: {
            auto& event = core.events[EventKey(record)];
            if (event.empty()) return false;
            const double time = std::max(issue, event.front());
            event.pop_front();
            pipe.next_load = std::max(pipe.next_load, time);
            if (pipe_index != static_cast<uint32_t>(TracePipe::kMte2))
                pipe.ready = std::max(pipe.ready, time);
            break;
        }
        case TraceOp::kBarrier:
            pipe.ready = std::max({pipe.ready, pipe.complete, issue});
            pipe.next_load = std::max(pipe.next_load, pipe.ready);
            break;
        case TraceOp::kCrossSet:
            CrossSet(index, record, std::max(issue, pipe.complete));
            break;
        default: {
            const double start = std::max(pipe.ready, issue);
            pipe.ready = start + Occupies(record);
            pipe.complete = std::max(pipe.complete, pipe.ready + Latency(record));
            busy_[index][pipe_index] += pipe.ready - start;
            Keep({index, number, start, pipe.ready, {}});
            Leave(pipe, start);
            pipe.queue.pop_front();
            return true;
        }
    }
    Leave(pipe, std::max(issue, pipe.ready));
    pipe.queue.pop_front();
    return true;
}

// The start-up of a transfer overlaps with the data of the one before it, unless a flag or a
// barrier held it back.
void KernelReplay::StartTransfer(uint32_t index, uint32_t pipe_index, const TraceRecord& record,
                                 double issue) {
    Pipe& pipe = cores_[index].pipes[pipe_index];
    const bool aic = topology_.IsAic(index);
    const bool load = record.op == TraceOp::kLoad;
    const bool nd2nz = load && record.args[0] == 1;
    double start_up = constants_.store_cycles;
    double rate = constants_.store_rate;
    if (record.op == TraceOp::kFixpipe) {
        start_up = constants_.fixpipe_cycles;
        rate = constants_.fixpipe_rate;
    } else if (load) {
        start_up = aic ? constants_.cube_load_cycles : constants_.vector_load_cycles;
        rate = aic ? constants_.cube_load_rate : constants_.vector_load_rate;
    }
    const double dispatch = std::max(issue, pipe.next_load);
    const double from = dispatch + start_up * us_per_cycle_;
    pipe.transfer_from = from;
    pipe.next_load = dispatch + constants_.mte2_issue_cycles * us_per_cycle_;
    const double time = std::max({from, pipe.ready, memory_.now()});

    Transfer transfer{};
    const TraceTensorInfo& tensor = trace_.tensors[record.tensor];
    transfer.range = {tensor.address + record.gm_offset, record.block_bytes, record.block_count,
                      record.block_stride};
    transfer.write = !load;
    transfer.max_rate = rate * constants_.clock_mhz;
    transfer.l2_factor = aic && load ? constants_.l2_cube_factor : 1;
    transfer.hbm_factor = 1;
    if (load) {
        const auto kind = nd2nz ? arch::LoadKind::kNd2Nz
                          : aic ? arch::LoadKind::kToL1
                                : arch::LoadKind::kToUb;
        transfer.hbm_factor = arch::HbmFactor(constants_, kind, record.block_bytes);
    }
    transfer.waits = from >= pipe.ready;
    transfer.tag = static_cast<uint32_t>(index * kPipes + pipe_index);
    pipe.transferring = true;
    ++transferring_;
    Leave(pipe, std::max(dispatch, pipe.ready));
    memory_.Submit(time, transfer);
}

/// The time in us for which an instruction keeps its pipe from starting the next one.
double KernelReplay::Occupies(const TraceRecord& record) const {
    switch (record.op) {
        case TraceOp::kMmad: {
            const auto pieces = [](uint32_t value, uint32_t unit) {
                const uint32_t whole = (value + unit - 1) / unit;
                return static_cast<double>(whole);
            };
            const double cycles = pieces(record.args[0], 16) * pieces(record.args[1], 16) *
                                  pieces(record.args[2], kBlockBytes / record.args[3]);
            return cycles / constants_.cube_efficiency * us_per_cycle_;
        }
        case TraceOp::kMove: {
            const double bytes = static_cast<double>(record.args[0]) * kFractalBytes;
            const bool to_a = record.buffer == TraceBuffer::kL0a;
            return bytes / (to_a ? constants_.move_l0a_rate : constants_.move_l0b_rate) *
                   us_per_cycle_;
        }
        case TraceOp::kVector:
            return record.args[0] * constants_.vector_repeat_cycles * us_per_cycle_;
        default:
            return 0;
    }
}

/// The time in us from the end of Occupies until the results of the instruction can be used.
double KernelReplay::Latency(const TraceRecord& record) const {
    switch (record.op) {
        case TraceOp::kMmad:
            return constants_.mmad_cycles * us_per_cycle_;
        case TraceOp::kMove:
            return constants_.move_cycles * us_per_cycle_;
        case TraceOp::kVector:
            return constants_.vector_cycles * us_per_cycle_;
        default:
            return 0;
    }
}

void KernelReplay::CrossSet(uint32_t index, const TraceRecord& record, double time) {
    const uint32_t mode = record.args[0];
    const uint32_t id = CheckedFlag(record.args[1]);
    cores_[index].sets[id].push_back(time);
    double last = 0;
    for (uint32_t i = 0; i < cores_.size(); ++i) {
        if (!topology_.SetsTogether(index, i, mode)) continue;
        if (cores_[i].sets[id].empty()) return;
        last = std::max(last, cores_[i].sets[id].front());
    }
    last += constants_.cross_core_us;
    for (uint32_t i = 0; i < cores_.size(); ++i) {
        if (topology_.SetsTogether(index, i, mode)) cores_[i].sets[id].pop_front();
        if (!topology_.Signals(index, i, mode)) continue;
        cores_[i].signals[id].push_back(last);
        if (i != index) woken_.push_back(i);
    }
}

// A transfer keeps its pipe from the next one while its data flows, or for the minimum interval
// between two issues where that is longer. The latency of a miss does not count: the next
// transfer's issue and start-up pass meanwhile.
void KernelReplay::KeepTransfer(uint32_t core, const FinishedTransfer& transfer) {
    const uint32_t pipe_index = transfer.tag % kPipes;
    Pipe& pipe = cores_[core].pipes[pipe_index];
    const double taken = std::max(pipe.transfer_from, pipe.free);
    pipe.free = std::max(taken + (transfer.end - transfer.start),
                         pipe.transfer_from + constants_.mte2_issue_cycles * us_per_cycle_);
    busy_[core][pipe_index] += pipe.free - taken;
    Keep({core, pipe.queue.front().first, transfer.start, transfer.end, transfer.counts});
}

void KernelReplay::Keep(const PipeInterval& interval) {
    if (intervals != nullptr) intervals->push_back(interval);
}

}  // namespace model
