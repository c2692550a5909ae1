#include "model/l2_state.h"

#include <algorithm>
#include <stdexcept>

namespace model {

namespace {

uint64_t Lines(uint8_t mask) { return static_cast<uint64_t>(__builtin_popcount(mask)); }

}  // namespace

L2State::L2State(uint64_t capacity_bytes, uint64_t kept_bytes)
    : max_sectors_(capacity_bytes / kSectorBytes),
      max_recent_(std::min(max_sectors_, kept_bytes / kSectorBytes)) {
    if (max_recent_ == 0) throw std::invalid_argument("L2 of no bytes, or that keeps none");
}

template <typename Visit>
void L2State::ForSectors(uint64_t address, uint64_t bytes, const Visit& visit) const {
    if (bytes == 0) return;
    const uint64_t first_line = address / kLineBytes;
    const uint64_t last_line = (address + bytes - 1) / kLineBytes;
    for (uint64_t number = first_line / kLinesPerSector; number <= last_line / kLinesPerSector;
         ++number) {
        const uint64_t base = number * kLinesPerSector;
        const uint64_t first = std::max(first_line, base) - base;
        const uint64_t last = std::min(last_line, base + kLinesPerSector - 1) - base;
        visit(number, static_cast<uint8_t>((2U << last) - (1U << first)));
    }
}

uint32_t& L2State::Index(uint64_t number) {
    const uint64_t page = number / kPageSectors;
    if (page != last_page_number_) {
        last_page_ = &pages_[page];
        if (last_page_->index.empty()) last_page_->index.assign(kPageSectors, kNone);
        last_page_number_ = page;
    }
    return last_page_->index[number % kPageSectors];
}

void L2State::Unlink(uint32_t index) {
    const Sector& sector = sectors_[index];
    (sector.newer == kNone ? newest_ : sectors_[sector.newer].older) = sector.older;
    (sector.older == kNone ? oldest_ : sectors_[sector.older].newer) = sector.newer;
    --recent_;
}

void L2State::PushFront(uint32_t index) {
    sectors_[index].newer = kNone;
    sectors_[index].older = newest_;
    (newest_ == kNone ? oldest_ : sectors_[newest_].newer) = index;
    newest_ = index;
    if (++recent_ <= max_recent_) return;
    const uint32_t oldest = oldest_;
    Unlink(oldest);
    sectors_[oldest].pool_slot = static_cast<uint32_t>(pool_.size());
    pool_.push_back(oldest);
}

void L2State::Remove(uint32_t index) {
    Sector& sector = sectors_[index];
    if (sector.pool_slot == kNone) {
        Unlink(index);
        return;
    }
    sectors_[pool_.back()].pool_slot = sector.pool_slot;
    pool_[sector.pool_slot] = pool_.back();
    pool_.pop_back();
    sector.pool_slot = kNone;
}

uint32_t L2State::Victim() {
    if (pool_.empty()) return oldest_;
    // Marsaglia's xorshift with the shifts 13, 17 and 5.
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return pool_[random_ % pool_.size()];
}

L2State::Sector& L2State::Touch(uint64_t number, L2Access& access) {
    uint32_t index = Index(number);
    if (index == newest_ && index != kNone) return sectors_[index];
    if (index != kNone) {
        Remove(index);
        PushFront(index);
        return sectors_[index];
    }
    if (sectors_.size() < max_sectors_) {
        index = static_cast<uint32_t>(sectors_.size());
        sectors_.emplace_back();
    } else {
        index = Victim();
        access.write_back += Lines(sectors_[index].dirty) * kLineBytes;
        Index(sectors_[index].number) = kNone;
        Remove(index);
        sectors_[index] = Sector{};
    }
    sectors_[index].number = number;
    Index(number) = index;
    PushFront(index);
    return sectors_[index];
}

void L2State::Read(uint64_t address, uint64_t bytes, uint32_t transfer, L2Access& access) {
    ForSectors(address, bytes, [&](uint64_t number, uint8_t lines) {
        Sector& sector = Touch(number, access);
        const auto hits = static_cast<uint8_t>(lines & sector.valid);
        access.hit += Lines(hits) * kLineBytes;
        access.miss += (Lines(lines) - Lines(hits)) * kLineBytes;
        if (hits != 0 && sector.transfer != kNoTransfer && sector.transfer != transfer &&
            (access.after == kNoTransfer || sector.transfer > access.after)) {
            access.after = sector.transfer;
        }
        const uint8_t used = sector.kernel == kernel_ ? sector.used : 0;
        access.first += Lines(hits & static_cast<uint8_t>(~used)) * kLineBytes;
        sector.kernel = kernel_;
        sector.used = used | lines;
        if (hits != lines) sector.transfer = transfer;
        sector.valid |= lines;
    });
}

void L2State::Write(uint64_t address, uint64_t bytes, uint32_t transfer, L2Access& access) {
    ForSectors(address, bytes, [&](uint64_t number, uint8_t lines) {
        Sector& sector = Touch(number, access);
        access.hit += Lines(lines) * kLineBytes;
        sector.used = static_cast<uint8_t>(lines | (sector.kernel == kernel_ ? sector.used : 0));
        sector.kernel = kernel_;
        sector.transfer = transfer;
        sector.valid |= lines;
        sector.dirty |= lines;
    });
}

bool L2State::Contains(uint64_t address) const {
    const uint64_t line = address / kLineBytes;
    const uint64_t number = line / kLinesPerSector;
    const auto page = pages_.find(number / kPageSectors);
    if (page == pages_.end()) return false;
    const uint32_t index = page->second.index[number % kPageSectors];
    return index != kNone && (sectors_[index].valid >> line % kLinesPerSector & 1) != 0;
}

void L2State::Flush() {
    sectors_.clear();
    pages_.clear();
    last_page_number_ = ~uint64_t{0};
    last_page_ = nullptr;
    newest_ = oldest_ = kNone;
    pool_.clear();
    recent_ = 0;
    random_ = kSeed;
}

}  // namespace model
