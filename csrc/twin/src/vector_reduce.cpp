// WholeReduceSum, RepeatReduceSum, BlockReduceSum and WholeReduceMax
// (Memory矢量计算/归约计算/{ReduceRepeat, ReduceDataBlock}, which replace the pages of those
// names).
//
// Sums are binary trees: first neighbouring elements are added, then neighbouring sums. With half,
// every sum in the tree is rounded to half, so the result can differ from a float sum of the same
// elements. Lanes outside the mask take no part.
#include <algorithm>
#include <cstring>

#include "convert.h"
#include "vector_lanes.h"

namespace twin {

namespace {

using AscendC::ReduceOrder;

constexpr float kNeutral = -0.0f;  // x + -0 is x, for x = +0 and x = -0 too

float RoundToType(float value, DType type) {
    return type == DType::kF16 ? HalfToFloat(FloatToHalf(value)) : value;
}

/// Returns the sum of `count` lanes, a power of two. Overwrites the lanes.
float TreeSum(float* lanes, uint32_t count, DType type) {
    for (; count > 1; count /= 2) {
        for (uint32_t i = 0; i < count / 2; ++i) {
            lanes[i] = RoundToType(lanes[2 * i] + lanes[2 * i + 1], type);
        }
    }
    return lanes[0];
}

/// Loads the lanes of one iteration as floats. Inactive lanes become `idle`.
void LoadLanes(const Walk& walk, const Operand& src, uint32_t repeat, DType type, float idle,
               float* lanes) {
    if (type == DType::kF16) {
        uint16_t stored[kMaxLanes] = {};
        Gather(walk, src, repeat, stored);
        ConvertF16ToF32(stored, lanes, walk.lanes);
    } else {
        Gather(walk, src, repeat, lanes);
    }
    const LaneMask& mask = walk.At(repeat);
    for (uint32_t lane = 0; lane < walk.lanes; ++lane) {
        if (!mask.Active(lane)) lanes[lane] = idle;
    }
}

void StoreValue(uint8_t* target, float value, DType type) {
    if (type == DType::kF16) {
        const uint16_t bits = FloatToHalf(value);
        std::memcpy(target, &bits, sizeof(bits));
    } else {
        std::memcpy(target, &value, sizeof(value));
    }
}

/// Where an iteration writes its results: bytes [first, bytes) from repeat * stride * unit on.
struct Results {
    int64_t unit;   ///< bytes per unit of dstRepStride
    int64_t bytes;  ///< end of the bytes written
    int64_t first;  ///< start of the bytes written
    int64_t alignment;
};

/// Checks the arguments of a reduction, and returns the source operand.
Operand CheckReduction(const char* instruction, const Walk& walk, DType type, const Local& dst,
                       const Local& src, const Results& results, const ReduceStrides& strides,
                       const Site& site) {
    const Operand from = {"src", src, DTypeBytes(type), static_cast<uint32_t>(strides.src_block),
                          static_cast<uint32_t>(strides.src_repeat)};
    RequireOperand(instruction, walk, from, site);
    RequireBuffer(instruction, "dst", dst, TraceBuffer::kUb, site);
    RequireAligned(instruction, "dst", dst, static_cast<uint32_t>(results.alignment), site);
    const int64_t last = (walk.repeats - 1) * strides.dst_repeat * results.unit + results.bytes;
    RequireInside(instruction, "dst", dst, results.first, last, site);
    // Results are smaller than the blocks they are computed from, so dst and src can never overlap
    // completely, as 通用地址重叠约束 would allow.
    BlockSet reads;
    BlockSet writes;
    reads.Add(walk, from);
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        const int64_t start = repeat * strides.dst_repeat * results.unit;
        writes.Add(dst, start + results.first, start + results.bytes);
    }
    RequireDisjoint(instruction, writes, "src", reads, site);
    return from;
}

void TellAccesses(const char* instruction, const Walk& walk, const Operand& from, const Local& dst,
                  int64_t step, const Results& results, const Site& site) {
    const Accesses accesses(instruction, TracePipe::kV, site);
    ReadLanes(accesses, walk, from);
    for (uint32_t repeat = 0; accesses.On() && repeat < walk.repeats; ++repeat) {
        accesses.Write(dst, repeat * step + results.first, results.bytes - results.first);
    }
}

void RequireStrides(const char* instruction, const ReduceStrides& strides, const Site& site) {
    RequireField(instruction, "dstRepStride", strides.dst_repeat, kMaxStride, site);
    RequireField(instruction, "srcBlkStride", strides.src_block, kMaxStride, site);
    RequireField(instruction, "srcRepStride", strides.src_repeat, kMaxStride, site);
}

bool IsAtlasA3() {
    constexpr char kFamily[] = "Ascend910_93";
    return std::strncmp(Current().machine->config().chip->name, kFamily, sizeof(kFamily) - 1) == 0;
}

void SumBlocks(const Walk& walk, DType type, const Local& dst, const Local& src,
               const ReduceStrides& strides, const Site& site) {
    constexpr const char* kInstruction = "BlockReduceSum";
    const int64_t bytes = DTypeBytes(type);
    const uint32_t per_block = kBlockBytes / static_cast<uint32_t>(bytes);
    // Blocks without an active lane have no result written. The first and the last block with one
    // bound the destination.
    int64_t first = kBlocksPerRepeat;
    int64_t last = 0;
    int64_t written = 0;
    for (uint32_t block = 0; block < kBlocksPerRepeat; ++block) {
        if (walk.mask.Bits(block * per_block, per_block) == 0) continue;
        first = std::min<int64_t>(first, block);
        last = block + 1;
        ++written;
    }
    const Results results{kBlocksPerRepeat * bytes, last * bytes, first * bytes,
                          kBlocksPerRepeat * bytes};
    const Operand from = CheckReduction(kInstruction, walk, type, dst, src, results, strides, site);
    const int64_t step = strides.dst_repeat * results.unit;
    TellAccesses(kInstruction, walk, from, dst, step, results, site);
    RecordVector(dst, {results.first, (walk.repeats - 1) * step + results.bytes}, walk.repeats,
                 static_cast<uint64_t>(walk.repeats * written * bytes),
                 static_cast<uint32_t>(bytes), site);
    float lanes[kMaxLanes] = {};
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        LoadLanes(walk, from, repeat, type, kNeutral, lanes);
        for (uint32_t block = 0; block < kBlocksPerRepeat; ++block) {
            if (walk.mask.Bits(block * per_block, per_block) == 0) continue;
            const float sum = TreeSum(lanes + block * per_block, per_block, type);
            StoreValue(dst.data + repeat * step + block * bytes, sum, type);
        }
    }
}

void SumRepeats(const char* instruction, const Walk& walk, DType type, const Local& dst,
                const Local& src, const ReduceStrides& strides, const Site& site) {
    const int64_t bytes = DTypeBytes(type);
    const Results results{bytes, bytes, 0, bytes};
    const Operand from = CheckReduction(instruction, walk, type, dst, src, results, strides, site);
    const int64_t step = strides.dst_repeat * bytes;
    TellAccesses(instruction, walk, from, dst, step, results, site);
    RecordVector(dst, {0, (walk.repeats - 1) * step + bytes}, walk.repeats,
                 static_cast<uint64_t>(walk.repeats * bytes), static_cast<uint32_t>(bytes), site);
    float lanes[kMaxLanes] = {};
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        LoadLanes(walk, from, repeat, type, kNeutral, lanes);
        StoreValue(dst.data + repeat * step, TreeSum(lanes, walk.lanes, type), type);
    }
}

struct Maximum {
    float value;
    uint32_t index;  ///< lane within the iteration
};

/// Finds the maximum, the first one if several are equal. NaN, which the page does not mention,
/// counts as the maximum.
Maximum FindMaximum(const Walk& walk, uint32_t repeat, const float* lanes) {
    const LaneMask& mask = walk.At(repeat);
    Maximum found{0.0f, kMaxLanes};
    for (uint32_t lane = 0; lane < walk.lanes; ++lane) {
        if (!mask.Active(lane)) continue;
        if (found.index == kMaxLanes || lanes[lane] > found.value) found = {lanes[lane], lane};
        if (lanes[lane] != lanes[lane]) return {lanes[lane], lane};
    }
    return found;
}

void StoreIndex(uint8_t* target, uint32_t index, int64_t bytes) {
    if (bytes == 2) {
        const auto narrow = static_cast<uint16_t>(index);
        std::memcpy(target, &narrow, sizeof(narrow));
    } else {
        std::memcpy(target, &index, sizeof(index));
    }
}

/// Bytes written per iteration, which are also the unit of dstRepStride (ReduceRepeat, table 3).
int64_t MaximumBytes(ReduceOrder order, DType type) {
    switch (order) {
        case ReduceOrder::ORDER_ONLY_VALUE:
            return DTypeBytes(type);
        case ReduceOrder::ORDER_ONLY_INDEX:
            return 4;  // a uint32_t, for half too
        default:
            return 2 * DTypeBytes(type);
    }
}

}  // namespace

void VectorReduceSum(VectorReduction reduction, DType type, const Local& dst, const Local& src,
                     const VectorRange& range, const ReduceStrides& strides, Site site) {
    constexpr const char* kNames[] = {"WholeReduceSum", "RepeatReduceSum", "BlockReduceSum"};
    const char* instruction = kNames[static_cast<int>(reduction)];
    RequireAiv(instruction, site);
    if (reduction == VectorReduction::kRepeatSum && IsAtlasA3()) {
        Fail("unsupported", site,
             "RepeatReduceSum is not documented for Atlas A3; WholeReduceSum does the same");
    }
    RequireStrides(instruction, strides, site);
    const Walk walk = MakeWalk(instruction, range, DTypeBytes(type), site);
    if (walk.Empty()) return;
    if (reduction == VectorReduction::kBlockSum) {
        SumBlocks(walk, type, dst, src, strides, site);
    } else {
        SumRepeats(instruction, walk, type, dst, src, strides, site);
    }
}

void VectorReduceMax(DType type, const Local& dst, const Local& src, const VectorRange& range,
                     const ReduceStrides& strides, ReduceOrder order, Site site) {
    constexpr const char* kInstruction = "WholeReduceMax";
    RequireAiv(kInstruction, site);
    RequireStrides(kInstruction, strides, site);
    RequireRange(kInstruction, "order", static_cast<int64_t>(order), 0,
                 static_cast<int64_t>(ReduceOrder::ORDER_ONLY_INDEX), site);
    const Walk walk = MakeWalk(kInstruction, range, DTypeBytes(type), site);
    if (walk.Empty()) return;
    const int64_t bytes = MaximumBytes(order, type);
    // The alignment is the same for every `order`: the pages of CANN 8.0 to 9.1 (WholeReduceMax,
    // dst) ask for 4 bytes for half and 8 for float. The page of the call that replaces
    // WholeReduceMax (ReduceRepeat, table 3) asks for 2 and 4 bytes when only the value is written.
    const Results results{bytes, bytes, 0, 2 * static_cast<int64_t>(DTypeBytes(type))};
    const Operand from = CheckReduction(kInstruction, walk, type, dst, src, results, strides, site);
    const int64_t step = strides.dst_repeat * bytes;
    TellAccesses(kInstruction, walk, from, dst, step, results, site);
    RecordVector(dst, {0, (walk.repeats - 1) * step + bytes}, walk.repeats,
                 static_cast<uint64_t>(walk.repeats * bytes), DTypeBytes(type), site);
    float lanes[kMaxLanes] = {};
    for (uint32_t repeat = 0; repeat < walk.repeats; ++repeat) {
        LoadLanes(walk, from, repeat, type, kNeutral, lanes);
        const Maximum maximum = FindMaximum(walk, repeat, lanes);
        uint8_t* target = dst.data + repeat * step;
        const int64_t half = bytes / 2;
        switch (order) {
            case ReduceOrder::ORDER_VALUE_INDEX:
                StoreValue(target, maximum.value, type);
                StoreIndex(target + half, maximum.index, half);
                break;
            case ReduceOrder::ORDER_INDEX_VALUE:
                StoreIndex(target, maximum.index, half);
                StoreValue(target + half, maximum.value, type);
                break;
            case ReduceOrder::ORDER_ONLY_VALUE:
                StoreValue(target, maximum.value, type);
                break;
            case ReduceOrder::ORDER_ONLY_INDEX:
                StoreIndex(target, maximum.index, bytes);
                break;
        }
    }
}

}  // namespace twin
