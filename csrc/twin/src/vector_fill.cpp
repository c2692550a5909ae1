// Duplicate and Brcb (Memory矢量计算/数据填充/{Duplicate, Brcb}).
#include <algorithm>
#include <cstring>

#include "vector_lanes.h"

namespace twin {

namespace {

template <typename T>
void FillLanes(const Walk& walk, const Operand& dst, const void* scalar) {
    T value;
    std::memcpy(&value, scalar, sizeof(value));
    T lanes[kRepeatBytes / sizeof(T)];
    std::fill(std::begin(lanes), std::end(lanes), value);
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) Scatter(walk, dst, repeat, lanes);
}

template <typename T>
void FillBlock(uint8_t* block, const uint8_t* element) {
    for (uint32_t byte = 0; byte < kBlockBytes; byte += sizeof(T))
        std::memcpy(block + byte, element, sizeof(T));
}

}  // namespace

void VectorDuplicate(DType type, const Local& dst, const void* scalar, const VectorRange& range,
                     int64_t block_stride, int64_t repeat_stride, Site site) {
    RequireAiv("Duplicate", site);
    RequireField("Duplicate", "dstBlockStride", block_stride, kMaxStride, site);
    RequireDstBlockStride("Duplicate", block_stride, site);
    RequireField("Duplicate", "dstRepeatStride", repeat_stride, UINT8_MAX, site);
    const uint32_t bytes = DTypeBytes(type);
    const Walk walk = MakeWalk("Duplicate", range, bytes, site);
    if (walk.Empty()) return;
    const Operand to = MakeOperand("dst", dst, bytes, walk, block_stride, repeat_stride);
    RequireOperand("Duplicate", walk, to, site);
    WriteLanes(Accesses("Duplicate", TracePipe::kV, site), walk, to);
    RecordVector(dst, ExtentOf(walk, to), walk.repeats, walk.ActiveLanes() * bytes, bytes, site);
    if (bytes == 2) {
        FillLanes<uint16_t>(walk, to, scalar);
    } else {
        FillLanes<uint32_t>(walk, to, scalar);
    }
}

void VectorBrcb(DType type, const Local& dst, const Local& src, int64_t repeats,
                const AscendC::BrcbRepeatParams& params, Site site) {
    RequireAiv("Brcb", site);
    RequireReservedDefaults("Brcb", params, site);
    // The page's pseudo-code treats a block stride of 0 as 1, but its constraints call it
    // undefined.
    RequireDstBlockStride("Brcb", params.dstBlkStride, site);
    RequireField("Brcb", "repeatTime", repeats, kMaxRepeats, site);
    if (repeats == 0) return;
    RequireBuffer("Brcb", "dst", dst, TraceBuffer::kUb, site);
    RequireBuffer("Brcb", "src", src, TraceBuffer::kUb, site);
    RequireAligned("Brcb", "dst", dst, kBlockBytes, site);
    RequireAligned("Brcb", "src", src, kBlockBytes, site);
    const int64_t bytes = DTypeBytes(type);
    const int64_t block_step = static_cast<int64_t>(params.dstBlkStride) * kBlockBytes;
    const int64_t repeat_step = static_cast<int64_t>(params.dstRepStride) * kBlockBytes;
    const int64_t dst_bytes =
        (repeats - 1) * repeat_step + (kBlocksPerRepeat - 1) * block_step + kBlockBytes;
    const int64_t src_bytes = repeats * kBlocksPerRepeat * bytes;
    RequireInside("Brcb", "dst", dst, 0, dst_bytes, site);
    RequireInside("Brcb", "src", src, 0, src_bytes, site);
    BlockSet reads;
    BlockSet writes;
    reads.Add(src, 0, src_bytes);
    for (int64_t repeat = 0; repeat < repeats; ++repeat) {
        for (int64_t block = 0; block < kBlocksPerRepeat; ++block) {
            const int64_t start = repeat * repeat_step + block * block_step;
            writes.Add(dst, start, start + kBlockBytes);
        }
    }
    RequireDisjoint("Brcb", writes, "src", reads, site);
    const Accesses accesses("Brcb", TracePipe::kV, site);
    accesses.Read(src, 0, src_bytes);
    for (int64_t i = 0; accesses.On() && i < repeats * kBlocksPerRepeat; ++i) {
        accesses.Write(dst, i / kBlocksPerRepeat * repeat_step + i % kBlocksPerRepeat * block_step,
                       kBlockBytes);
    }
    RecordVector(dst, {0, dst_bytes}, static_cast<uint64_t>(repeats),
                 static_cast<uint64_t>(repeats) * kRepeatBytes, static_cast<uint32_t>(bytes), site);
    for (int64_t repeat = 0; repeat < repeats; ++repeat) {
        for (int64_t block = 0; block < kBlocksPerRepeat; ++block) {
            const uint8_t* element = src.data + (repeat * kBlocksPerRepeat + block) * bytes;
            uint8_t* target = dst.data + repeat * repeat_step + block * block_step;
            if (bytes == 2) {
                FillBlock<uint16_t>(target, element);
            } else {
                FillBlock<uint32_t>(target, element);
            }
        }
    }
}

}  // namespace twin
