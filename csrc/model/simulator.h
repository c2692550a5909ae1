// A sequence of kernels on one stream, with prefetches by the SDMA engine beside them. What is in
// L2 carries over from one to the next.
//
// This is a model: every time it gives is computed from the constants of arch/timing_constants.h,
// none was measured.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "arch/timing_constants.h"
#include "model/kernel_replay.h"
#include "model/memory_system.h"
#include "model/trace_reader.h"

namespace model {

/// One kernel of a sequence. Times in us since the sequence began.
struct KernelTimes {
    std::string kernel;
    double launched;  ///< the launch begins where the kernel before it ended
    double start;
    double end;
    MemoryCounts bytes;
    std::array<double, kPipes> cube_busy;  ///< mean over the AICs, us
    std::array<double, kPipes> vector_busy;
    std::vector<PipeInterval> intervals;   ///< only if asked for
    std::vector<RateChange> rate_changes;  ///< likewise, from the launch on
};

/// A sequence of kernels and prefetches on one chip, L2 empty at first.
class Simulator {
public:
    explicit Simulator(const arch::TimingConstants& constants);

    KernelTimes Run(const TraceFile& trace, bool keep_intervals = false);
    /// Hands a region to the SDMA engine, `delay` us from now. A stream is served in order; two
    /// streams that have work at the same time slow each other down.
    void Prefetch(uint64_t address, uint64_t bytes, double delay, uint32_t stream = 0);
    /// Until the SDMA engine has nothing left.
    void JoinPrefetch();
    /// Bytes that SDMA prefetches have brought so far.
    uint64_t prefetched() const { return prefetched_; }
    /// What the SDMA engine has done so far, a piece each.
    const std::vector<FinishedTransfer>& sdma_transfers() const { return sdma_transfers_; }

    double now() const { return memory_.now(); }
    const MemoryCounts& bytes() const { return memory_.counts(); }

private:
    struct Region {
        uint64_t address;
        uint64_t bytes;
        double from;
    };
    void FeedSdma();
    void Finished(const FinishedTransfer& transfer);
    void PassTime(double until);

    arch::TimingConstants constants_;
    MemorySystem memory_;
    std::map<uint32_t, std::deque<Region>> sdma_;  ///< by stream
    uint32_t last_stream_ = 0;
    bool sdma_busy_ = false;
    uint64_t prefetched_ = 0;
    std::vector<FinishedTransfer> sdma_transfers_;
};

/// A kernel that reads `bytes` at `address` once, all cores of one type in parallel: stands for an
/// attention kernel over its cache or for expert weights.
TraceFile StreamTrace(const arch::Chip& chip, const std::string& name, uint64_t address,
                      uint64_t bytes, bool cube);

}  // namespace model
