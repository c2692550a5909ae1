// The contents of L2 while kernels run one after the other. The least recently used sector is
// evicted first.
//
// A sector is 512 bytes of GM, the unit of coherence, in four lines of 128 bytes, the unit in which
// hit counters count (arch/chip.h names the sources of both). Lines are filled one by one, sectors
// are evicted whole.
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
    uint64_t hit = 0;              ///< bytes in L2, or in flight to it; all bytes of a write
    uint64_t miss = 0;             ///< bytes that have to come from HBM
    uint64_t write_back = 0;       ///< bytes of dirty lines that were evicted
    uint32_t after = kNoTransfer;  ///< the latest transfer that brought some of the hits
};

/// Tracks which bytes are in L2, in lines of 128 bytes. A sector is one L2 line of the hardware
/// (arch::DavC220::kL2LineBytes).
class L2State {
public:
    static constexpr uint32_t kLineBytes = 128;
    static constexpr uint32_t kLinesPerSector = arch::DavC220::kL2LineBytes / kLineBytes;

    explicit L2State(uint64_t capacity_bytes);

    /// `transfer` reads [address, address + bytes). Lines that miss count as present from now on;
    /// their data is complete when the transfer is. Adds to `access`. Transfers are numbered in the
    /// order of their calls.
    void Read(uint64_t address, uint64_t bytes, uint32_t transfer, L2Access& access);
    /// `transfer` writes the range. A write allocates its lines without a read from HBM.
    void Write(uint64_t address, uint64_t bytes, uint32_t transfer, L2Access& access);
    /// Whether the line that holds `address` is in L2.
    bool Contains(uint64_t address) const;
    void Flush();

private:
    static constexpr uint32_t kSectorBytes = kLineBytes * kLinesPerSector;
    static constexpr uint32_t kPageSectors = 2048;
    static constexpr uint32_t kNone = 0xFFFFFFFF;

    struct Sector {
        uint64_t number = 0;
        uint32_t newer = kNone;
        uint32_t older = kNone;
        uint32_t transfer = kNoTransfer;
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

    size_t max_sectors_;
    std::vector<Sector> sectors_;
    std::unordered_map<uint64_t, Page> pages_;
    uint64_t last_page_number_ = ~uint64_t{0};
    Page* last_page_ = nullptr;
    uint32_t newest_ = kNone;
    uint32_t oldest_ = kNone;
};

}  // namespace model
