// Golden vectors of the reductions: order of additions, masks, strides, layout of results, and
// their limits. (归约计算/ReduceRepeat is the page of WholeReduceSum, RepeatReduceSum and
// WholeReduceMax, 归约计算/ReduceDataBlock that of BlockReduceSum; 附录/接口变更说明 maps the
// names.)
#include "twin_vector_fixture.h"

using namespace fixture;
using AscendC::ReduceOrder;

static_assert(!AscendC::internal::kHasFloatArithmetic<bfloat16_t>,
              "reductions exist for half and float");

namespace {

constexpr uint16_t kOne = 0x3C00;

template <typename Kernel>
void OnAtlasA2(const Kernel& kernel) {
    twin::Launch(Config(KernelKind::kAivOnly, {}, 1, "Ascend910B3"), kernel);
}

/// The values, then zeros.
template <typename T>
std::vector<T> Padded(std::vector<T> values, size_t count) {
    values.resize(count);
    return values;
}

/// The page's input: `base` everywhere but for one element of each of three iterations of 128
/// halves.
std::vector<uint16_t> PageInput() {
    std::vector<uint16_t> values(384, 0x3C00);       // 1
    std::fill_n(values.begin() + 128, 128, 0x4000);  // 2
    std::fill_n(values.begin() + 256, 128, 0x4200);  // 3
    values[52] = 0x4980;                             // 11
    values[128 + 100] = 0x4A00;                      // 12
    values[256 + 19] = 0x4A80;                       // 13
    return values;
}

}  // namespace

// ReduceRepeat, SUM example: 512 halves in 4 iterations.
TEST(whole_sum_of_each_iteration) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<half>(pipe, 16, 0xFFFF);
        AscendC::WholeReduceSum(dst, Filled<half>(pipe, 512, kOne), 128, 4, 1, 1, 8);
        CHECK_EQ(Read(dst, 0, 5), Of<uint16_t>(0x5800, 0x5800, 0x5800, 0x5800, 0xFFFF));  // 128
        const auto sums = Filled<float>(pipe, 8, -1);
        AscendC::WholeReduceSum(sums, Load<float>(pipe, Ramp<float>(128)), 64, 2, 1, 1, 8);
        CHECK_EQ(Read(sums, 0, 3), Of<float>(2016, 6112, -1));  // 63 x 32, and 64 x 64 more
    });
}

// ReduceDataBlock, 关键特性说明: a binary tree of neighbours, in the type of the data.
TEST(whole_sum_adds_neighbours_first) {
    OnAiv({}, [] {
        TPipe pipe;
        // (2^24 + 1) + (1 + 1): one after the other would stay at 2^24.
        // (2^24 + 1) + (-2^24 + 1): element i with i + 2 would make 2.
        std::vector<float> values(128);
        values[0] = 16777216, values[1] = 1, values[2] = 1, values[3] = 1;
        values[64] = 16777216, values[65] = 1, values[66] = -16777216, values[67] = 1;
        const auto sums = Filled<float>(pipe, 8, -1);
        AscendC::WholeReduceSum(sums, Load<float>(pipe, values), 64, 2, 1, 1, 8);
        CHECK_EQ(Read(sums, 0, 2), Of<float>(16777218, 1));
        // 2048 + 1 is a tie: (2048 + 1) + (1 + 1) = 2050. In order 2048, in float 2051, rounded
        // 2052.
        const auto halves = Filled<half>(pipe, 16, 0);
        AscendC::WholeReduceSum(halves,
                                Load<half>(pipe, Padded<uint16_t>({0x6800, kOne, kOne, kOne}, 128)),
                                128, 1, 1, 1, 8);
        CHECK_EQ(Read(halves, 0, 1), Of<uint16_t>(0x6801));
    });
}

// ReduceDataBlock, constraints, [60000, 60000, -30000, 100]: 35604 in saturation mode; half is not
// in it by default, so that 60000 + 60000 is infinite and stays so.
TEST(half_sums_overflow_to_infinity) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<half>(pipe, 16, 0);
        AscendC::WholeReduceSum(
            dst, Load<half>(pipe, Padded<uint16_t>({0x7B53, 0x7B53, 0xF753, 0x5640}, 128)), 128, 1,
            1, 1, 8);
        CHECK_EQ(Read(dst, 0, 1), Of<uint16_t>(0x7C00));
        // (60000 - 30000) + (100 + 0) does not overflow; 30100 lies between the multiples 30096 and
        // 30112 of 16.
        AscendC::WholeReduceSum(dst,
                                Load<half>(pipe, Padded<uint16_t>({0x7B53, 0xF753, 0x5640}, 128)),
                                128, 1, 1, 1, 8);
        CHECK_EQ(Read(dst, 0, 1), Of<uint16_t>(0x7759));
    });
}

// 掩码: elements outside of the mask take no part, whatever they hold, and need not be in the
// allocation.
TEST(whole_sum_of_a_tail) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<float>(pipe, {1, 2, 4, FloatOfBits(0x7FC00000), kInf, 0, 0, 0});
        const auto dst = Filled<float>(pipe, 8, -1);
        AscendC::WholeReduceSum(dst, src, 3, 1, 1, 1, 8);
        CHECK_EQ(Read(dst, 0, 2), Of<float>(7, -1));
        AscendC::WholeReduceSum(dst, Filled<float>(pipe, 8, -0.0F), 1, 1, 1, 1, 8);
        CHECK(Read(dst, 0, 1)[0] == 0 && std::signbit(Read(dst, 0, 1)[0]));
    });
}

// ReduceRepeat, table 2: dstRepStride counts results, srcBlkStride and srcRepStride blocks; table
// 3: a result may stand at any element.
TEST(whole_sum_strides) {
    OnAiv({}, [] {
        TPipe pipe;
        std::vector<float> values(48);
        for (int i = 0; i < 48; ++i)
            values[i] = static_cast<float>(i / 8 + 1);  // block b holds b + 1
        const auto src = Load<float>(pipe, values);
        const auto dst = Filled<float>(pipe, 8, -1);
        AscendC::WholeReduceSum(dst[1], src, 8, 3, 2, 1, 1);
        CHECK_EQ(Read(dst, 0, 7), Of<float>(-1, 8, -1, 16, -1, 24, -1));
        AscendC::WholeReduceSum(dst, src, 16, 2, 1, 2, 1);  // blocks 0 and 2, then 1 and 3
        CHECK_EQ(Read(dst, 0, 2), Of<float>(8 + 24, 16 + 32));
        AscendC::WholeReduceSum(dst, src, 16, 1, 1, 0, 8);  // block 0 twice
        CHECK_EQ(Read(dst, 0, 1), Of<float>(16));
        AscendC::WholeReduceSum(dst, src, 8, 3, 0, 1, 1);  // the last iteration stays
        CHECK_EQ(Read(dst, 0, 2), Of<float>(24, 48));
        AscendC::WholeReduceSum(dst, src, 8, 3, 1, 1, 0);  // the same source three times
        CHECK_EQ(Read(dst, 0, 3), Of<float>(8, 8, 8));
    });
}

// ReduceRepeat, constraints: a mask or repeatTime of 0 is a no-operation.
TEST(reductions_of_nothing_are_no_operation) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Filled<float>(pipe, 64, 1);
        const auto dst = Filled<float>(pipe, 8, -1);
        AscendC::WholeReduceSum(dst, src, 0, 1, 1, 1, 8);
        AscendC::WholeReduceSum(dst, src, 64, 0, 1, 1, 8);
        AscendC::BlockReduceSum(dst, src, 0, 64, 1, 1, 8);
        AscendC::WholeReduceMax(dst, src, 64, 0, 1, 1, 8);
        CHECK_EQ(Changed(dst, 8, -1), Of<int>());
    });
}

// The page of RepeatReduceSum (CANN 8 and 9): another order of parameters, dstBlkStride has no
// effect.
TEST(repeat_sum_is_a_whole_sum_with_other_parameters) {
    OnAtlasA2([] {
        TPipe pipe;
        const auto dst = Filled<half>(pipe, 16, 0xFFFF);
        AscendC::RepeatReduceSum(dst, Filled<half>(pipe, 512, kOne), 4, 128, 0, 1, 2, 8);
        CHECK_EQ(Read(dst, 0, 8),
                 Of<uint16_t>(0x5800, 0xFFFF, 0x5800, 0xFFFF, 0x5800, 0xFFFF, 0x5800, 0xFFFF));
    });
    // Its page lists Atlas A2, not Atlas A3.
    AivBreaks("unsupported", {"RepeatReduceSum", "Atlas A3", "WholeReduceSum"}, {}, [] {
        TPipe pipe;
        AscendC::RepeatReduceSum(Filled<float>(pipe, 8, 0), Filled<float>(pipe, 64, 1), 1, 64, 0, 1,
                                 1, 8);
    });
}

// ReduceDataBlock, SUM example: one sum per block; half iterations write 16 bytes, float ones 32.
TEST(block_sums) {
    OnAiv({}, [] {
        TPipe pipe;
        std::vector<uint16_t> halves(256);
        for (int i = 0; i < 256; ++i)
            halves[i] = i / 16 % 2 == 0 ? kOne : 0x4000;  // blocks of 1 and 2
        const auto dst = Filled<half>(pipe, 32, 0xFFFF);
        AscendC::BlockReduceSum(dst, Load<half>(pipe, halves), 2, 128, 1, 1, 8);
        for (int i = 0; i < 16; ++i)
            CHECK_EQ(Read(dst, i, 1), Of<uint16_t>(i % 2 == 0 ? 0x4C00 : 0x5000));  // 16, 32
        CHECK_EQ(Read(dst, 16, 1), Of<uint16_t>(0xFFFF));
        // (2^24 + 1) + (1 + 1) in block 0, 0 + 1 + ... + 7 + 8 x 8 in block 1; a stride of 2 leaves
        // 32 bytes.
        std::vector<float> values =
            Padded<float>({16777216, 1, 1, 1, 0, 0, 0, 0, 8, 9, 10, 11, 12, 13, 14, 15}, 128);
        values[64] = 5;
        const auto sums = Filled<float>(pipe, 24, -1);
        AscendC::BlockReduceSum(sums, Load<float>(pipe, values), 2, 64, 2, 1, 8);
        CHECK_EQ(Read(sums, 0, 8), Of<float>(16777218, 92, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(Read(sums, 8, 8), Of<float>(-1, -1, -1, -1, -1, -1, -1, -1));
        CHECK_EQ(Read(sums, 16, 8), Of<float>(5, 0, 0, 0, 0, 0, 0, 0));
    });
}

// ReduceDataBlock, constraints: on Atlas A2/A3 a block without an active element writes nothing.
TEST(block_sums_leave_idle_blocks_alone) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto sums = Filled<float>(pipe, 8, -1);
        AscendC::BlockReduceSum(sums, Filled<float>(pipe, 64, 1), 1, 33, 1, 1, 8);
        CHECK_EQ(Read(sums, 0, 8), Of<float>(8, 8, 8, 8, 1, -1, -1, -1));
        // 8 x 2 bytes into 16 bytes: aligned to 16, not 32.
        const auto halves = Filled<half>(pipe, 16, 0xFFFF);
        AscendC::BlockReduceSum(halves[8], Filled<half>(pipe, 128, kOne), 1, 20, 1, 1, 8);
        CHECK_EQ(Changed(halves, 16, 0xFFFF), Of<int>(8, 9));
        CHECK_EQ(Read(halves, 8, 2), Of<uint16_t>(0x4C00, 0x4400));  // 16, 4
    });
}

// ReduceRepeat, MAX example: 11 at 52, 12 at 100, 13 at 19, in the four orders.
TEST(whole_max_example_of_the_page) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<half>(pipe, PageInput());
        const auto dst = Filled<half>(pipe, 16, 0xFFFF);
        AscendC::WholeReduceMax(dst, src, 128, 3, 1, 1, 8);
        CHECK_EQ(Read(dst, 0, 7), Of<uint16_t>(0x4980, 52, 0x4A00, 100, 0x4A80, 19, 0xFFFF));
        AscendC::WholeReduceMax(dst, src, 128, 3, 1, 1, 8, ReduceOrder::ORDER_INDEX_VALUE);
        CHECK_EQ(Read(dst, 0, 7), Of<uint16_t>(52, 0x4980, 100, 0x4A00, 19, 0x4A80, 0xFFFF));
        AscendC::WholeReduceMax(dst, src, 128, 3, 1, 1, 8, ReduceOrder::ORDER_ONLY_INDEX);
        CHECK_EQ(Read(dst, 0, 7), Of<uint16_t>(52, 0, 100, 0, 19, 0, 0xFFFF));
        AscendC::WholeReduceMax(dst, src, 128, 3, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE);
        CHECK_EQ(Read(dst, 0, 4), Of<uint16_t>(0x4980, 0x4A00, 0x4A80, 0));
        // dstRepStride in what one iteration writes: 4 bytes here, 2 with values only.
        const auto apart = Filled<half>(pipe, 16, 0xFFFF);
        AscendC::WholeReduceMax(apart, src, 128, 3, 2, 1, 8);
        CHECK_EQ(Changed(apart, 16, 0xFFFF), Of<int>(0, 1, 4, 5, 8, 9));
    });
}

// ReduceRepeat, constraints: of equal maxima the first index; the index is the position in the
// iteration.
TEST(whole_max_of_floats) {
    OnAiv({}, [] {
        TPipe pipe;
        std::vector<float> values(64, -7);
        values[9] = -2, values[33] = -2, values[40] = 100;
        const auto src = Load<float>(pipe, values);
        const auto dst = Filled<float>(pipe, 8, -1);
        AscendC::WholeReduceMax(dst, src, 40, 1, 1, 1, 8);  // the mask ends before 100
        CHECK_EQ(Read(dst, 0, 1), Of<float>(-2));
        CHECK_EQ(Read(dst.ReinterpretCast<uint32_t>(), 1, 1), Of<uint32_t>(9));
        AscendC::WholeReduceMax(dst[2], src, 64, 1, 1, 1, 8, ReduceOrder::ORDER_ONLY_INDEX);
        CHECK_EQ(Read(dst.ReinterpretCast<uint32_t>(), 2, 1), Of<uint32_t>(40));
        // Every other block: element 40 is in block 5, which is not read; 33 is the second of the
        // third block.
        AscendC::WholeReduceMax(dst, src, 24, 1, 1, 2, 8);
        CHECK_EQ(Read(dst, 0, 1), Of<float>(-2));
        CHECK_EQ(Read(dst.ReinterpretCast<uint32_t>(), 1, 1), Of<uint32_t>(17));
    });
}

// ORDER_ONLY_VALUE of floats: one after the other, dstRepStride in floats; the last iteration of a
// row shorter than 64. The mask is a count or one bit per element.
TEST(whole_max_of_floats_values_only) {
    OnAiv({}, [] {
        TPipe pipe;
        std::vector<float> values(3 * 64, -100);
        values[63] = -1.5F, values[64] = 7, values[64 + 40] = 9, values[128 + 2] = 0.25F;
        values[128 + 37] = 50;
        const auto src = Load<float>(pipe, values);
        const auto dst = Filled<float>(pipe, 16, -9);
        AscendC::WholeReduceMax(dst, src, 64, 2, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE);
        CHECK_EQ(Read(dst, 0, 3), Of<float>(-1.5F, 9, -9));
        AscendC::WholeReduceMax(dst[4], src[128], 37, 1, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE);
        CHECK_EQ(Read(dst, 4, 2), Of<float>(0.25F, -9));
        AscendC::WholeReduceMax<float>(dst, src, 41, 3, 4, 1, 8, ReduceOrder::ORDER_ONLY_VALUE);
        CHECK_EQ(Read(dst, 0, 10), Of<float>(-100, 9, -9, -9, 9, -9, -9, -9, 50, -9));
        const uint64_t mask[2] = {uint64_t{1} << 40 | 0b101, 0};
        AscendC::WholeReduceMax(dst, src, mask, 3, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE);
        CHECK_EQ(Read(dst, 0, 3), Of<float>(-100, 9, 0.25F));
        AscendC::WholeReduceMax(dst[4], src[64], mask, 1, 1, 1, 8);
        CHECK_EQ(Read(dst.ReinterpretCast<uint32_t>(), 5, 1), Of<uint32_t>(40));
    });
}

// ReduceRepeat, table 3, and ReduceDataBlock, constraints: alignment of the destination. A maximum
// alone is 4 or 2 bytes there; its own page (WholeReduceMax of CANN 8.0 to 9.1) and 2026's debug
// builds ask for two elements in any order.
TEST(reductions_align_their_destination) {
    AivBreaks("misaligned", {"WholeReduceMax", "dst", "multiple of 8"}, {}, [] {
        TPipe pipe;
        AscendC::WholeReduceMax(Filled<float>(pipe, 8, 0)[1], Filled<float>(pipe, 64, 0), 64, 1, 1,
                                1, 8);
    });
    for (const auto order : {ReduceOrder::ORDER_ONLY_VALUE, ReduceOrder::ORDER_ONLY_INDEX}) {
        AivBreaks("misaligned", {"WholeReduceMax", "dst", "multiple of 8"}, {}, [&] {
            TPipe pipe;
            AscendC::WholeReduceMax(Filled<float>(pipe, 8, 0)[1], Filled<float>(pipe, 64, 0), 64, 1,
                                    1, 1, 8, order);
        });
        AivBreaks("misaligned", {"WholeReduceMax", "dst", "multiple of 4"}, {}, [&] {
            TPipe pipe;
            AscendC::WholeReduceMax(Filled<half>(pipe, 16, 0)[1], Filled<half>(pipe, 128, 0), 128,
                                    1, 1, 1, 8, order);
        });
    }
    AivBreaks("misaligned", {"WholeReduceMax", "dst", "multiple of 4"}, {}, [] {
        TPipe pipe;
        AscendC::WholeReduceMax(Filled<half>(pipe, 16, 0)[1], Filled<half>(pipe, 128, 0), 128, 1, 1,
                                1, 8, ReduceOrder::ORDER_ONLY_INDEX);
    });
    AivBreaks("misaligned", {"BlockReduceSum", "dst", "multiple of 32"}, {}, [] {
        TPipe pipe;
        AscendC::BlockReduceSum(Filled<float>(pipe, 16, 0)[4], Filled<float>(pipe, 64, 0), 1, 64, 1,
                                1, 8);
    });
    AivBreaks("misaligned", {"BlockReduceSum", "dst", "multiple of 16"}, {}, [] {
        TPipe pipe;
        AscendC::BlockReduceSum(Filled<half>(pipe, 16, 0)[4], Filled<half>(pipe, 128, 0), 1, 128, 1,
                                1, 8);
    });
    AivBreaks("misaligned", {"WholeReduceSum", "src", "multiple of 32"}, {}, [] {
        TPipe pipe;
        AscendC::WholeReduceSum(Filled<float>(pipe, 8, 0), Filled<float>(pipe, 72, 0)[4], 64, 1, 1,
                                1, 8);
    });
}

TEST(reductions_check_parameters_and_bounds) {
    AivBreaks("field-overflow", {"WholeReduceSum", "repeatTime is 256", "0 to 255"}, {}, [] {
        TPipe pipe;
        AscendC::WholeReduceSum(Filled<float>(pipe, 256, 0), Filled<float>(pipe, 8, 0), 8, 256, 1,
                                1, 0);
    });
    AivBreaks("parameter-range", {"BlockReduceSum", "mask is 129", "0 to 128"}, {}, [] {
        TPipe pipe;
        AscendC::BlockReduceSum(Filled<half>(pipe, 16, 0), Filled<half>(pipe, 256, 0), 1, 129, 1, 1,
                                8);
    });
    AivBreaks("parameter-range", {"WholeReduceMax", "mask is -1"}, {}, [] {
        TPipe pipe;
        AscendC::WholeReduceMax(Filled<float>(pipe, 8, 0), Filled<float>(pipe, 64, 0), -1, 1, 1, 1,
                                8);
    });
    AivBreaks("field-overflow", {"srcRepStride is 65536", "0 to 65535"}, {}, [] {
        TPipe pipe;
        AscendC::WholeReduceSum(Filled<float>(pipe, 8, 0), Filled<float>(pipe, 64, 0), 64, 1, 1, 1,
                                65536);
    });
    AivBreaks("out-of-bounds", {"WholeReduceSum", "dst", "[0, 36)", "[0, 32)"}, {}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 8, 0);
        AscendC::WholeReduceSum(dst, Filled<float>(pipe, 72, 0), 8, 9, 1, 1, 1);
    });
    AivBreaks("out-of-bounds", {"BlockReduceSum", "src"}, {}, [] {
        TPipe pipe;
        AscendC::BlockReduceSum(Filled<float>(pipe, 16, 0), Filled<float>(pipe, 120, 0), 2, 64, 1,
                                1, 8);
    });
    AivBreaks("not-initialised", {"WholeReduceSum", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::WholeReduceSum(LocalTensor<float>(), Filled<float>(pipe, 64, 0), 64, 1, 1, 1, 8);
    });
    AicBreaks("wrong-core", {"WholeReduceMax"}, {}, [] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::A1, float>(pipe, 64);
        AscendC::WholeReduceMax(l1, l1, 64, 1, 1, 1, 8);
    });
}

// 通用地址重叠约束: within an iteration dst and src overlap completely or not at all, and a sum is
// never all of its source.
TEST(reductions_do_not_write_into_their_source) {
    AivBreaks("overlap", {"WholeReduceSum", "src"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 64, 0);
        AscendC::WholeReduceSum(x, x, 64, 1, 1, 1, 8);
    });
    OnAiv({}, [] {  // into the gap between the rows
        TPipe pipe;
        const auto x = Filled<float>(pipe, 32, 1);
        AscendC::WholeReduceSum(x[8], x, 8, 2, 16, 1, 2);
        CHECK_EQ(Read(x, 8, 2), Of<float>(8, 1));
        CHECK_EQ(Read(x, 24, 2), Of<float>(8, 1));
    });
}
