// Simulates a sequence of kernels on one stream, and concurrent prefetches by the SDMA engine. Each
// kernel finds in L2 what the earlier ones left there.
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
struct ReplayTimes {
    std::string kernel;
    double launched;  ///< when the launch begins: the end of the previous kernel
    double start;
    double end;
    MemoryCounts bytes;
    std::array<double, kPipes> cube_busy;  ///< mean over the AICs, us
    std::array<double, kPipes> vector_busy;
    std::vector<PipeInterval> intervals;   ///< filled if `keep_intervals`
    std::vector<RateChange> rate_changes;  ///< filled if `keep_intervals`, from `launched` on
};

/// A sequence of kernels and prefetches on one chip, whose L2 is empty at first. Times in us.
class Simulator {
public:
    explicit Simulator(const arch::TimingConstants& constants);

    /// Runs a kernel, after its launch unless another kernel's launch covers it (`launched`).
    ReplayTimes Run(const TraceFile& trace, bool keep_intervals = false, bool launched = false);
    /// Leaves in L2 what reading or writing [address, address + bytes) before now would have.
    void Touch(uint64_t address, uint64_t bytes, bool write) {
        memory_.Touch(address, bytes, write);
    }
    /// Submits a region to the SDMA engine, `delay` us from now. The regions of a stream are served
    /// in order; two streams with work at the same time slow each other down.
    void Prefetch(uint64_t address, uint64_t bytes, double delay, uint32_t stream = 0);
    /// Lets time pass until the SDMA engine has no work left.
    void JoinPrefetch();
    /// Lets `us` pass in which no kernel runs; the SDMA engine works on.
    void Wait(double us) { PassTime(now() + us); }
    /// Bytes that SDMA prefetches have brought so far.
    uint64_t prefetched() const { return prefetched_; }
    /// The transfers that the SDMA engine has completed so far: a region is split into several.
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
    std::map<uint32_t, std::deque<Region>> sdma_;  ///< regions left, by stream
    uint32_t last_stream_ = 0;
    bool sdma_busy_ = false;
    uint64_t prefetched_ = 0;
    std::vector<FinishedTransfer> sdma_transfers_;
};

/// The trace of a kernel whose cores of one type (`cube`: AIC, else AIV) together read `bytes` at
/// `address` once. It stands for an attention kernel that reads its KV cache, or for expert
/// weights.
TraceFile StreamTrace(const arch::Chip& chip, const std::string& name, uint64_t address,
                      uint64_t bytes, bool cube);

}  // namespace model
