// Which instructions have read and written the bytes of one memory last. Private to the twin's
// sanitizer.
//
// For each byte, it keeps the instruction that wrote it last and, for every reader (a pipe of a
// core), the last instruction that has read it since. Bytes are kept in cells of 32, one bit each.
// Most accesses cover whole cells, and the cell itself has room for one write and one read. Further
// ones go to a list beside it, until the whole cell is written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace twin {

class Shadow {
public:
    Shadow() = default;
    explicit Shadow(uint64_t bytes) : cells_((bytes + kCellBytes - 1) / kCellBytes) {}

    /// Notes an access of `rules.current()` to [first, first + bytes). It conflicts with an earlier
    /// access to the same byte if at least one of the two is a write and
    /// rules.Ordered(instruction) is false; each conflict is passed to rules.Conflict(instruction,
    /// whether it wrote, first byte, bytes). rules.Reader(instruction) identifies the reader or
    /// writer. rules.Joins(instruction) tells whether the instruction and the current one may write
    /// in any order.
    template <typename Rules>
    void Touch(uint64_t first, uint64_t bytes, bool write, Rules& rules) {
        const uint64_t end = first + bytes;
        for (uint64_t index = first / kCellBytes; index * kCellBytes < end; ++index) {
            const uint64_t start = index * kCellBytes;
            const uint64_t low = std::max(first, start) - start;
            const uint64_t high = std::min(end - start, kCellBytes);
            const uint32_t mask = (kWhole >> (kCellBytes - high)) & (kWhole << low);
            if (write) {
                Write(cells_[index], start, mask, rules);
            } else {
                Read(cells_[index], start, mask, rules);
            }
        }
    }

private:
    static constexpr uint64_t kCellBytes = 32;
    static constexpr uint32_t kWhole = ~uint32_t{0};

    /// An instruction and the bytes of the cell that it accessed; unused if `bytes` is 0.
    struct Entry {
        uint32_t instruction = 0;
        uint32_t bytes = 0;
    };
    struct Cell {
        Entry write;
        Entry read;
        uint32_t more = 0;  ///< index into lists_; 0 if it has no list
    };
    struct Lists {
        std::vector<Entry> writes;
        std::vector<Entry> reads;
    };

    template <typename Rules>
    static void Check(const Entry& earlier, bool wrote, uint64_t start, uint32_t bytes,
                      Rules& rules) {
        const uint32_t common = earlier.bytes & bytes;
        if (common == 0 || rules.Ordered(earlier.instruction)) return;
        const auto first = static_cast<uint32_t>(__builtin_ctz(common));
        const uint32_t run = common >> first;
        const auto count = run == kWhole ? kCellBytes : static_cast<uint64_t>(__builtin_ctz(~run));
        rules.Conflict(earlier.instruction, wrote, start + first, count);
    }

    template <typename Rules>
    void Write(Cell& cell, uint64_t start, uint32_t bytes, Rules& rules) {
        Check(cell.write, true, start, bytes, rules);
        Check(cell.read, false, start, bytes, rules);
        if (cell.more != 0) {
            for (const Entry& entry : lists_[cell.more].writes) {
                Check(entry, true, start, bytes, rules);
            }
            for (const Entry& entry : lists_[cell.more].reads) {
                Check(entry, false, start, bytes, rules);
            }
        }
        // An update that may come in any order with earlier ones does not replace them: a later
        // access has to be ordered after each. Of each writer, keeping the last update is enough.
        if (rules.Joins(rules.current())) {
            const uint32_t writer = rules.Reader(rules.current());
            Remove(cell, &Cell::write, &Lists::writes, bytes, [&](const Entry& entry) {
                return rules.Joins(entry.instruction) && rules.Reader(entry.instruction) == writer;
            });
            Add(cell, &Cell::write, &Lists::writes, {rules.current(), bytes});
            return;
        }
        if (bytes == kWhole) {
            if (cell.more != 0) Release(cell);
            cell.write = {rules.current(), kWhole};
            cell.read = {};
            return;
        }
        const auto always = [](const Entry&) { return true; };
        Remove(cell, &Cell::write, &Lists::writes, bytes, always);
        Remove(cell, &Cell::read, &Lists::reads, bytes, always);
        Add(cell, &Cell::write, &Lists::writes, {rules.current(), bytes});
    }

    // An access that is ordered after a read is ordered after all earlier reads of the same reader,
    // so the last read is enough. The exception is an instruction that works in place: its own read
    // does not order its write after earlier reads. Therefore the last read before the current one
    // is kept too, unless something orders the two.
    template <typename Rules>
    void Read(Cell& cell, uint64_t start, uint32_t bytes, Rules& rules) {
        Check(cell.write, true, start, bytes, rules);
        if (cell.more != 0) {
            for (const Entry& entry : lists_[cell.more].writes) {
                Check(entry, true, start, bytes, rules);
            }
        }
        const uint32_t reader = rules.Reader(rules.current());
        uint32_t newer = rules.current();
        uint32_t open = bytes;  // bytes whose last read before the current one is not found yet
        while (open != 0) {
            uint32_t last = 0;
            const auto keep_last = [&](const Entry& entry) {
                if ((entry.bytes & open) != 0 && entry.instruction < newer &&
                    entry.instruction > last && rules.Reader(entry.instruction) == reader) {
                    last = entry.instruction;
                }
            };
            ForReads(cell, keep_last);
            if (last == 0) break;
            uint32_t covered = 0;
            ForReads(cell, [&](const Entry& entry) {
                if (entry.instruction == last) covered |= entry.bytes & open;
            });
            const bool ordered = rules.Ordered(last);
            Remove(cell, &Cell::read, &Lists::reads, covered, [&](const Entry& entry) {
                return (entry.instruction < last || (ordered && entry.instruction == last)) &&
                       rules.Reader(entry.instruction) == reader;
            });
            open &= ~covered;
            newer = last;
        }
        Add(cell, &Cell::read, &Lists::reads, {rules.current(), bytes});
    }

    template <typename Visit>
    void ForReads(const Cell& cell, const Visit& visit) const {
        visit(cell.read);
        if (cell.more == 0) return;
        for (const Entry& entry : lists_[cell.more].reads) visit(entry);
    }

    template <typename Which>
    void Remove(Cell& cell, Entry Cell::* own, std::vector<Entry> Lists::* list, uint32_t bytes,
                const Which& which) {
        Entry& entry = cell.*own;
        if ((entry.bytes & bytes) != 0 && which(entry)) entry.bytes &= ~bytes;
        if (cell.more == 0) return;
        auto& entries = lists_[cell.more].*list;
        for (Entry& other : entries) {
            if ((other.bytes & bytes) != 0 && which(other)) other.bytes &= ~bytes;
        }
        entries.erase(std::remove_if(entries.begin(), entries.end(),
                                     [](const Entry& other) { return other.bytes == 0; }),
                      entries.end());
    }

    void Add(Cell& cell, Entry Cell::* own, std::vector<Entry> Lists::* list, Entry added) {
        Entry& entry = cell.*own;
        if (entry.bytes == 0) {
            entry = added;
            return;
        }
        if (entry.instruction == added.instruction) {
            entry.bytes |= added.bytes;
            return;
        }
        if (cell.more == 0) cell.more = Take();
        auto& entries = lists_[cell.more].*list;
        for (Entry& other : entries) {
            if (other.instruction != added.instruction) continue;
            other.bytes |= added.bytes;
            return;
        }
        entries.push_back(added);
    }

    uint32_t Take() {
        if (free_.empty()) {
            lists_.emplace_back();
            return static_cast<uint32_t>(lists_.size() - 1);
        }
        const uint32_t taken = free_.back();
        free_.pop_back();
        return taken;
    }

    void Release(Cell& cell) {
        lists_[cell.more].writes.clear();
        lists_[cell.more].reads.clear();
        free_.push_back(cell.more);
        cell.more = 0;
    }

    std::vector<Cell> cells_;
    std::vector<Lists> lists_ = std::vector<Lists>(1);
    std::vector<uint32_t> free_;
};

}  // namespace twin
