// The contents of L2 while kernels run one after the other.
//
// How L2 chooses what it evicts is not published. Weights that fill the capacity exactly when they
// are read in turn, and with other tensors exceed it, still hit for the most part
// (hudingyi688/aiconfigurator-npu, gemm), whereas an order of last use would miss all of them; a
// tensor of 1.5 times the capacity that is read again never hits (ADx). So the most recently used
// sectors, a share of the capacity, are never evicted; of the others one is drawn at random. At a
// share of 1, that of the table of constants, it is the sector that was used longest ago.
//
// A sector is 512 bytes of GM, the unit of coherence, in four lines of 128 bytes, the unit in which
// hit counters count (arch/dav_c220.h names the sources of both). Lines are filled one by one,
// sectors are evicted whole.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "arch/dav_c220.h"

namespace model {

constexpr uint32_t kNoTransfer = 0xFFFFFFFF;

/// How many bytes of an access to GM hit and missed in L2. Whole lines are counted.
struct L2Access {
    uint64_t hit = 0;         ///< bytes in L2, or in flight to it; all bytes of a write
    uint64_t first = 0;       ///< of the hits of reads, bytes that this kernel has not used yet
    uint64_t miss = 0;        ///< bytes that have to come from HBM
    uint64_t write_back = 0;  ///< bytes of dirty lines that were evicted
    uint32_t after = kNoTransfer;  ///< the latest transfer that brought some of the hits
};

/// Tracks which bytes are in L2, in lines of 128 bytes. A sector is one L2 line of the hardware
/// (arch::DavC220::kL2LineBytes).
class L2State {
public:
    static constexpr uint32_t kLineBytes = 128;
    static constexpr uint32_t kLinesPerSector = arch::DavC220::kL2LineBytes / kLineBytes;

    /// `kept_bytes`: what is among the last bytes that were used, this many, is not evicted; at
    /// most `capacity_bytes`, at which the least recently used sector is always evicted first.
    L2State(uint64_t capacity_bytes, uint64_t kept_bytes);
    explicit L2State(uint64_t capacity_bytes) : L2State(capacity_bytes, capacity_bytes) {}

    /// `transfer` reads [address, address + bytes). Lines that miss count as present from now on;
    /// their data is complete when the transfer is. Adds to `access`. Transfers are numbered in the
    /// order of their calls.
    void Read(uint64_t address, uint64_t bytes, uint32_t transfer, L2Access& access);
    /// `transfer` writes the range. A write allocates its lines without a read from HBM.
    void Write(uint64_t address, uint64_t bytes, uint32_t transfer, L2Access& access);
    /// The accesses from here on are those of another kernel.
    void BeginKernel() { ++kernel_; }
    /// Whether the line that holds `address` is in L2.
    bool Contains(uint64_t address) const;
    void Flush();

private:
    static constexpr uint32_t kSectorBytes = kLineBytes * kLinesPerSector;
    static constexpr uint32_t kPageSectors = 2048;
    static constexpr uint32_t kNone = 0xFFFFFFFF;
    /// Any number but 0; the same one always, so that the same trace gives the same times.
    static constexpr uint32_t kSeed = 2463534242;

    struct Sector {
        uint64_t number = 0;
        uint32_t newer = kNone;
        uint32_t older = kNone;
        uint32_t transfer = kNoTransfer;
        uint32_t kernel = 0;         ///< the last one that used it
        uint8_t used = 0;            ///< lines that this kernel has used
        uint32_t pool_slot = kNone;  ///< place in pool_; kNone: among the recently used
        uint8_t valid = 0;
        uint8_t dirty = 0;
    };
    struct Page {
        std::vector<uint32_t> index;
    };

    template <typename Visit>
    void ForSectors(uint64_t address, uint64_t bytes, const Visit& visit) const;
    uint32_t& Index(uint64_t number);
    /// Returns the sector, now the most recently used one; allocates it if it was not in L2.
    Sector& Touch(uint64_t number, L2Access& access);
    void Unlink(uint32_t index);
    void PushFront(uint32_t index);
    /// Takes a sector out of the recently used ones, or out of the pool.
    void Remove(uint32_t index);
    uint32_t Victim();

    size_t max_sectors_;
    size_t max_recent_;
    size_t recent_ = 0;           ///< sectors between newest_ and oldest_
    std::vector<uint32_t> pool_;  ///< all other sectors, in no order
    uint32_t random_ = kSeed;
    uint32_t kernel_ = 0;
    std::vector<Sector> sectors_;
    std::unordered_map<uint64_t, Page> pages_;
    uint64_t last_page_number_ = ~uint64_t{0};
    Page* last_page_ = nullptr;
    uint32_t newest_ = kNone;
    uint32_t oldest_ = kNone;
};

}  // namespace model
