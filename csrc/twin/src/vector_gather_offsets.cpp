// Gather (Memory矢量计算/离散与聚合/Gather).
//
// Element i of dst is the element at srcBaseAddr + srcOffset[i] bytes from the start of src. The
// page does not say which offsets a masked iteration uses. Here an iteration covers 256 bytes of
// dst and takes one offset per lane, and the offsets of all iterations follow each other without a
// stride. Inactive lanes skip their offsets, which may then have any value.
#include <cstring>
#include <vector>

#include "vector_lanes.h"

namespace twin {

namespace {

constexpr const char* kInstruction = "Gather";

/// Calls `visit(repeat, lane)` for every active lane, in order.
template <typename Visit>
void ForEachLane(const Walk& walk, const Visit& visit) {
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        for (uint32_t lane = 0; lane < walk.lanes; ++lane) {
            if (walk.At(repeat).Active(lane)) visit(repeat, lane);
        }
    }
}

/// Returns the byte offset in src for each active lane. Every offset is checked.
std::vector<int64_t> SourceOffsets(const Walk& walk, const Local& src, const Local& src_offset,
                                   uint32_t src_base, uint32_t bytes, const Site& site) {
    std::vector<int64_t> sources;
    sources.reserve(walk.ActiveLanes());
    ForEachLane(walk, [&](uint32_t repeat, uint32_t lane) {
        const uint32_t element = repeat * walk.lanes + lane;
        uint32_t offset = 0;
        std::memcpy(&offset, src_offset.data + element * sizeof(offset), sizeof(offset));
        if (offset % bytes != 0) {
            Fail("misaligned", site, "%s: srcOffset[%u] is %u, must be a multiple of %u",
                 kInstruction, element, offset, bytes);
        }
        // The sum is computed in 64 bits, so that an offset beyond the end of src does not wrap.
        const int64_t source = static_cast<int64_t>(src_base) + offset;
        const int64_t start = static_cast<int64_t>(src.offset) + source;
        if (start + bytes > src.end) {
            Fail("out-of-bounds", site,
                 "%s: srcOffset[%u] is %u and srcBaseAddr %u: src touches bytes [%lld, %lld) of "
                 "UB, its allocation is [%u, %u)",
                 kInstruction, element, offset, src_base, static_cast<long long>(start),
                 static_cast<long long>(start + bytes), src.begin, src.end);
        }
        sources.push_back(source);
    });
    return sources;
}

void RequireDisjointOperands(const Walk& walk, const Operand& dst, const Operand& offsets,
                             const Local& src, const std::vector<int64_t>& sources,
                             const Site& site) {
    BlockSet writes;
    BlockSet offset_reads;
    BlockSet reads;
    writes.Add(walk, dst);
    offset_reads.Add(walk, offsets);
    for (const int64_t source : sources) reads.Add(src, source, source + dst.lane_bytes);
    RequireDisjoint(kInstruction, writes, "srcOffset", offset_reads, site);
    RequireDisjoint(kInstruction, writes, "src", reads, site);
}

}  // namespace

void VectorGather(DType type, const Local& dst, const Local& src, const Local& src_offset,
                  uint32_t src_base, const VectorRange& range, int64_t dst_repeat_stride,
                  Site site) {
    RequireAiv(kInstruction, site);
    RequireField(kInstruction, "dstRepStride", dst_repeat_stride, kMaxStride, site);
    const uint32_t bytes = DTypeBytes(type);
    const Walk walk = MakeWalk(kInstruction, range, bytes, site);
    if (walk.Empty()) return;
    const Operand to = MakeOperand("dst", dst, bytes, walk, 1, dst_repeat_stride);
    const auto offset_step = static_cast<int64_t>(walk.lanes * sizeof(uint32_t) / kBlockBytes);
    const Operand offsets =
        MakeOperand("srcOffset", src_offset, sizeof(uint32_t), walk, 1, offset_step);
    RequireOperand(kInstruction, walk, to, site);
    RequireOperand(kInstruction, walk, offsets, site);
    RequireBuffer(kInstruction, "src", src, TraceBuffer::kUb, site);
    RequireAligned(kInstruction, "src", src, kBlockBytes, site);
    if (src_base % bytes != 0) {
        Fail("misaligned", site, "%s: srcBaseAddr is %u, must be a multiple of %u", kInstruction,
             src_base, bytes);
    }
    const std::vector<int64_t> sources =
        SourceOffsets(walk, src, src_offset, src_base, bytes, site);
    RequireDisjointOperands(walk, to, offsets, src, sources, site);

    const Accesses accesses(kInstruction, TracePipe::kV, site);
    ReadLanes(accesses, walk, offsets);
    for (const int64_t from : sources) accesses.Read(src, from, bytes);
    WriteLanes(accesses, walk, to);
    RecordVector(dst, ExtentOf(walk, to), walk.repeats, walk.ActiveLanes() * bytes, bytes, site);
    auto source = sources.begin();
    ForEachLane(walk, [&](uint32_t repeat, uint32_t lane) {
        std::memcpy(dst.data + to.BlockOffset(repeat, 0) + lane * bytes, src.data + *source++,
                    bytes);
    });
}

}  // namespace twin
