// HBM and L2 as the transfers of all cores, and of the SDMA engine, see them.
//
// A transfer looks up its lines in L2 when it starts. The lines that miss flow at a fair share of
// HBM bandwidth, all lines at a fair share of L2 bandwidth, and none faster than the engine of the
// transfer. Bytes are conserved: every line of every transfer is a hit or a miss, and every miss is
// read from HBM once.
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

/// One request of an engine to the memory system.
struct Transfer {
    GmRange range;
    bool write;
    double max_rate;    ///< limit of its engine, bytes per us
    double hbm_factor;  ///< HBM bytes that each missing byte costs
    double l2_factor;   ///< L2 bytes that each byte costs
    bool waits;         ///< no other transfer of the same engine hides the latency of a miss
    uint32_t tag;       ///< chosen by the caller, returned in FinishedTransfer
};

/// Bytes that moved, counted in whole lines.
struct MemoryCounts {
    uint64_t hbm_read = 0;
    uint64_t hbm_written = 0;
    uint64_t l2_hit = 0;
    uint64_t written = 0;  ///< written by cores, into L2
};

/// A transfer that is complete.
struct FinishedTransfer {
    uint32_t tag;
    double start;  ///< us
    double end;
    uint64_t bytes;
    MemoryCounts counts;  ///< of this transfer alone
};

/// The rates from `time` (us) until the next change: bytes per us of each of MemoryCounts.
struct RateChange {
    double time;
    double hbm_read;
    double hbm_written;
    double l2_hit;
    double written;
};

/// Simulates HBM and L2 of one chip over time. All times in us.
class MemorySystem {
public:
    explicit MemorySystem(const arch::TimingConstants& constants);

    /// Submits a transfer that starts at `time`, which must not be before now().
    void Submit(double time, const Transfer& transfer);
    /// Reads or writes [address, address + bytes) in no time: L2 is then as if it had been done
    /// before now.
    void Touch(uint64_t address, uint64_t bytes, bool write);
    /// Time of the next event; infinity when no transfer is in flight.
    double Next() const;
    /// Advances to the next event, and appends the transfers that it completes, in the order in
    /// which they began to flow; a transfer that waited for one of them follows that one.
    void Step(std::vector<FinishedTransfer>& finished);
    /// Advances to `time`; no event may lie before it.
    void Idle(double time);

    double now() const { return now_; }
    const MemoryCounts& counts() const { return counts_; }
    L2State& l2() { return l2_; }
    /// Starts or stops collecting rate_changes(); discards those collected so far.
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
    /// Transfers whose own bytes have flowed, but which hit a line that an earlier transfer is
    /// still bringing.
    std::vector<uint32_t> blocked_;
    double next_drain_ = 0;
    bool keep_rates_ = false;
    std::vector<RateChange> rate_changes_;
};

}  // namespace model
