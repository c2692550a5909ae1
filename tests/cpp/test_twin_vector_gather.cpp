// Golden vectors of GatherMask. (比较与选择/GatherMask)
#include "twin_vector_fixture.h"

using namespace fixture;
using AscendC::GatherMaskParams;

namespace {

constexpr uint8_t kEven = 1;
constexpr uint8_t kOdd = 2;
constexpr uint8_t kFirstOfFour = 3;
constexpr uint8_t kAll = 7;

struct Gathered {
    std::vector<uint32_t> values;
    uint64_t count = 0;
};

/// `source` through a fixed pattern; all of a destination that starts as 0xFFFFFFFF.
Gathered Gather(const std::vector<uint32_t>& source, int pattern, bool counter_mode, uint32_t mask,
                const GatherMaskParams& params) {
    Gathered result;
    OnAiv({}, [&] {
        TPipe pipe;
        const auto dst = Filled<uint32_t>(pipe, 512, 0xFFFFFFFF);
        AscendC::GatherMask(dst, Load<uint32_t>(pipe, source), pattern, counter_mode, mask, params,
                            result.count);
        result.values = Read(dst, 0, 512);
    });
    return result;
}

/// The same through a tensor of 32-bit words.
Gathered Gather(const std::vector<uint32_t>& source, const std::vector<uint32_t>& pattern,
                bool counter_mode, uint32_t mask, const GatherMaskParams& params) {
    Gathered result;
    OnAiv({}, [&] {
        TPipe pipe;
        const auto dst = Filled<uint32_t>(pipe, 512, 0xFFFFFFFF);
        AscendC::GatherMask(dst, Load<uint32_t>(pipe, source), Load<uint32_t>(pipe, pattern),
                            counter_mode, mask, params, result.count);
        result.values = Read(dst, 0, 512);
    });
    return result;
}

std::vector<uint32_t> Front(const Gathered& gathered, size_t count) {
    return {gathered.values.begin(), gathered.values.begin() + static_cast<std::ptrdiff_t>(count)};
}

/// first, first + step, ...: `count` of them.
std::vector<uint32_t> Steps(uint32_t first, uint32_t step, size_t count) {
    std::vector<uint32_t> values;
    for (size_t i = 0; i < count; ++i) values.push_back(first + static_cast<uint32_t>(i) * step);
    return values;
}

std::vector<uint32_t> Joined(std::vector<uint32_t> a, const std::vector<uint32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

}  // namespace

// The seven patterns, on one iteration of 64 elements.
TEST(fixed_patterns) {
    const auto source = Ramp<uint32_t>(64);
    const struct {
        int pattern;
        uint32_t first;
        uint32_t step;
    } expected[] = {{1, 0, 2}, {2, 1, 2}, {3, 0, 4}, {4, 1, 4}, {5, 2, 4}, {6, 3, 4}, {7, 0, 1}};
    for (const auto& [pattern, first, step] : expected) {
        const Gathered gathered = Gather(source, pattern, false, 0, {1, 1, 8, 0});
        const size_t count = 64 / step;
        CHECK_EQ(gathered.count, count);
        CHECK_EQ(Front(gathered, count + 1), Joined(Steps(first, step, count), {0xFFFFFFFF}));
    }
}

// The page's example: [1 2 ... 256], pattern 2, 4 iterations, into src0 itself: [2 4 ... 256],
// rsvdCnt 128.
TEST(normal_mode_example_in_place) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto x = Load<uint32_t>(pipe, Ramp<uint32_t>(256, 1));
        uint64_t kept = 0;
        AscendC::GatherMask(x, x, kOdd, false, 0, {1, 4, 8, 0}, kept);
        CHECK_EQ(kept, 128);
        CHECK_EQ(Read(x, 0, 128), Steps(2, 2, 128));
    });
}

// Normal mode takes 256 bytes per iteration, which are 128 elements of 16 bits; `mask` has no
// effect.
TEST(normal_mode_with_16_bit_elements) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<bfloat16_t>(pipe, Ramp<uint16_t>(256));
        const auto dst = Filled<bfloat16_t>(pipe, 128, 0xFFFF);
        uint64_t kept = 0;
        AscendC::GatherMask(dst, src, kFirstOfFour, false, 5, {1, 2, 8, 0}, kept);
        CHECK_EQ(kept, 64);
        CHECK_EQ(Read(dst, 0, 3), Of<uint16_t>(0, 4, 8));
        CHECK_EQ(Read(dst, 31, 3), Of<uint16_t>(124, 128, 132));
        CHECK_EQ(Read(dst, 63, 2), Of<uint16_t>(252, 0xFFFF));
    });
}

// src0BlockStride and src0RepeatStride in blocks; the destination has no gaps.
TEST(gather_strides) {
    const auto source = Ramp<uint32_t>(256);
    // Every other block of 8, pattern 3: elements 0 and 4 of blocks 0, 2, ..., 14.
    const Gathered blocks = Gather(source, kFirstOfFour, false, 0, {2, 1, 8, 0});
    CHECK_EQ(blocks.count, 16);
    CHECK_EQ(Front(blocks, 17), Of<uint32_t>(0, 4, 16, 20, 32, 36, 48, 52, 64, 68, 80, 84, 96, 100,
                                             112, 116, 0xFFFFFFFF));
    // A stride of 0 is the first block again and again (高维切分).
    const Gathered first = Gather(source, kFirstOfFour, false, 0, {0, 1, 8, 0});
    CHECK_EQ(Front(first, 16), Of<uint32_t>(0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4));
    // Iterations two blocks apart overlap.
    const Gathered repeats = Gather(source, kFirstOfFour, false, 0, {1, 2, 2, 0});
    CHECK_EQ(repeats.count, 32);
    CHECK_EQ(Front(repeats, 32), Joined(Steps(0, 4, 16), Steps(16, 4, 16)));
}

// Counter mode, the only one of Atlas A2/A3: every iteration offers `mask` elements. The page's
// parameters: mask 70, {1, 2, 4, 0}: the second iteration begins with the 33rd element.
TEST(counter_mode_offers_mask_elements_per_iteration) {
    const auto source = Ramp<uint32_t>(256);
    const Gathered all = Gather(source, kAll, true, 70, {1, 2, 4, 0});
    CHECK_EQ(all.count, 140);
    CHECK_EQ(Front(all, 141), Joined(Joined(Steps(0, 1, 70), Steps(32, 1, 70)), {0xFFFFFFFF}));
    // 0, 4, ..., 68 and 32, 36, ..., 100: the fixed pattern starts anew.
    const Gathered quarter = Gather(source, kFirstOfFour, true, 70, {1, 2, 4, 0});
    CHECK_EQ(quarter.count, 36);
    CHECK_EQ(Front(quarter, 37), Joined(Joined(Steps(0, 4, 18), Steps(32, 4, 18)), {0xFFFFFFFF}));
    const Gathered few = Gather(source, kEven, true, 3, {1, 2, 8, 0});
    CHECK_EQ(Front(few, 5), Of<uint32_t>(0, 2, 64, 66, 0xFFFFFFFF));
}

// The page's user pattern 0x99999999 = ...1001 1001 keeps the first and the fourth of every four
// elements; of 70, that is 18 and 17.
TEST(a_user_pattern_in_counter_mode) {
    const Gathered gathered =
        Gather(Ramp<uint32_t>(256), std::vector<uint32_t>(32, 0x99999999), true, 70, {1, 2, 4, 0});
    CHECK_EQ(gathered.count, 70);
    CHECK_EQ(Front(gathered, 6), Of<uint32_t>(0, 3, 4, 7, 8, 11));
    CHECK_EQ((std::vector<uint32_t>(gathered.values.begin() + 33, gathered.values.begin() + 39)),
             Of<uint32_t>(67, 68, 32, 35, 36, 39));
    CHECK_EQ((std::vector<uint32_t>(gathered.values.begin() + 69, gathered.values.begin() + 71)),
             Of<uint32_t>(100, 0xFFFFFFFF));
}

// Lowest bit first; 64 elements use two words. src1RepeatStride 0 reads them again, 1 goes on 32
// bytes further - not with the third word.
TEST(a_user_pattern_is_read_bit_by_bit_and_starts_anew_per_iteration) {
    std::vector<uint32_t> pattern(16);
    pattern[0] = 0x80000001;
    pattern[1] = 0x00000002;
    pattern[2] = 0xFFFFFFFF;
    pattern[8] = 0x00000010;
    const auto source = Ramp<uint32_t>(128);
    const Gathered again = Gather(source, pattern, false, 0, {1, 2, 8, 0});
    CHECK_EQ(again.count, 6);
    CHECK_EQ(Front(again, 7), Of<uint32_t>(0, 31, 33, 64, 95, 97, 0xFFFFFFFF));
    const Gathered next = Gather(source, pattern, false, 0, {1, 2, 8, 1});
    CHECK_EQ(next.count, 4);
    CHECK_EQ(Front(next, 5), Of<uint32_t>(0, 31, 33, 68, 0xFFFFFFFF));
    const Gathered none = Gather(source, std::vector<uint32_t>(8, 0), false, 0, {1, 2, 8, 0});
    CHECK_EQ(none.count, 0);
    CHECK_EQ(Front(none, 1), Of<uint32_t>(0xFFFFFFFF));
}

// 16-bit elements take a pattern of uint16_t, 8 words per iteration.
TEST(a_user_pattern_of_16_bit_words) {
    OnAiv({}, [] {
        TPipe pipe;
        std::vector<uint16_t> pattern(16);
        pattern[0] = 0x8001;
        pattern[7] = 0x4000;
        const auto dst = Filled<half>(pipe, 16, 0xFFFF);
        uint64_t kept = 0;
        AscendC::GatherMask(dst, Load<half>(pipe, Ramp<uint16_t>(128)),
                            Load<uint16_t>(pipe, pattern), false, 0, {1, 1, 8, 0}, kept);
        CHECK_EQ(kept, 3);
        CHECK_EQ(Read(dst, 0, 4), Of<uint16_t>(0, 15, 126, 0xFFFF));
    });
}

TEST(gather_parameters_are_checked) {
    const auto source = Ramp<uint32_t>(64);
    const auto breaks = [&](const std::string& part, int pattern, bool counter, uint32_t mask,
                            const GatherMaskParams& params) {
        Breaks("parameter-range", {"GatherMask", part},
               [&] { Gather(source, pattern, counter, mask, params); });
    };
    breaks("src1Pattern is 0, allowed are 1 to 7", 0, false, 0, {1, 1, 8, 0});
    breaks("src1Pattern is 8, allowed are 1 to 7", 8, false, 0, {1, 1, 8, 0});
    breaks("repeatTimes is 0", kAll, false, 0, {1, 0, 8, 0});
    breaks("repeatTimes is 256", kAll, false, 0, {1, 256, 0, 0});
    breaks("mask is 0", kAll, true, 0, {1, 1, 8, 0});
}

TEST(gather_operands_are_checked) {
    AivBreaks("out-of-bounds", {"GatherMask", "src0"}, {}, [] {
        TPipe pipe;
        uint64_t kept = 0;
        AscendC::GatherMask(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 120, 0), kEven, false,
                            0, {1, 2, 8, 0}, kept);
    });
    // 64 kept elements do not fit 56.
    AivBreaks("out-of-bounds", {"GatherMask", "dst"}, {}, [] {
        TPipe pipe;
        uint64_t kept = 0;
        AscendC::GatherMask(Filled<float>(pipe, 56, 0), Filled<float>(pipe, 128, 0), kEven, false,
                            0, {1, 2, 8, 0}, kept);
    });
    // The third iteration's pattern starts at byte 64 of 64.
    AivBreaks("out-of-bounds", {"GatherMask", "src1Pattern"}, {}, [] {
        TPipe pipe;
        uint64_t kept = 0;
        AscendC::GatherMask(Filled<float>(pipe, 192, 0), Filled<float>(pipe, 192, 0),
                            Filled<uint32_t>(pipe, 16, 0), false, 0, {1, 3, 8, 1}, kept);
    });
    AivBreaks("misaligned", {"GatherMask", "dst"}, {}, [] {
        TPipe pipe;
        uint64_t kept = 0;
        AscendC::GatherMask(Filled<float>(pipe, 72, 0)[4], Filled<float>(pipe, 64, 0), kEven, false,
                            0, {1, 1, 8, 0}, kept);
    });
    AivBreaks("misaligned", {"GatherMask", "src0"}, {}, [] {
        TPipe pipe;
        uint64_t kept = 0;
        AscendC::GatherMask(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 72, 0)[1], kEven, false,
                            0, {1, 1, 8, 0}, kept);
    });
    AivBreaks("misaligned", {"GatherMask", "src1Pattern"}, {}, [] {
        TPipe pipe;
        uint64_t kept = 0;
        AscendC::GatherMask(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 64, 0),
                            Filled<uint32_t>(pipe, 16, 0)[2], false, 0, {1, 1, 8, 0}, kept);
    });
    AivBreaks("not-initialised", {"GatherMask", "dst"}, {}, [] {
        TPipe pipe;
        uint64_t kept = 0;
        AscendC::GatherMask(LocalTensor<float>(), Filled<float>(pipe, 64, 0), kEven, false, 0,
                            {1, 1, 8, 0}, kept);
    });
    AicBreaks("wrong-core", {"GatherMask"}, {}, [] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::A1, float>(pipe, 64);
        uint64_t kept = 0;
        AscendC::GatherMask(l1, l1, kEven, false, 0, {1, 1, 8, 0}, kept);
    });
}

// 通用地址重叠约束, and the page's example in place: dst may be src0, never part of it, nor the
// pattern.
TEST(gather_overlaps) {
    AivBreaks("overlap", {"GatherMask", "src0"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 72, 0);
        uint64_t kept = 0;
        AscendC::GatherMask(x, x[8], kEven, false, 0, {1, 1, 8, 0}, kept);
    });
    AivBreaks("overlap", {"GatherMask", "src1Pattern"}, {}, [] {
        TPipe pipe;
        const auto src = Filled<uint32_t>(pipe, 64, 0);
        const auto pattern = Filled<uint32_t>(pipe, 64, 0xFFFFFFFF);
        uint64_t kept = 0;
        AscendC::GatherMask(pattern, src, pattern, false, 0, {1, 1, 8, 0}, kept);
    });
    // In place the second iteration would read at element 8 what the first one wrote up to
    // element 31.
    AivBreaks("overlap", {"GatherMask", "in place"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 128, 0);
        uint64_t kept = 0;
        AscendC::GatherMask(x, x, kEven, false, 0, {1, 2, 1, 0}, kept);
    });
}
