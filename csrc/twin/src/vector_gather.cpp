// GatherMask (Memory矢量计算/比较与选择/GatherMask).
//
// In normal mode, every iteration applies the pattern to 256 bytes of src0. In counter mode (in the
// only variant that Atlas A2/A3 has), every iteration applies it to the first `mask` elements,
// which may be more than 256 bytes. The kept elements of all iterations follow each other in dst. A
// pattern tensor is read bit by bit within an iteration, and the next iteration starts
// src1RepeatStride blocks of 32 bytes further. Since 256 bytes of elements use only 8 or 16 bytes
// of the pattern, no stride can continue a packed pattern.
#include <cstring>
#include <vector>

#include "vector_lanes.h"

namespace twin {

namespace {

constexpr const char* kInstruction = "GatherMask";

/// For the patterns 1 to 7, which of every four elements are kept; lowest bit first.
constexpr uint8_t kFixedPatterns[8] = {0, 0b0101, 0b1010, 0b0001, 0b0010, 0b0100, 0b1000, 0b1111};

struct Request {
    const Local& dst;
    const Local& src;
    const Local* pattern;
    int fixed_pattern;
    int64_t repeats;
    int64_t elements;  ///< number that the pattern is applied to in each iteration
    int64_t bytes;     ///< size of an element; the steps below are in bytes too
    int64_t block_step;
    int64_t repeat_step;
    int64_t pattern_step;

    int64_t ElementOffset(int64_t repeat, int64_t element) const {
        const int64_t per_block = kBlockBytes / bytes;
        return repeat * repeat_step + element / per_block * block_step +
               element % per_block * bytes;
    }
    bool Keeps(int64_t repeat, int64_t element) const {
        if (pattern == nullptr) return (kFixedPatterns[fixed_pattern] >> (element % 4) & 1) != 0;
        return (pattern->data[repeat * pattern_step + element / 8] >> (element % 8) & 1) != 0;
    }
};

int64_t SourceBytes(const Request& request) {
    const int64_t per_block = kBlockBytes / request.bytes;
    const int64_t blocks = (request.elements - 1) / per_block;
    // With a block stride of 0, every block is the first block, which is read completely if there
    // is more than one.
    const int64_t tail =
        request.block_step == 0 && blocks > 0 ? per_block : (request.elements - 1) % per_block + 1;
    return (request.repeats - 1) * request.repeat_step + blocks * request.block_step +
           tail * request.bytes;
}

int64_t PatternBytesPerRepeat(const Request& request) {
    const int64_t word_bits = request.bytes * 8;  // pattern words are as wide as elements
    return (request.elements + word_bits - 1) / word_bits * request.bytes;
}

void RequirePattern(const Request& request, const Site& site) {
    const Local& pattern = *request.pattern;
    RequireBuffer(kInstruction, "src1Pattern", pattern, TraceBuffer::kUb, site);
    RequireAligned(kInstruction, "src1Pattern", pattern, kBlockBytes, site);
    const int64_t bytes =
        (request.repeats - 1) * request.pattern_step + PatternBytesPerRepeat(request);
    RequireInside(kInstruction, "src1Pattern", pattern, 0, bytes, site);
}

/// Returns the byte offsets in src0 of the kept elements, in the order in which they go to dst.
std::vector<int64_t> KeptElements(const Request& request) {
    std::vector<int64_t> kept;
    kept.reserve(static_cast<size_t>(request.repeats * request.elements));
    for (int64_t repeat = 0; repeat < request.repeats; ++repeat) {
        for (int64_t element = 0; element < request.elements; ++element) {
            if (request.Keeps(repeat, element))
                kept.push_back(request.ElementOffset(repeat, element));
        }
    }
    return kept;
}

void RequireDisjointOperands(const Request& request, int64_t dst_bytes, bool in_place,
                             const Site& site) {
    BlockSet writes;
    writes.Add(request.dst, 0, dst_bytes);
    BlockSet pattern_reads;
    BlockSet reads;
    const int64_t per_block = kBlockBytes / request.bytes;
    for (int64_t repeat = 0; repeat < request.repeats; ++repeat) {
        if (request.pattern != nullptr) {
            const int64_t start = repeat * request.pattern_step;
            pattern_reads.Add(*request.pattern, start, start + PatternBytesPerRepeat(request));
        }
        for (int64_t element = 0; element < request.elements; element += per_block) {
            const int64_t start = request.ElementOffset(repeat, element);
            reads.Add(request.src, start, start + request.bytes);
        }
    }
    RequireDisjoint(kInstruction, writes, "src1Pattern", pattern_reads, site);
    if (!in_place) RequireDisjoint(kInstruction, writes, "src0", reads, site);
}

/// dst may be src0 itself, as in the page's example, as long as no element is overwritten before it
/// is read.
void RequireInPlace(const Request& request, const std::vector<int64_t>& kept, const Site& site) {
    RequireRange(kInstruction, "src0BlockStride in place", request.block_step / kBlockBytes, 1,
                 UINT8_MAX, site);
    for (size_t i = 0; i < kept.size(); ++i) {
        const int64_t written = static_cast<int64_t>(i) * request.bytes;
        if (written <= kept[i]) continue;
        Fail("overlap", site,
             "GatherMask: in place, element %zu of dst is written before src0 is read at byte %lld",
             i, static_cast<long long>(kept[i]));
    }
}

}  // namespace

uint64_t VectorGatherMask(DType type, const Local& dst, const Local& src, const Local* pattern,
                          int fixed_pattern, bool counter_mode, uint32_t mask,
                          const AscendC::GatherMaskParams& params, Site site) {
    RequireAiv(kInstruction, site);
    if (pattern == nullptr) RequireRange(kInstruction, "src1Pattern", fixed_pattern, 1, 7, site);
    RequireRange(kInstruction, "repeatTimes", params.repeatTimes, 1, kMaxRepeats, site);
    if (counter_mode) RequireRange(kInstruction, "mask", mask, 1, UINT32_MAX, site);
    const int64_t bytes = DTypeBytes(type);
    const Request request = {dst,
                             src,
                             pattern,
                             fixed_pattern,
                             params.repeatTimes,
                             counter_mode ? static_cast<int64_t>(mask) : kRepeatBytes / bytes,
                             bytes,
                             static_cast<int64_t>(params.src0BlockStride) * kBlockBytes,
                             static_cast<int64_t>(params.src0RepeatStride) * kBlockBytes,
                             static_cast<int64_t>(params.src1RepeatStride) * kBlockBytes};
    RequireBuffer(kInstruction, "dst", dst, TraceBuffer::kUb, site);
    RequireBuffer(kInstruction, "src0", src, TraceBuffer::kUb, site);
    RequireAligned(kInstruction, "dst", dst, kBlockBytes, site);
    RequireAligned(kInstruction, "src0", src, kBlockBytes, site);
    RequireInside(kInstruction, "src0", src, 0, SourceBytes(request), site);
    if (pattern != nullptr) RequirePattern(request, site);
    const std::vector<int64_t> kept = KeptElements(request);
    const auto dst_bytes = static_cast<int64_t>(kept.size()) * bytes;
    RequireInside(kInstruction, "dst", dst, 0, dst_bytes, site);
    const bool in_place = dst.offset == src.offset;
    RequireDisjointOperands(request, dst_bytes, in_place, site);
    if (in_place) RequireInPlace(request, kept, site);

    const int64_t iterations =
        request.repeats * ((request.elements * bytes + kRepeatBytes - 1) / kRepeatBytes);
    // The hardware reads all elements, but those that are not kept may be unwritten, so they are
    // not reported.
    const Accesses accesses(kInstruction, TracePipe::kV, site);
    for (size_t i = 0; accesses.On() && i < kept.size(); ++i) accesses.Read(src, kept[i], bytes);
    if (pattern != nullptr) {
        for (int64_t repeat = 0; repeat < request.repeats; ++repeat) {
            accesses.Read(*pattern, repeat * request.pattern_step, PatternBytesPerRepeat(request));
        }
    }
    accesses.Write(dst, 0, dst_bytes);
    RecordVector(dst, {0, dst_bytes}, static_cast<uint64_t>(iterations),
                 static_cast<uint64_t>(dst_bytes), static_cast<uint32_t>(bytes), site);
    for (size_t i = 0; i < kept.size(); ++i) {
        std::memmove(dst.data + static_cast<int64_t>(i) * bytes, src.data + kept[i],
                     static_cast<size_t>(bytes));
    }
    return kept.size();
}

}  // namespace twin
