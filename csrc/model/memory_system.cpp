#include "model/memory_system.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace model {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
/// A transfer with no more bytes left than this has drained; the rest is rounding error.
constexpr double kNothing = 1e-6;

}  // namespace

MemorySystem::MemorySystem(const arch::TimingConstants& constants)
    : constants_(constants),
      l2_(static_cast<uint64_t>(constants.l2_capacity),
          static_cast<uint64_t>(constants.l2_capacity * constants.l2_kept)),
      next_drain_(kNever) {}

void MemorySystem::Touch(uint64_t address, uint64_t bytes, bool write) {
    L2Access access;
    if (write) {
        l2_.Write(address, bytes, kNoTransfer, access);
    } else {
        l2_.Read(address, bytes, kNoTransfer, access);
    }
}

void MemorySystem::Submit(double time, const Transfer& transfer) {
    if (time < now_) throw std::logic_error("timing model: a transfer starts in the past");
    const auto number = static_cast<uint32_t>(entries_.size());
    Entry entry;
    entry.transfer = transfer;
    entries_.push_back(entry);
    arrivals_.push({time, number});
}

double MemorySystem::Next() const {
    return std::min(next_drain_, arrivals_.empty() ? kNever : arrivals_.top().time);
}

void MemorySystem::Step(std::vector<FinishedTransfer>& finished) {
    const double time = Next();
    if (time == kNever) throw std::logic_error("timing model: nothing is under way");
    Flow(time);
    bool changed = false;
    for (size_t i = 0; i < flowing_.size();) {
        Entry& entry = entries_[flowing_[i]];
        // A remainder within the rounding error of the clock would never drain.
        if (entry.left > kNothing && entry.left > rates_[i] * now_ * 1e-15) {
            ++i;
            continue;
        }
        const uint32_t number = flowing_[i];
        flowing_.erase(flowing_.begin() + static_cast<int64_t>(i));
        rates_.erase(rates_.begin() + static_cast<int64_t>(i));
        changed = true;
        if (entry.after != kNoTransfer && !entries_[entry.after].done) {
            blocked_.push_back(number);
        } else {
            Finish(number, finished);
        }
    }
    while (!arrivals_.empty() && arrivals_.top().time <= now_) {
        const uint32_t number = arrivals_.top().number;
        arrivals_.pop();
        Entry& entry = entries_[number];
        if (!entry.looked_up) {
            LookUp(number);
            const bool late = entry.transfer.waits && entry.counts.hbm_read > 0;
            if (late && constants_.hbm_latency > 0) {
                arrivals_.push({now_ + constants_.hbm_latency, number});
                continue;
            }
        }
        entry.start = now_;
        flowing_.push_back(number);
        changed = true;
    }
    if (changed) Share();
}

void MemorySystem::Idle(double time) {
    if (time > Next()) throw std::logic_error("timing model: an event was passed over");
    if (time > now_) Flow(time);
}

void MemorySystem::KeepRates(bool keep) {
    keep_rates_ = keep;
    rate_changes_.clear();
}

void MemorySystem::LookUp(uint32_t number) {
    Entry& entry = entries_[number];
    const Transfer& transfer = entry.transfer;
    const GmRange& range = transfer.range;
    L2Access access;
    for (uint64_t block = 0; block < range.block_count; ++block) {
        const uint64_t address = range.address + block * range.stride;
        if (transfer.write) {
            l2_.Write(address, range.block_bytes, number, access);
        } else {
            l2_.Read(address, range.block_bytes, number, access);
        }
    }
    entry.looked_up = true;
    entry.after = access.after;
    MemoryCounts& counts = entry.counts;
    (transfer.write ? counts.written : counts.l2_hit) = access.hit;
    counts.hbm_read = access.miss;
    counts.hbm_written = access.write_back;
    counts_.hbm_read += counts.hbm_read;
    counts_.hbm_written += counts.hbm_written;
    counts_.l2_hit += counts.l2_hit;
    counts_.written += counts.written;
    const auto bytes = static_cast<double>(range.bytes());
    entry.left = bytes;
    entry.demand.max_rate = transfer.max_rate;
    entry.demand.hbm = (static_cast<double>(access.miss) * transfer.hbm_factor +
                        static_cast<double>(access.write_back)) /
                       bytes;
    const double first = static_cast<double>(access.first) * (constants_.l2_first_factor - 1);
    entry.demand.l2 =
        (static_cast<double>(access.hit + access.miss) + first) * transfer.l2_factor / bytes;
}

void MemorySystem::Flow(double time) {
    const double us = time - now_;
    for (size_t i = 0; i < flowing_.size(); ++i) entries_[flowing_[i]].left -= rates_[i] * us;
    now_ = time;
}

void MemorySystem::Share() {
    demands_.clear();
    for (const uint32_t number : flowing_) demands_.push_back(entries_[number].demand);
    ShareFairly(demands_, constants_.hbm_rate, constants_.l2_rate, rates_);
    next_drain_ = NextDrain();
    if (keep_rates_) rate_changes_.push_back(Rates());
}

RateChange MemorySystem::Rates() const {
    RateChange rates{now_, 0, 0, 0, 0};
    for (size_t i = 0; i < flowing_.size(); ++i) {
        const Entry& entry = entries_[flowing_[i]];
        const double share = rates_[i] / static_cast<double>(entry.transfer.range.bytes());
        rates.hbm_read += share * static_cast<double>(entry.counts.hbm_read);
        rates.hbm_written += share * static_cast<double>(entry.counts.hbm_written);
        rates.l2_hit += share * static_cast<double>(entry.counts.l2_hit);
        rates.written += share * static_cast<double>(entry.counts.written);
    }
    return rates;
}

double MemorySystem::NextDrain() const {
    double us = kNever;
    for (size_t i = 0; i < flowing_.size(); ++i) {
        us = std::min(us, std::max(0.0, entries_[flowing_[i]].left) / rates_[i]);
    }
    return now_ + us;
}

void MemorySystem::Finish(uint32_t number, std::vector<FinishedTransfer>& finished) {
    Entry& entry = entries_[number];
    entry.done = true;
    finished.push_back(
        {entry.transfer.tag, entry.start, now_, entry.transfer.range.bytes(), entry.counts});
    for (size_t i = 0; i < blocked_.size(); ++i) {
        const uint32_t other = blocked_[i];
        if (entries_[other].after != number) continue;
        blocked_.erase(blocked_.begin() + static_cast<int64_t>(i));
        Finish(other, finished);
        i = static_cast<size_t>(-1);  // the list has changed
    }
}

}  // namespace model
