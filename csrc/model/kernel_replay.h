// Replays the trace of one kernel in time: the pipes of every core, their flags, and the memory
// system that they share.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "arch/timing_constants.h"
#include "model/launch_topology.h"
#include "model/memory_system.h"
#include "model/trace_reader.h"

namespace model {

/// When a pipe worked on an instruction, us.
struct PipeInterval {
    uint32_t core;
    uint32_t record;  ///< of the core
    double start;
    double end;
    MemoryCounts counts;  ///< of a transfer
};

/// One launch.
class KernelReplay {
public:
    /// All cores start at `start`, us. Keeps references to trace, constants and memory. `others`
    /// gets the transfers tagged kNoTransfer, of whom else uses the memory.
    KernelReplay(const TraceFile& trace, const arch::TimingConstants& constants,
                 MemorySystem& memory, double start,
                 std::function<void(const FinishedTransfer&)> others);

    /// Ends when every core has, us. Throws std::invalid_argument when the flags of the trace do
    /// not pair up.
    double Run();

    /// Us that each pipe of a core worked, or could take no other transfer because of the interval
    /// between two issues.
    const std::vector<std::array<double, kPipes>>& busy() const { return busy_; }
    /// Set before Run: collects what the pipes did.
    std::vector<PipeInterval>* intervals = nullptr;

private:
    /// The queue of a pipe. Instructions leave it in order.
    struct Pipe {
        std::deque<std::pair<uint32_t, double>> queue;  ///< record, time of issue
        std::deque<double> left;  ///< when the last instructions left the queue
        uint64_t issued = 0;
        uint64_t gone = 0;
        double ready = 0;     ///< next instruction can start
        double complete = 0;  ///< all earlier ones are done
        double next_load = 0;
        double transfer_from = 0;  ///< of the one under way: its data could flow
        double free = 0;           ///< of the transfers before it
        bool transferring = false;
    };
    struct Core {
        const std::vector<twin::TraceRecord>* records = nullptr;
        size_t next = 0;
        double scalar = 0;
        std::array<Pipe, kPipes> pipes;
        std::map<uint32_t, std::deque<double>> events;     ///< set and not waited for
        std::array<std::deque<double>, kCrossFlags> sets;  ///< cross-core, no signal yet
        std::array<std::deque<double>, kCrossFlags> signals;
    };

    void Advance(uint32_t core);
    bool IssueNext(uint32_t core);
    bool Drained(const Core& core) const;
    bool RunHead(uint32_t core, uint32_t pipe);
    void Leave(Pipe& pipe, double time);
    void StartTransfer(uint32_t core, uint32_t pipe, const twin::TraceRecord& record, double issue);
    double Occupies(const twin::TraceRecord& record) const;
    double Latency(const twin::TraceRecord& record) const;
    void CrossSet(uint32_t core, const twin::TraceRecord& record, double time);
    void KeepTransfer(uint32_t core, const FinishedTransfer& transfer);
    void Keep(const PipeInterval& interval);

    const TraceFile& trace_;
    const arch::TimingConstants& constants_;
    MemorySystem& memory_;
    std::function<void(const FinishedTransfer&)> others_;
    LaunchTopology topology_;
    std::vector<Core> cores_;
    std::vector<std::array<double, kPipes>> busy_;
    std::vector<uint32_t> woken_;
    double us_per_cycle_;
    uint32_t transferring_ = 0;  ///< pipes
};

}  // namespace model
