// HBM and L2 as the transfers of all cores, and of the SDMA engine, see them.
//
// A transfer asks L2 for its lines when it starts; what misses flows at a fair share of HBM, all of
// it at a fair share of L2, and never faster than its engine. Bytes are conserved: every line of
// every transfer is a hit or a miss, every miss is read from HBM once.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "arch/timing_constants.h"
#include "model/fair_share.h"
#include "model/l2_state.h"

namespace model {

/// Blocks of GM, `stride` bytes apart.
struct GmRange {
    uint64_t address;
    uint64_t block_bytes;
    uint64_t block_count;
    uint64_t stride;

    uint64_t bytes() const { return block_bytes * block_count; }
};

/// What an engine asks of the memory at once.
struct Transfer {
    GmRange range;
    bool write;
    double most_rate;   ///< of its engine, bytes per us
    double hbm_factor;  ///< HBM bytes that a byte of a miss costs
    double l2_factor;   ///< L2 bytes that a byte costs
    bool waits;         ///< nothing of the same engine covers the latency of a miss
    uint32_t tag;       ///< of the caller
};

/// Bytes, whole lines.
struct MemoryCounts {
    uint64_t hbm_read = 0;
    uint64_t hbm_written = 0;
    uint64_t l2_hit = 0;
    uint64_t written = 0;  ///< by cores, into L2
};

/// One that is complete.
struct FinishedTransfer {
    uint32_t tag;
    double start;  ///< us
    double end;
    uint64_t bytes;
    MemoryCounts counts;  ///< its share of those of the memory
};

/// Bytes per us, as they are counted in MemoryCounts, until the next change.
struct RateChange {
    double time;
    double hbm_read;
    double hbm_written;
    double l2_hit;
    double written;
};

/// HBM and L2 of one chip, in time.
class MemorySystem {
public:
    explicit MemorySystem(const arch::TimingConstants& constants);

    /// Data flows from `time` on, which must not be before now().
    void Submit(double time, const Transfer& transfer);
    /// Time of the next event; infinity when nothing is under way.
    double Next() const;
    /// Goes on to the next event; appends the transfers that it completes, in order of their
    /// numbers.
    void Step(std::vector<FinishedTransfer>& finished);
    /// Goes on to `time`; no event may lie before it.
    void Idle(double time);

    double now() const { return now_; }
    const MemoryCounts& counts() const { return counts_; }
    L2State& l2() { return l2_; }
    /// From now on, or no longer, collects what flows; forgets what was collected.
    void KeepRates(bool keep);
    const std::vector<RateChange>& rate_changes() const { return rate_changes_; }

private:
    struct Entry {
        Transfer transfer;
        double start = 0;
        double left = 0;  ///< bytes
        uint32_t after = kNoTransfer;
        MemoryCounts counts;
        Demand demand{};
        bool looked_up = false;
        bool done = false;
    };
    struct Arrival {
        double time;
        uint32_t number;
        bool operator>(const Arrival& other) const {
            return time != other.time ? time > other.time : number > other.number;
        }
    };

    void LookUp(uint32_t number);
    void Flow(double time);
    void Share();
    void Finish(uint32_t number, std::vector<FinishedTransfer>& finished);
    double NextDrain() const;
    RateChange Rates() const;

    const arch::TimingConstants constants_;
    L2State l2_;
    MemoryCounts counts_;
    double now_ = 0;
    std::vector<Entry> entries_;
    std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
    std::vector<uint32_t> flowing_;
    std::vector<Demand> demands_;
    std::vector<double> rates_;
    std::vector<uint32_t> blocked_;  ///< drained, but a line is still on its way for another one
    double next_drain_ = 0;
    bool keep_rates_ = false;
    std::vector<RateChange> rate_changes_;
};

}  // namespace model
