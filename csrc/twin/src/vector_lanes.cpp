#include "vector_lanes.h"

#include <algorithm>

namespace twin {

namespace {

uint32_t PopCount(uint64_t word) { return static_cast<uint32_t>(std::bitset<64>(word).count()); }

struct BlockSpan {
    int64_t first;
    int64_t last;
};

/// The byte range of the active lanes of one iteration, relative to the start of the iteration.
BlockSpan SpanOf(const Walk& walk, const Operand& operand, const LaneMask& mask) {
    BlockSpan span{INT64_MAX, 0};
    const uint32_t per_block = operand.LanesPerBlock();
    for (uint32_t block = 0; block < operand.Blocks(walk); ++block) {
        const uint32_t bits = mask.Bits(block * per_block, per_block);
        if (bits == 0) continue;
        uint32_t low = 0;
        while ((bits >> low & 1) == 0) ++low;
        uint32_t high = per_block - 1;
        while ((bits >> high & 1) == 0) --high;
        const int64_t base = operand.BlockOffset(0, block);
        span.first = std::min(span.first, base + low * operand.lane_bytes);
        span.last = std::max(span.last, base + (high + 1) * operand.lane_bytes);
    }
    return span;
}

bool Meet(int64_t a_first, int64_t a_last, int64_t b_first, int64_t b_last) {
    return a_first < b_last && b_first < a_last;
}

[[noreturn]] void FailOverlap(const char* instruction, const Operand& dst, const Operand& src,
                              const char* how, const Site& site) {
    Fail("overlap", site, "%s: dst (byte %llu of UB) and %s (byte %llu) overlap %s", instruction,
         static_cast<unsigned long long>(dst.local.offset), src.name,
         static_cast<unsigned long long>(src.local.offset), how);
}

}  // namespace

LaneMask LaneMask::First(uint32_t count) {
    LaneMask mask;
    for (uint32_t word = 0; word < 2; ++word) {
        const uint32_t bits = count <= word * 64 ? 0 : std::min(count - word * 64, 64u);
        mask.words[word] = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    }
    return mask;
}

uint32_t LaneMask::Count() const { return PopCount(words[0]) + PopCount(words[1]); }

Walk MakeWalk(const char* instruction, const VectorRange& range, uint32_t widest_bytes,
              const Site& site) {
    Walk walk;
    walk.lanes = kRepeatBytes / widest_bytes;
    if (range.form == VectorRange::Form::kCount) {
        RequireRange(instruction, "count", range.count, 0, arch::DavC220::kUbBytes, site);
        const auto count = static_cast<uint32_t>(range.count);
        walk.contiguous = true;
        walk.repeats = (count + walk.lanes - 1) / walk.lanes;
        walk.mask = LaneMask::First(walk.lanes);
        walk.last = walk.repeats == 0 ? LaneMask{}
                                      : LaneMask::First(count - (walk.repeats - 1) * walk.lanes);
        return walk;
    }
    RequireField(instruction, "repeatTime", range.repeats, kMaxRepeats, site);
    walk.repeats = static_cast<uint32_t>(range.repeats);
    if (range.form == VectorRange::Form::kMask) {
        // The hardware clamps a mask that is too large (掩码, table 5), but it is still a mistake
        // in the kernel.
        RequireRange(instruction, "mask", range.count, 0, walk.lanes, site);
        walk.mask = LaneMask::First(static_cast<uint32_t>(range.count));
    } else {
        walk.mask.words[0] = range.bitmap[0];
        // For 64 lanes, the kernel's array may have a single word.
        if (walk.lanes > 64) walk.mask.words[1] = range.bitmap[1];
    }
    walk.last = walk.mask;
    if (walk.mask.Count() == 0) walk.repeats = 0;
    return walk;
}

Operand MakeOperand(const char* name, const Local& local, uint32_t lane_bytes, const Walk& walk,
                    int64_t block_stride, int64_t repeat_stride) {
    if (walk.contiguous) {
        block_stride = 1;
        repeat_stride = walk.lanes * lane_bytes / kBlockBytes;
    }
    return {name, local, lane_bytes, static_cast<uint32_t>(block_stride),
            static_cast<uint32_t>(repeat_stride)};
}

Extent ExtentOf(const Walk& walk, const Operand& operand) {
    const BlockSpan last = SpanOf(walk, operand, walk.last);
    Extent extent{last.first, last.last};
    extent.first += operand.BlockOffset(walk.repeats - 1, 0);
    extent.last += operand.BlockOffset(walk.repeats - 1, 0);
    if (walk.repeats > 1) {
        const BlockSpan others = SpanOf(walk, operand, walk.mask);
        extent.first = std::min(extent.first, others.first);
        extent.last = std::max(extent.last, others.last + operand.BlockOffset(walk.repeats - 2, 0));
    }
    return extent;
}

void RequireOperand(const char* instruction, const Walk& walk, const Operand& operand,
                    const Site& site) {
    RequireBuffer(instruction, operand.name, operand.local, TraceBuffer::kUb, site);
    RequireAligned(instruction, operand.name, operand.local, kBlockBytes, site);
    const Extent extent = ExtentOf(walk, operand);
    RequireInside(instruction, operand.name, operand.local, extent.first, extent.last, site);
}

void RequireDstBlockStride(const char* instruction, int64_t stride, const Site& site) {
    RequireRange(instruction, "the destination block stride", stride, 1, kMaxStride, site);
}

void RequireOverlap(const char* instruction, const Walk& walk, const Operand& dst,
                    const Operand& src, bool accumulates, const Site& site) {
    const Extent to = ExtentOf(walk, dst);
    const Extent from = ExtentOf(walk, src);
    const auto dst_start = static_cast<int64_t>(dst.local.offset);
    const auto src_start = static_cast<int64_t>(src.local.offset);
    if (!Meet(dst_start + to.first, dst_start + to.last, src_start + from.first,
              src_start + from.last))
        return;
    if (dst.lane_bytes != src.lane_bytes) {
        FailOverlap(instruction, dst, src, "although their elements differ in size", site);
    }
    const uint32_t blocks = dst.Blocks(walk);
    const bool in_place = dst_start == src_start && dst.block_stride == src.block_stride &&
                          dst.repeat_stride == src.repeat_stride;
    if (in_place && (walk.repeats == 1 || dst.repeat_stride > (blocks - 1) * dst.block_stride))
        return;

    // This case is rare, so it may be checked block by block. Both starts are aligned, so two
    // blocks are either the same or have no byte in common.
    const uint32_t per_block = dst.LanesPerBlock();
    std::bitset<arch::DavC220::kUbBytes / kBlockBytes> written;
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        std::array<int64_t, kBlocksPerRepeat> writes{};
        std::array<int64_t, kBlocksPerRepeat> reads{};
        uint32_t active = 0;
        for (uint32_t block = 0; block < blocks; ++block) {
            if (walk.At(repeat).Bits(block * per_block, per_block) == 0) continue;
            writes[active] = (dst_start + dst.BlockOffset(repeat, block)) / kBlockBytes;
            reads[active] = (src_start + src.BlockOffset(repeat, block)) / kBlockBytes;
            ++active;
        }
        const bool same = std::equal(writes.begin(), writes.begin() + active, reads.begin());
        for (uint32_t i = 0; i < active; ++i) {
            if (!accumulates && written[reads[i]]) {
                FailOverlap(instruction, dst, src,
                            "between iterations: a later one reads what an earlier one wrote",
                            site);
            }
            const bool meets = std::count(writes.begin(), writes.begin() + active, reads[i]) != 0;
            if (meets && !same) {
                FailOverlap(instruction, dst, src,
                            "in part within an iteration; only the same blocks may", site);
            }
        }
        for (uint32_t i = 0; i < active; ++i) written.set(writes[i]);
    }
}

void BlockSet::Add(const Local& local, int64_t first, int64_t last) {
    const int64_t start = local.offset;
    for (int64_t block = (start + first) / kBlockBytes; block * kBlockBytes < start + last;
         ++block) {
        blocks_.set(static_cast<size_t>(block));
    }
}

void BlockSet::Add(const Walk& walk, const Operand& operand) {
    const uint32_t per_block = operand.LanesPerBlock();
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        for (uint32_t block = 0; block < operand.Blocks(walk); ++block) {
            if (walk.At(repeat).Bits(block * per_block, per_block) == 0) continue;
            const int64_t offset = operand.BlockOffset(repeat, block);
            Add(operand.local, offset, offset + kBlockBytes);
        }
    }
}

void RequireDisjoint(const char* instruction, const BlockSet& dst, const char* src_name,
                     const BlockSet& src, const Site& site) {
    if (dst.Meets(src))
        Fail("overlap", site, "%s: dst and %s overlap in UB", instruction, src_name);
}

namespace {

/// Visits the runs of active lanes, block by block.
template <typename Visit>
void ForRuns(const Walk& walk, const Operand& operand, const Visit& visit) {
    const uint32_t per_block = operand.LanesPerBlock();
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        for (uint32_t block = 0; block < operand.Blocks(walk); ++block) {
            const uint32_t bits = walk.At(repeat).Bits(block * per_block, per_block);
            const int64_t start = operand.BlockOffset(repeat, block);
            for (uint32_t lane = 0; lane < per_block;) {
                if ((bits >> lane & 1) == 0) {
                    ++lane;
                    continue;
                }
                uint32_t end = lane;
                while (end < per_block && (bits >> end & 1) != 0) ++end;
                visit(start + lane * operand.lane_bytes,
                      static_cast<int64_t>(end - lane) * operand.lane_bytes);
                lane = end;
            }
        }
    }
}

}  // namespace

void ReadLanes(const Accesses& accesses, const Walk& walk, const Operand& operand) {
    if (!accesses.On()) return;
    ForRuns(walk, operand,
            [&](int64_t first, int64_t bytes) { accesses.Read(operand.local, first, bytes); });
}

void WriteLanes(const Accesses& accesses, const Walk& walk, const Operand& operand) {
    if (!accesses.On()) return;
    ForRuns(walk, operand,
            [&](int64_t first, int64_t bytes) { accesses.Write(operand.local, first, bytes); });
}

void RecordVector(const Local& dst, const Extent& extent, uint64_t repeats, uint64_t bytes,
                  uint32_t lane_bytes, const Site& site) {
    Record(TraceOp::kVector, TracePipe::kV, site, [&](TraceRecord& record) {
        Local touched = dst;
        touched.offset += static_cast<uint32_t>(extent.first);
        FillLocal(record, touched, static_cast<uint32_t>(extent.last - extent.first));
        record.args[0] = static_cast<uint32_t>(repeats);
        record.args[1] = static_cast<uint32_t>(bytes);
        record.args[2] = lane_bytes;
    });
}

}  // namespace twin
