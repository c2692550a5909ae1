// What the vector instructions share: which lanes an instruction works on, where they lie in UB,
// and the rules for operands. Private to the twin.
//
// An iteration covers 256 bytes of the operand with the widest elements, which are `lanes`
// elements. An operand with narrower elements has fewer blocks per iteration, not shorter blocks
// (Cast, constraints).
#pragma once

#include <array>
#include <bitset>
#include <cstring>

#include "ascendc/vector.h"
#include "core.h"

namespace twin {

constexpr uint32_t kBlocksPerRepeat = 8;
constexpr uint32_t kRepeatBytes = kBlocksPerRepeat * kBlockBytes;
constexpr uint32_t kMaxLanes = kRepeatBytes / 2;  ///< no vector operation has 8-bit operands only
constexpr int64_t kMaxRepeats = 255;              ///< from the page 高维切分
constexpr int64_t kMaxStride = 65535;

/// One bit per lane of an iteration.
struct LaneMask {
    static LaneMask First(uint32_t count);

    bool Active(uint32_t lane) const { return (words[lane / 64] >> (lane % 64) & 1) != 0; }
    uint32_t Count() const;
    /// Returns bits [first, first + count), which have to lie in one word.
    uint32_t Bits(uint32_t first, uint32_t count) const {
        return static_cast<uint32_t>(words[first / 64] >> (first % 64) &
                                     ((uint64_t{1} << count) - 1));
    }

    std::array<uint64_t, 2> words{};
};

/// The iterations of an instruction.
struct Walk {
    uint32_t lanes = 0;
    uint32_t repeats = 0;
    bool contiguous = false;  ///< it covers the first n elements, whatever the strides are
    LaneMask mask;            ///< active lanes of every iteration but the last
    LaneMask last;            ///< the last one's; differs if a count ends inside an iteration

    const LaneMask& At(uint32_t repeat) const { return repeat + 1 == repeats ? last : mask; }
    /// A count, mask or repeatTime of 0 makes the instruction a no-operation.
    bool Empty() const { return repeats == 0; }
    uint64_t ActiveLanes() const {
        return repeats == 0 ? 0 : static_cast<uint64_t>(repeats - 1) * mask.Count() + last.Count();
    }
};

Walk MakeWalk(const char* instruction, const VectorRange& range, uint32_t widest_bytes,
              const Site& site);

/// An operand in UB, with the distances between its blocks.
struct Operand {
    const char* name;
    Local local;
    uint32_t lane_bytes;
    uint32_t block_stride;   ///< blocks
    uint32_t repeat_stride;  ///< blocks

    uint32_t LanesPerBlock() const { return kBlockBytes / lane_bytes; }
    uint32_t Blocks(const Walk& walk) const { return walk.lanes / LanesPerBlock(); }
    /// Offset of a block in bytes from the start of the operand.
    int64_t BlockOffset(uint32_t repeat, uint32_t block) const {
        return (static_cast<int64_t>(repeat) * repeat_stride +
                static_cast<int64_t>(block) * block_stride) *
               kBlockBytes;
    }
};

/// Makes an elementwise operand, with the given strides, or for a contiguous walk with those of
/// contiguous elements.
Operand MakeOperand(const char* name, const Local& local, uint32_t lane_bytes, const Walk& walk,
                    int64_t block_stride, int64_t repeat_stride);

/// The range of an operand that an instruction may touch: offsets in bytes from its start to the
/// start of the first active lane and to the end of the last.
struct Extent {
    int64_t first;
    int64_t last;
};
Extent ExtentOf(const Walk& walk, const Operand& operand);

/// Fails unless the operand is in UB, 32-byte aligned and inside its allocation.
void RequireOperand(const char* instruction, const Walk& walk, const Operand& operand,
                    const Site& site);
/// Fails for a destination block stride of 0, which is undefined (高维切分).
void RequireDstBlockStride(const char* instruction, int64_t stride, const Site& site);
/// Fails for an overlap of operands that the pages do not allow (通用说明和约束,
/// 通用地址重叠约束). `accumulates` allows later iterations to read what earlier ones wrote.
void RequireOverlap(const char* instruction, const Walk& walk, const Operand& dst,
                    const Operand& src, bool accumulates, const Site& site);

/// The blocks of UB that an operand touches, for instructions whose dst and src must not share a
/// block.
class BlockSet {
public:
    /// Adds the blocks of bytes [first, last) from the start of the operand, which the caller has
    /// checked to be in UB.
    void Add(const Local& local, int64_t first, int64_t last);
    void Add(const Walk& walk, const Operand& operand);
    bool Meets(const BlockSet& other) const { return (blocks_ & other.blocks_).any(); }

private:
    std::bitset<arch::DavC220::kUbBytes / kBlockBytes> blocks_;
};
void RequireDisjoint(const char* instruction, const BlockSet& dst, const char* src_name,
                     const BlockSet& src, const Site& site);
/// Fails unless blockNumber, repeatStrideMode and strideSizeMode, which are reserved, have their
/// default values.
template <typename Params>
void RequireReservedDefaults(const char* instruction, const Params& params, const Site& site) {
    RequireRange(instruction, "blockNumber", params.blockNumber, kBlocksPerRepeat, kBlocksPerRepeat,
                 site);
    RequireRange(instruction, "repeatStrideMode", params.repeatStrideMode ? 1 : 0, 0, 0, site);
    RequireRange(instruction, "strideSizeMode", params.strideSizeMode ? 1 : 0, 0, 0, site);
}

/// Report to the sanitizer the active lanes of an operand.
void ReadLanes(const Accesses& accesses, const Walk& walk, const Operand& operand);
void WriteLanes(const Accesses& accesses, const Walk& walk, const Operand& operand);

void RecordVector(const Local& dst, const Extent& extent, uint64_t repeats, uint64_t bytes,
                  uint32_t lane_bytes, const Site& site);

/// Whether all lanes of iteration `repeat` are active and its blocks contiguous.
inline bool IsDense(const Walk& walk, const Operand& operand, uint32_t repeat) {
    const LaneMask& mask = walk.At(repeat);
    const uint64_t all = ~uint64_t{0};
    return operand.block_stride == 1 && mask.words[0] == all &&
           (walk.lanes <= 64 || mask.words[1] == all);
}

/// Reads the blocks of iteration `repeat` that have an active lane. The elements of `lanes` in
/// other blocks are not changed.
template <typename T>
void Gather(const Walk& walk, const Operand& operand, uint32_t repeat, T* lanes) {
    const uint8_t* source = operand.local.data;
    if (IsDense(walk, operand, repeat)) {
        std::memcpy(lanes, source + operand.BlockOffset(repeat, 0), walk.lanes * sizeof(T));
        return;
    }
    const LaneMask& mask = walk.At(repeat);
    constexpr uint32_t kPerBlock = kBlockBytes / sizeof(T);
    for (uint32_t block = 0; block < walk.lanes / kPerBlock; ++block) {
        if (mask.Bits(block * kPerBlock, kPerBlock) == 0) continue;
        std::memcpy(lanes + block * kPerBlock, source + operand.BlockOffset(repeat, block),
                    kBlockBytes);
    }
}

/// Writes the active lanes of iteration `repeat`.
template <typename T>
void Scatter(const Walk& walk, const Operand& operand, uint32_t repeat, const T* lanes) {
    uint8_t* target = operand.local.data;
    if (IsDense(walk, operand, repeat)) {
        std::memcpy(target + operand.BlockOffset(repeat, 0), lanes, walk.lanes * sizeof(T));
        return;
    }
    const LaneMask& mask = walk.At(repeat);
    constexpr uint32_t kPerBlock = kBlockBytes / sizeof(T);
    constexpr auto kFull = static_cast<uint32_t>((uint64_t{1} << kPerBlock) - 1);
    for (uint32_t block = 0; block < walk.lanes / kPerBlock; ++block) {
        const uint32_t bits = mask.Bits(block * kPerBlock, kPerBlock);
        uint8_t* to = target + operand.BlockOffset(repeat, block);
        const T* from = lanes + block * kPerBlock;
        if (bits == kFull) {
            std::memcpy(to, from, kBlockBytes);
            continue;
        }
        for (uint32_t lane = 0; lane < kPerBlock; ++lane) {
            if ((bits >> lane & 1) != 0) std::memcpy(to + lane * sizeof(T), from + lane, sizeof(T));
        }
    }
}

}  // namespace twin
