// Replays the trace of one kernel in time: simulates the pipes of every core, their flags, and the
// memory system that the cores share.
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

/// When a pipe worked on an instruction. Times in us.
struct PipeInterval {
    uint32_t core;
    uint32_t record;  ///< index into the records of the core
    double start;
    double end;
    MemoryCounts counts;  ///< bytes of a transfer; zeros for other instructions
};

/// The replay of one launch.
class KernelReplay {
public:
    /// All cores start at `start`, us. Keeps references to trace, constants and memory. `others` is
    /// called for each finished transfer tagged kNoTransfer, which another user of the memory (the
    /// SDMA engine) submitted.
    KernelReplay(const TraceFile& trace, const arch::TimingConstants& constants,
                 MemorySystem& memory, double start,
                 std::function<void(const FinishedTransfer&)> others);

    /// Returns the time at which the last core ends, us. Throws std::invalid_argument when the
    /// flags of the trace do not pair up.
    double Run();

    /// For each core, the time in us that each pipe worked, or could take no further transfer
    /// because of the minimum interval between two issues.
    const std::vector<std::array<double, kPipes>>& busy() const { return busy_; }
    /// Collects what the pipes did, if it is set before Run.
    std::vector<PipeInterval>* intervals = nullptr;

private:
    /// The queue of a pipe. Instructions leave it in order.
    struct Pipe {
        std::deque<std::pair<uint32_t, double>> queue;  ///< record, time of issue
        std::deque<double> left;   ///< when each of the last instructions left the queue
        uint64_t issued = 0;       ///< instructions that have entered the queue so far
        uint64_t gone = 0;         ///< instructions that have left it so far
        double ready = 0;          ///< when the next instruction can start
        double complete = 0;       ///< when all earlier instructions are done
        double next_load = 0;      ///< when the next transfer can be dispatched
        double transfer_from = 0;  ///< when the data of the transfer in flight could begin to flow
        double free = 0;           ///< when the transfers before it no longer keep the pipe
        bool transferring = false;
    };
    struct Core {
        const std::vector<twin::TraceRecord>* records = nullptr;
        size_t next = 0;
        double scalar = 0;
        std::array<Pipe, kPipes> pipes;
        std::map<uint32_t, std::deque<double>> events;        ///< when set, not yet waited for
        std::array<std::deque<double>, kCrossFlags> sets;     ///< cross-core sets, no signal yet
        std::array<std::deque<double>, kCrossFlags> signals;  ///< cross-core, not yet waited for
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
    uint32_t transferring_ = 0;  ///< number of pipes with a transfer in flight
};

}  // namespace model
