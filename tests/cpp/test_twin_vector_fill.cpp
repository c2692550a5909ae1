// Golden vectors of Duplicate and Brcb. (数据填充/{Duplicate, Brcb})
#include "twin_vector_fixture.h"

using namespace fixture;

// Types of Atlas A2/A3 on both pages.
static_assert(AscendC::internal::kHasFill<half> && AscendC::internal::kHasFill<bfloat16_t>);
static_assert(AscendC::internal::kHasFill<float> && AscendC::internal::kHasFill<int16_t>);
static_assert(AscendC::internal::kHasFill<uint16_t> && AscendC::internal::kHasFill<int32_t>);
static_assert(AscendC::internal::kHasFill<uint32_t> && !AscendC::internal::kHasFill<int8_t>);
static_assert(!AscendC::internal::kHasFill<uint8_t> && !AscendC::internal::kHasFill<int64_t>);

// Duplicate, examples: 256 times the half 18.0 = 0x4C80, by count, mask and bitmap.
TEST(duplicate_fills_with_a_scalar) {
    OnAiv({}, [] {
        TPipe pipe;
        const half scalar = HalfBits(0x4C80);
        const auto dst = Filled<half>(pipe, 272, 0);
        AscendC::Duplicate<half>(dst, scalar, 250);
        CHECK_EQ(Changed(dst, 272, 0), Positions({{0, 250}}));
        CHECK_EQ(Read(dst, 249, 2), Of<uint16_t>(0x4C80, 0));
        const auto masked = Filled<half>(pipe, 272, 0);
        AscendC::Duplicate(masked, scalar, 100, 2, 1, 8);
        CHECK_EQ(Changed(masked, 272, 0), Positions({{0, 100}, {128, 100}}));
        const auto by_bit = Filled<half>(pipe, 272, 0);
        uint64_t mask[2] = {0b1001, 1};
        AscendC::Duplicate(by_bit, scalar, mask, 2, 1, 8);
        CHECK_EQ(Changed(by_bit, 272, 0), Of<int>(0, 3, 64, 128, 131, 192));
    });
}

TEST(duplicate_of_other_types) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto floats = Filled<float>(pipe, 16, 0);
        AscendC::Duplicate(floats, -1.5F, 9);
        CHECK_EQ(Read(floats, 7, 3), Of<float>(-1.5F, -1.5F, 0));
        const auto words = Filled<uint32_t>(pipe, 8, 0);
        AscendC::Duplicate<uint32_t>(words, 0x80000001, 8);
        CHECK_EQ(Read(words, 7, 1), Of<uint32_t>(0x80000001));
        const auto shorts = Filled<int16_t>(pipe, 16, 0);
        AscendC::Duplicate(shorts, int16_t{-2}, 3);
        CHECK_EQ(Read(shorts, 1, 3), Of<int16_t>(-2, -2, 0));
        const auto zeros = Filled<bfloat16_t>(pipe, 16, 0xFFFF);
        AscendC::Duplicate(zeros, bfloat16_t{}, 4);
        CHECK_EQ(Read(zeros, 3, 2), Of<uint16_t>(0, 0xFFFF));
    });
}

// Duplicate, parameters: dstBlockStride within, dstRepeatStride between iterations, in blocks of 32
// bytes.
TEST(duplicate_strides) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 128, 0);
        AscendC::Duplicate(dst, 1.0F, 20, 2, 2, 7);
        // Blocks 0, 2 and half of 4, then 7, 9 and half of 11.
        CHECK_EQ(Changed(dst, 128, 0),
                 Positions({{0, 8}, {16, 8}, {32, 4}, {56, 8}, {72, 8}, {88, 4}}));
    });
}

TEST(duplicate_limits) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 64, -1);
        AscendC::Duplicate(dst, 1.0F, 0);
        AscendC::Duplicate(dst, 1.0F, 64, 0, 1, 8);
        CHECK_EQ(Changed(dst, 64, -1), Of<int>());
    });
    AivBreaks("field-overflow", {"Duplicate", "repeatTime is 256"}, {}, [] {
        TPipe pipe;
        AscendC::Duplicate(Filled<float>(pipe, 64, 0), 1.0F, 64, 256, 1, 0);
    });
    AivBreaks("parameter-range", {"Duplicate", "block stride is 0"}, {}, [] {
        TPipe pipe;
        AscendC::Duplicate(Filled<float>(pipe, 64, 0), 1.0F, 64, 1, 0, 8);
    });
    AivBreaks("field-overflow", {"Duplicate", "dstRepeatStride is 256", "0 to 255"}, {}, [] {
        TPipe pipe;
        AscendC::Duplicate(Filled<float>(pipe, 64, 0), 1.0F, 64, 1, 1, 256);
    });
    AivBreaks("parameter-range", {"Duplicate", "mask is 65"}, {}, [] {
        TPipe pipe;
        AscendC::Duplicate(Filled<float>(pipe, 128, 0), 1.0F, 65, 1, 1, 8);
    });
    AivBreaks("misaligned", {"Duplicate", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::Duplicate(Filled<half>(pipe, 32, 0)[8], HalfBits(0), 8);
    });
    AivBreaks("out-of-bounds", {"Duplicate", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::Duplicate(Filled<float>(pipe, 120, 0), 1.0F, 64, 2, 1, 8);
    });
    AivBreaks("not-initialised", {"Duplicate", "dst"}, {},
              [] { AscendC::Duplicate(LocalTensor<float>(), 1.0F, 8); });
    AicBreaks("wrong-core", {"Duplicate"}, {}, [] {
        TPipe pipe;
        AscendC::Duplicate(Allocate<TPosition::A1, float>(pipe, 8), 1.0F, 8);
    });
}

// Brcb, example: 16 halves, 2 iterations, {1, 8}: every element fills a block of 16.
TEST(brcb_fills_a_block_per_element) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<half>(pipe, 272, 0xFFFF);
        AscendC::Brcb(dst, Load<half>(pipe, Ramp<uint16_t>(16, 1)), 2, {1, 8});
        for (int block = 0; block < 16; ++block) {
            CHECK_EQ(Read(dst, 16 * block, 16),
                     std::vector<uint16_t>(16, static_cast<uint16_t>(block + 1)));
        }
        CHECK_EQ(Read(dst, 256, 1), Of<uint16_t>(0xFFFF));
        // 32-bit elements: 8 to a block, and 8 of them per iteration all the same.
        const auto floats = Filled<float>(pipe, 72, -1);
        AscendC::Brcb(floats, Load<float>(pipe, Ramp<float>(8, 5)), 1, {1, 8});
        for (int block = 0; block < 8; ++block) {
            CHECK_EQ(Read(floats, 8 * block, 8),
                     std::vector<float>(8, static_cast<float>(block + 5)));
        }
        CHECK_EQ(Read(floats, 64, 1), Of<float>(-1));
    });
}

// Brcb, figure 2: dstBlkStride 2 and dstRepStride 16 leave a block after every block.
TEST(brcb_strides) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<int32_t>(pipe, Ramp<int32_t>(16, 1));
        const auto dst = Filled<int32_t>(pipe, 256, 0);
        AscendC::Brcb(dst, src, 2, {2, 16});
        for (int block = 0; block < 32; ++block) {
            const int32_t expected = block % 2 == 0 ? block / 2 + 1 : 0;
            CHECK_EQ(Read(dst, 8 * block, 8), std::vector<int32_t>(8, expected));
        }
        // The source may lie in a block that the strides leave out.
        const auto around = Filled<int32_t>(pipe, 128, 3);
        AscendC::Brcb(around, around[8], 1, {2, 16});
        CHECK_EQ(Changed(around, 128, 3), Of<int>());
        // A repeat stride of 0: the second iteration overwrites the first.
        const auto still = Filled<int32_t>(pipe, 64, 0);
        AscendC::Brcb(still, src, 2, {1, 0});
        CHECK_EQ(Read(still, 0, 1), Of<int32_t>(9));
        CHECK_EQ(Read(still, 63, 1), Of<int32_t>(16));
        AscendC::Brcb(still, src, 0, {1, 8});
        CHECK_EQ(Read(still, 0, 1), Of<int32_t>(9));
    });
}

// Brcb, parameters and constraints.
TEST(brcb_limits) {
    // "src的元素个数不小于8 * repeatTime", though only two rows are wanted.
    AivBreaks("out-of-bounds", {"Brcb", "src"}, {}, [] {
        TPipe pipe;
        AscendC::Brcb(Filled<float>(pipe, 128, 0), Filled<float>(pipe, 8, 0), 2, {1, 8});
    });
    AivBreaks("out-of-bounds", {"Brcb", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::Brcb(Filled<float>(pipe, 56, 0), Filled<float>(pipe, 8, 0), 1, {1, 8});
    });
    AivBreaks("parameter-range", {"Brcb", "block stride is 0"}, {}, [] {
        TPipe pipe;
        AscendC::Brcb(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 8, 0), 1, {0, 8});
    });
    AivBreaks("field-overflow", {"Brcb", "repeatTime is 256", "0 to 255"}, {}, [] {
        TPipe pipe;
        AscendC::Brcb(Filled<half>(pipe, 128, 0), Filled<half>(pipe, 2048, 0), 256, {1, 0});
    });
    AivBreaks("misaligned", {"Brcb", "src"}, {}, [] {
        TPipe pipe;
        AscendC::Brcb(Filled<half>(pipe, 128, 0), Filled<half>(pipe, 32, 0)[8], 1, {1, 8});
    });
    AivBreaks("misaligned", {"Brcb", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::Brcb(Filled<half>(pipe, 256, 0)[8], Filled<half>(pipe, 32, 0), 1, {1, 8});
    });
    AivBreaks("overlap", {"Brcb", "src"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 64, 0);
        AscendC::Brcb(x, x, 1, {1, 8});
    });
    AivBreaks("not-initialised", {"Brcb", "src"}, {}, [] {
        TPipe pipe;
        AscendC::Brcb(Filled<float>(pipe, 64, 0), LocalTensor<float>(), 1, {1, 8});
    });
    AicBreaks("wrong-core", {"Brcb"}, {}, [] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::A1, float>(pipe, 72);
        AscendC::Brcb(l1, l1[64], 1, {1, 8});
    });
}
