// The vector side of the machine. Pages as in csrc/twin/include/ascendc/vector.h.
#include "ascendc/vector.h"

#include <algorithm>

#include "arch/dav_c220.h"
#include "plan_walk/instructions.h"

namespace twin {

namespace {

using walk::kBlock;
using walk::kRepeat;

constexpr int64_t kMaxRepeats = 255;
constexpr int64_t kMaxStride = 65535;
constexpr int64_t kBlocksPerRepeat = 8;

/// What an instruction works on: `repeats` iterations, of each the first `active` of `lanes`
/// elements, or `count` elements in a row.
struct Walk {
    bool contiguous;
    int64_t count;
    int64_t repeats;
    int64_t active;
};

Walk MakeWalk(const char* instruction, const VectorRange& range, uint32_t widest, Site site) {
    walk::RequireCore(instruction, walk::At(site), false);
    if (range.form == VectorRange::Form::kCount) {
        walk::RequireRange(instruction, "count", range.count, 1, arch::DavC220::kUbBytes);
        return {true, range.count, 0, 0};
    }
    const int64_t lanes = kRepeat / widest;
    walk::RequireRange(instruction, "repeatTime", range.repeats, 1, kMaxRepeats);
    int64_t active = range.count;
    if (range.form == VectorRange::Form::kBitmap) {
        active = 0;
        for (int64_t lane = 0; lane < lanes; ++lane) {
            if ((range.bitmap[lane / 64] >> (lane % 64) & 1) != 0) active = lane + 1;
        }
    }
    walk::RequireRange(instruction, "mask", active, 1, lanes);
    return {false, 0, range.repeats, active};
}

void RequireOperand(const char* instruction, const char* name, const Walk& walk, const Local& local,
                    uint32_t lane_bytes, int64_t block_stride, int64_t repeat_stride) {
    int64_t extent = walk.count * lane_bytes;
    if (!walk.contiguous) {
        const int64_t bytes = walk.active * lane_bytes;
        const int64_t blocks = walk::CeilDiv(bytes, kBlock);
        const int64_t tail = block_stride == 0 ? kBlock : bytes - (blocks - 1) * kBlock;
        extent = (walk.repeats - 1) * repeat_stride * kBlock +
                 (blocks - 1) * block_stride * kBlock + std::min<int64_t>(tail, kBlock);
    }
    walk::RequireLocal(instruction, name, local, TraceBuffer::kUb, kBlock, 0, extent);
}

constexpr const char* kNames[] = {"Add", "Sub", "Mul",  "Div",       "Max",
                                  "Min", "Abs", "Sqrt", "Reciprocal"};

void Unary(const char* instruction, const Local& dst, uint32_t dst_bytes, const Local& src,
           uint32_t src_bytes, const VectorRange& range, const AscendC::UnaryRepeatParams& params,
           Site site) {
    const Walk walk = MakeWalk(instruction, range, std::max(dst_bytes, src_bytes), site);
    walk::RequireRange(instruction, "dstBlkStride", params.dstBlkStride, 1, kMaxStride);
    RequireOperand(instruction, "dst", walk, dst, dst_bytes, params.dstBlkStride,
                   params.dstRepStride);
    RequireOperand(instruction, "src", walk, src, src_bytes, params.srcBlkStride,
                   params.srcRepStride);
}

/// `unit`: bytes that a result takes; `alignment`: of dst.
void Reduce(const char* instruction, DType type, const Local& dst, const Local& src,
            const VectorRange& range, const ReduceStrides& strides, uint32_t unit,
            uint32_t alignment, Site site) {
    const uint32_t bytes = walk::Bytes(type);
    const Walk walk = MakeWalk(instruction, range, bytes, site);
    walk::RequireRange(instruction, "dstRepStride", strides.dst_repeat, 0, kMaxStride);
    walk::RequireRange(instruction, "srcBlkStride", strides.src_block, 0, kMaxStride);
    walk::RequireRange(instruction, "srcRepStride", strides.src_repeat, 0, kMaxStride);
    RequireOperand(instruction, "src", walk, src, bytes, strides.src_block, strides.src_repeat);
    walk::RequireLocal(instruction, "dst", dst, TraceBuffer::kUb, alignment, 0,
                       (walk.repeats - 1) * strides.dst_repeat * unit + unit);
}

}  // namespace

void VectorBinary(VectorOp op, DType type, const Local& dst, const Local& src0, const Local& src1,
                  const VectorRange& range, const AscendC::BinaryRepeatParams& params, Site site) {
    const char* instruction = kNames[static_cast<int>(op)];
    const uint32_t bytes = walk::Bytes(type);
    const Walk walk = MakeWalk(instruction, range, bytes, site);
    walk::RequireRange(instruction, "dstBlkStride", params.dstBlkStride, 1, kMaxStride);
    RequireOperand(instruction, "dst", walk, dst, bytes, params.dstBlkStride, params.dstRepStride);
    RequireOperand(instruction, "src0", walk, src0, bytes, params.src0BlkStride,
                   params.src0RepStride);
    RequireOperand(instruction, "src1", walk, src1, bytes, params.src1BlkStride,
                   params.src1RepStride);
}

void VectorScalar(VectorOp op, DType type, const Local& dst, const Local& src, const void*,
                  const VectorRange& range, const AscendC::UnaryRepeatParams& params, Site site) {
    const uint32_t bytes = walk::Bytes(type);
    Unary(kNames[static_cast<int>(op)], dst, bytes, src, bytes, range, params, site);
}

void VectorUnary(VectorOp op, DType type, const Local& dst, const Local& src,
                 const VectorRange& range, const AscendC::UnaryRepeatParams& params, Site site) {
    const uint32_t bytes = walk::Bytes(type);
    Unary(kNames[static_cast<int>(op)], dst, bytes, src, bytes, range, params, site);
}

void VectorCast(const Local& dst, DType dst_type, const Local& src, DType src_type,
                AscendC::RoundMode, const VectorRange& range,
                const AscendC::UnaryRepeatParams& params, Site site) {
    Unary("Cast", dst, walk::Bytes(dst_type), src, walk::Bytes(src_type), range, params, site);
}

void VectorDuplicate(DType type, const Local& dst, const void*, const VectorRange& range,
                     int64_t block_stride, int64_t repeat_stride, Site site) {
    const uint32_t bytes = walk::Bytes(type);
    const Walk walk = MakeWalk("Duplicate", range, bytes, site);
    RequireOperand("Duplicate", "dst", walk, dst, bytes, block_stride, repeat_stride);
}

void VectorBrcb(DType type, const Local& dst, const Local& src, int64_t repeats,
                const AscendC::BrcbRepeatParams& params, Site site) {
    walk::RequireCore("Brcb", walk::At(site), false);
    walk::RequireRange("Brcb", "repeatTime", repeats, 1, kMaxRepeats);
    walk::RequireRange("Brcb", "dstBlkStride", params.dstBlkStride, 1, kMaxStride);
    walk::RequireLocal("Brcb", "dst", dst, TraceBuffer::kUb, kBlock, 0,
                       (repeats - 1) * params.dstRepStride * kBlock +
                           (kBlocksPerRepeat - 1) * params.dstBlkStride * kBlock + kBlock);
    walk::RequireLocal("Brcb", "src", src, TraceBuffer::kUb, kBlock, 0,
                       repeats * kBlocksPerRepeat * walk::Bytes(type));
}

void VectorReduceSum(VectorReduction, DType type, const Local& dst, const Local& src,
                     const VectorRange& range, const ReduceStrides& strides, Site site) {
    const uint32_t bytes = walk::Bytes(type);
    Reduce("WholeReduceSum", type, dst, src, range, strides, bytes, bytes, site);
}

// Whatever the order, dst starts at a multiple of two elements (WholeReduceMax, dst, a page of CANN
// 8.0 to 9.1).
void VectorReduceMax(DType type, const Local& dst, const Local& src, const VectorRange& range,
                     const ReduceStrides& strides, AscendC::ReduceOrder order, Site site) {
    using AscendC::ReduceOrder;
    const uint32_t bytes = walk::Bytes(type);
    const uint32_t unit = order == ReduceOrder::ORDER_ONLY_VALUE   ? bytes
                          : order == ReduceOrder::ORDER_ONLY_INDEX ? sizeof(uint32_t)
                                                                   : 2 * bytes;
    Reduce("WholeReduceMax", type, dst, src, range, strides, unit, 2 * bytes, site);
}

uint64_t VectorGatherMask(DType type, const Local& dst, const Local& src, const Local*,
                          int fixed_pattern, bool counter_mode, uint32_t mask,
                          const AscendC::GatherMaskParams& params, Site site) {
    walk::RequireCore("GatherMask", walk::At(site), false);
    walk::RequireRange("GatherMask", "src1Pattern", fixed_pattern, 1, 7);
    walk::RequireRange("GatherMask", "repeatTimes", params.repeatTimes, 1, kMaxRepeats);
    const int64_t bytes = walk::Bytes(type);
    const int64_t repeats = params.repeatTimes;
    // Patterns 1 and 2 keep every other element, 3 to 6 every fourth, 7 all.
    const int64_t share = fixed_pattern < 3 ? 2 : fixed_pattern < 7 ? 4 : 1;
    // In counter mode an iteration takes `mask` elements; kernels have one iteration of them.
    const int64_t elements = counter_mode ? mask : kRepeat / bytes;
    const int64_t kept = repeats * (elements / share);
    const int64_t last = counter_mode
                             ? elements * bytes
                             : (kBlocksPerRepeat - 1) * params.src0BlockStride * kBlock + kBlock;
    walk::RequireLocal("GatherMask", "src0", src, TraceBuffer::kUb, kBlock, 0,
                       (repeats - 1) * params.src0RepeatStride * kBlock + last);
    walk::RequireLocal("GatherMask", "dst", dst, TraceBuffer::kUb, kBlock, 0, kept * bytes);
    return static_cast<uint64_t>(kept);
}

// Where in src the elements come from is data; its start and the offsets are not.
void VectorGather(DType type, const Local& dst, const Local& src, const Local& src_offset,
                  uint32_t src_base, const VectorRange& range, int64_t dst_repeat_stride,
                  Site site) {
    const uint32_t bytes = walk::Bytes(type);
    const Walk walk = MakeWalk("Gather", range, bytes, site);
    RequireOperand("Gather", "dst", walk, dst, bytes, 1, dst_repeat_stride);
    RequireOperand("Gather", "srcOffset", walk, src_offset, sizeof(uint32_t), 1, kBlocksPerRepeat);
    if (src_base % bytes != 0)
        walk::Fail("misaligned", "Gather: srcBaseAddr is %u, no multiple of %u", src_base, bytes);
    walk::RequireLocal("Gather", "src", src, TraceBuffer::kUb, kBlock, 0, src_base + bytes);
}

}  // namespace twin
