// Golden vectors of iterations, masks and strides, with elementwise instructions, and the rules of
// operands.
#include "twin_vector_fixture.h"

using namespace fixture;

// SIMD计算说明/掩码, 连续模式: the first `mask` elements of each iteration; the others keep their
// value.
TEST(a_mask_takes_the_leading_elements_of_each_iteration) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 128, 0);
        AscendC::Adds(dst, Filled<float>(pipe, 128, 0), 1.0F, 3, 2, {1, 1, 8, 8});
        CHECK_EQ(Changed(dst, 128, 0), Of<int>(0, 1, 2, 64, 65, 66));
        const auto halves = Filled<half>(pipe, 128, 0);
        AscendC::Adds(halves, Filled<half>(pipe, 128, 0), HalfBits(0x3C00), 17, 1, {1, 1, 8, 8});
        CHECK_EQ(Changed(halves, 128, 0), Positions({{0, 17}}));
        AscendC::Adds(halves, Filled<half>(pipe, 128, 0), HalfBits(0x3C00), 128, 1, {1, 1, 8, 8});
        CHECK_EQ(Changed(halves, 128, 0), Positions({{0, 128}}));
    });
}

// SIMD计算说明/掩码, table 5: with mask = [8, 2], elements 4 and 66 (64 + 2) take part, counted
// from 1.
TEST(a_bitmap_takes_the_elements_whose_bit_is_set) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<half>(pipe, 256, 0);
        uint64_t mask[2] = {8, 2};
        AscendC::Adds(dst, Filled<half>(pipe, 256, 0), HalfBits(0x3C00), mask, 2, {1, 1, 8, 8});
        CHECK_EQ(Changed(dst, 256, 0), Of<int>(3, 65, 131, 193));
        // 32-bit elements: one word, 64 of them.
        const auto wide = Filled<int32_t>(pipe, 64, 0);
        uint64_t one_word[1] = {0x8000000000000005};
        AscendC::Adds(wide, Filled<int32_t>(pipe, 64, 0), 1, one_word, 1, {1, 1, 8, 8});
        CHECK_EQ(Changed(wide, 64, 0), Of<int>(0, 2, 63));
        // Only the first word is valid then, whatever follows it.
        uint64_t second_word[2] = {0, ~uint64_t{0}};
        AscendC::Adds(wide, Filled<int32_t>(pipe, 64, 0), 7, second_word, 1, {1, 1, 8, 8});
        CHECK_EQ(Changed(wide, 64, 0), Of<int>(0, 2, 63));
    });
}

// SIMD计算说明/掩码, figures 5 and 6: {2, 2, 16, 16} leaves every other block alone.
TEST(a_block_stride_of_2_skips_every_other_block) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<float>(pipe, Ramp<float>(256));
        const auto dst = Filled<float>(pipe, 256, -1);
        AscendC::Adds(dst, src, 1000.0F, 64, 2, {2, 2, 16, 16});
        CHECK_EQ(Read(dst, 0, 8), Ramp<float>(8, 1000));
        CHECK_EQ(Read(dst, 8, 8), Of<float>(-1, -1, -1, -1, -1, -1, -1, -1));
        CHECK_EQ(Read(dst, 16, 8), Ramp<float>(8, 1016));
        CHECK_EQ(Read(dst, 112, 8), Ramp<float>(8, 1112));
        CHECK_EQ(Read(dst, 128, 8), Ramp<float>(8, 1128));
        CHECK_EQ(Read(dst, 240, 8), Ramp<float>(8, 1240));
    });
}

// SIMD计算说明/高维切分, figure 5: source blocks two apart, destination blocks next to each other.
TEST(source_and_destination_have_their_own_strides) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<float>(pipe, Ramp<float>(48));
        const auto dst = Filled<float>(pipe, 24, -1);
        AscendC::Adds(dst, src, 0.0F, 24, 1, {1, 2, 8, 8});
        CHECK_EQ(Read(dst, 0, 8), Ramp<float>(8, 0));
        CHECK_EQ(Read(dst, 8, 8), Ramp<float>(8, 16));
        CHECK_EQ(Read(dst, 16, 8), Ramp<float>(8, 32));
    });
}

// SIMD计算说明/高维切分: a source block stride of 0 reuses the first block.
TEST(a_source_block_stride_of_0_reuses_the_first_block) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<float>(pipe, Ramp<float>(8));
        const auto dst = Filled<float>(pipe, 24, -1);
        AscendC::Adds(dst, src, 10.0F, 20, 1, {1, 0, 8, 8});
        CHECK_EQ(Read(dst, 0, 8), Ramp<float>(8, 10));
        CHECK_EQ(Read(dst, 8, 8), Ramp<float>(8, 10));
        CHECK_EQ(Read(dst, 16, 8), Of<float>(10, 11, 12, 13, -1, -1, -1, -1));
        // Rows times a column of per-row blocks, the layout that Brcb makes.
        const auto product = Filled<float>(pipe, 32, -1);
        AscendC::Mul(product, Load<float>(pipe, Ramp<float>(32, 1)),
                     Load<float>(pipe, {2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3}), 16, 2,
                     {1, 1, 0, 2, 2, 1});
        CHECK_EQ(Read(product, 0, 4), Of<float>(2, 4, 6, 8));
        CHECK_EQ(Read(product, 8, 4), Of<float>(18, 20, 22, 24));
        CHECK_EQ(Read(product, 16, 4), Of<float>(51, 54, 57, 60));
        CHECK_EQ(Read(product, 24, 4), Of<float>(75, 78, 81, 84));
    });
}

// SIMD计算说明/高维切分, repeatStride: 0 reads the same blocks again, 1 to 7 read part of them
// again, more than 8 leave a gap.
TEST(repeat_strides) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<float>(pipe, Ramp<float>(144));
        const auto again = Filled<float>(pipe, 16, -1);
        AscendC::Adds(again, src, 0.0F, 8, 2, {1, 1, 1, 0});
        CHECK_EQ(Read(again, 8, 8), Ramp<float>(8, 0));
        const auto partly = Filled<float>(pipe, 32, -1);
        AscendC::Adds(partly, src, 0.0F, 16, 2, {1, 1, 2, 1});
        CHECK_EQ(Read(partly, 0, 16), Ramp<float>(16, 0));
        CHECK_EQ(Read(partly, 16, 16), Ramp<float>(16, 8));
        const auto gap = Filled<float>(pipe, 144, -1);
        AscendC::Adds(gap, src, 0.0F, 64, 2, {1, 1, 9, 9});
        CHECK_EQ(Changed(gap, 144, -1), Positions({{0, 64}, {72, 64}}));
        CHECK_EQ(Read(gap, 72, 64), Ramp<float>(64, 72));
        // A destination that stands still keeps the last iteration.
        const auto still = Filled<float>(pipe, 8, -1);
        AscendC::Adds(still, src, 0.0F, 8, 3, {1, 1, 0, 1});
        CHECK_EQ(Read(still, 0, 8), Ramp<float>(8, 16));
    });
}

// SIMD计算说明/连续计算: count is not bound to iterations, nor to 255 of them.
TEST(a_count_covers_many_iterations_and_a_tail) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 20000, -1);
        AscendC::Adds(dst, Filled<float>(pipe, 20000, 1), 1.0F,
                      16390);  // 256 iterations and 6 elements
        CHECK_EQ(Changed(dst, 20000, -1), Positions({{0, 16390}}));
        CHECK_EQ(Read(dst, 16389, 2), Of<float>(2, -1));
    });
}

// SIMD计算说明/高维切分: "repeatTime不能超过255". As uint8_t, 256 would be 0 and the call do
// nothing.
TEST(repeat_time_ends_at_255) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 255 * 8, 0);
        AscendC::Adds(dst, Filled<float>(pipe, 8, 1), 1.0F, 8, 255, {1, 1, 1, 0});
        CHECK_EQ(Changed(dst, 255 * 8, 0), Positions({{0, 2040}}));
    });
    AivBreaks("field-overflow", {"Adds", "repeatTime is 256", "0 to 255"}, {}, [] {
        TPipe pipe;
        AscendC::Adds(Filled<float>(pipe, 8, 0), Filled<float>(pipe, 8, 1), 1.0F, 8, 256,
                      {1, 1, 0, 0});
    });
}

// Constraints of every page: count or repeatTime 0 is a no-operation on Atlas A2/A3; 掩码: so is a
// mask of 0.
TEST(nothing_to_do_is_no_operation) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Filled<float>(pipe, 64, 1);
        const auto dst = Filled<float>(pipe, 64, -1);
        const uint64_t none = 0;
        uint64_t bitmap[2] = {0, 0};
        AscendC::Adds(dst, src, 1.0F, 0);
        AscendC::Adds(dst, src, 1.0F, none, 1, {1, 1, 8, 8});
        AscendC::Adds(dst, src, 1.0F, 64, 0, {1, 1, 8, 8});
        AscendC::Add(dst, src, src, bitmap, 1, {1, 1, 1, 8, 8, 8});
        AscendC::Abs(dst, src, 64, 0, {1, 1, 8, 8});
        CHECK_EQ(Changed(dst, 64, -1), Of<int>());
    });
}

// 掩码 clamps a mask that is too large; whoever passes one has miscounted the elements of an
// iteration.
TEST(a_mask_beyond_the_iteration_is_refused) {
    AivBreaks("parameter-range", {"Sqrt", "mask is 65", "0 to 64"}, {}, [] {
        TPipe pipe;
        AscendC::Sqrt(Filled<float>(pipe, 128, 0), Filled<float>(pipe, 128, 1), 65, 1,
                      {1, 1, 8, 8});
    });
    AivBreaks("parameter-range", {"Max", "mask is 129", "0 to 128"}, {}, [] {
        TPipe pipe;
        const auto src = Filled<half>(pipe, 256, 0);
        AscendC::Max(Filled<half>(pipe, 256, 0), src, src, 129, 1, {1, 1, 1, 8, 8, 8});
    });
    AivBreaks("parameter-range", {"Adds", "count is -1"}, {}, [] {
        TPipe pipe;
        AscendC::Adds(Filled<float>(pipe, 8, 0), Filled<float>(pipe, 8, 1), 1.0F, -1);
    });
}

// SIMD计算说明/高维切分: "dstBlkStride不支持设置为0". UnaryRepeatParams: the reserved fields keep
// their default.
TEST(undefined_strides_and_reserved_fields_are_refused) {
    AivBreaks("parameter-range", {"destination block stride is 0"}, {}, [] {
        TPipe pipe;
        AscendC::Adds(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 64, 1), 1.0F, 64, 1,
                      {0, 1, 8, 8});
    });
    AivBreaks("parameter-range", {"blockNumber is 4"}, {}, [] {
        TPipe pipe;
        BinaryRepeatParams params;
        params.blockNumber = 4;
        const auto src = Filled<float>(pipe, 64, 0);
        AscendC::Add(Filled<float>(pipe, 64, 0), src, src, 64, 1, params);
    });
}

// 通用说明和约束, table 2: operands in UB start at multiples of 32 bytes.
TEST(misaligned_operands_are_refused) {
    AivBreaks("misaligned", {"Adds", "dst", "must be a multiple of 32"}, {}, [] {
        TPipe pipe;
        AscendC::Adds(Filled<float>(pipe, 16, 0)[1], Filled<float>(pipe, 16, 1), 1.0F, 4);
    });
    AivBreaks("misaligned", {"Mul", "src1", "must be a multiple of 32"}, {}, [] {
        TPipe pipe;
        const auto src = Filled<half>(pipe, 32, 0);
        AscendC::Mul(Filled<half>(pipe, 32, 0), src, src[8], 8);
    });
}

TEST(operands_stay_inside_their_allocations) {
    AivBreaks("out-of-bounds", {"Adds", "dst", "[0, 36)", "[0, 32)"}, {}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 8, 0);
        AscendC::Adds(dst, Filled<float>(pipe, 16, 1), 1.0F, 9);
    });
    // One lane of the third block, two blocks apart: the four bytes after the 128 of the source.
    AivBreaks("out-of-bounds", {"Abs", "src", "[384, 388)", "[256, 384)"}, {}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 64, 0);
        uint64_t mask[2] = {1 << 16, 0};
        AscendC::Abs(dst, Filled<float>(pipe, 32, 0), mask, 1, {1, 2, 8, 8});
    });
    AivBreaks("out-of-bounds", {"Add", "src1", "[256, 768)", "[256, 512)"}, {}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 64, 0);
        const auto src = Filled<float>(pipe, 64, 0);
        AscendC::Add(dst, src, src, 64, 2, {1, 0, 1, 0, 0, 8});
    });
    // What the mask leaves out does not count.
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 8, 0);
        AscendC::Adds(dst, Filled<float>(pipe, 8, 1), 1.0F, 8, 1, {4, 4, 8, 8});
        CHECK_EQ(Read(dst, 0, 8), Of<float>(2, 2, 2, 2, 2, 2, 2, 2));
    });
}

TEST(operands_are_in_ub_and_the_core_is_a_vector_core) {
    AivBreaks("not-initialised", {"Add", "src0", "stands for no memory"}, {}, [] {
        TPipe pipe;
        const auto ub = Filled<float>(pipe, 8, 0);
        AscendC::Add(ub, LocalTensor<float>(), ub, 8);
    });
    AicBreaks("wrong-core", {"Muls", "AIC"}, {}, [] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::A1, float>(pipe, 8);
        AscendC::Muls(l1, l1, 2.0F, 8);
    });
}

// 通用说明和约束, 通用地址重叠约束: within an iteration dst and src are the same blocks, or have
// none in common.
TEST(operands_overlap_completely_or_not_at_all) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto x = Load<float>(pipe, Ramp<float>(128));
        AscendC::Adds(x, x, 1.0F, 128);
        CHECK_EQ(Read(x, 0, 128), Ramp<float>(128, 1));
        AscendC::Add(x, x, x, 64, 2, {1, 1, 1, 8, 8, 8});
        CHECK_EQ(Read(x, 126, 2), Of<float>(254, 256));
        // Interleaved in the same memory, without a block in common.
        AscendC::Adds(x[8], x, 0.0F, 32, 1, {2, 2, 8, 8});
        CHECK_EQ(Read(x, 8, 8), Of<float>(2, 4, 6, 8, 10, 12, 14, 16));
    });
    AivBreaks("overlap", {"Adds", "src"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 64, 0);
        AscendC::Adds(x[8], x, 1.0F, 16);
    });
    AivBreaks("overlap", {"Muls", "within an iteration"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 64, 0);
        AscendC::Muls(x, x, 1.0F, 16, 1, {1, 0, 8, 8});
    });
}

// The same page: no iteration reads what an earlier one wrote ...
TEST(an_iteration_does_not_read_what_an_earlier_one_wrote) {
    AivBreaks("overlap", {"Adds", "between iterations"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 32, 0);
        AscendC::Adds(x[8], x, 1.0F, 8, 3, {1, 1, 1, 1});
    });
    AivBreaks("overlap", {"Add", "src0", "between iterations"}, {}, [] {
        TPipe pipe;
        const auto sum = Filled<float>(pipe, 8, 0);
        AscendC::Add(sum, sum, Filled<float>(pipe, 24, 1), 8, 3, {1, 1, 1, 0, 0, 1});
    });
}

// ... except Add, Sub, Mul, Max and Min of half, int32_t and float where dst is src1 and stands
// still.
TEST(an_accumulator_is_the_second_source) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto sum = Filled<float>(pipe, 8, 1000);
        const auto x = Load<float>(pipe, Ramp<float>(24));
        AscendC::Add(sum, x, sum, 8, 3, {1, 1, 1, 0, 1, 0});
        // 1000 + i + (i + 8) + (i + 16)
        CHECK_EQ(Read(sum, 0, 8), Of<float>(1024, 1027, 1030, 1033, 1036, 1039, 1042, 1045));
        const auto most = Filled<int32_t>(pipe, 8, 5);
        AscendC::Max(most, Load<int32_t>(pipe, Ramp<int32_t>(16)), most, 8, 2, {1, 1, 1, 0, 1, 0});
        CHECK_EQ(Read(most, 0, 8), Ramp<int32_t>(8, 8));
    });
    AivBreaks("overlap", {"Add", "src1", "between iterations"}, {}, [] {
        TPipe pipe;
        const auto sum = Filled<int16_t>(pipe, 16, 0);
        AscendC::Add(sum, Filled<int16_t>(pipe, 48, 1), sum, 16, 3, {1, 1, 1, 0, 1, 0});
    });
    AivBreaks("overlap", {"Div", "src1", "between iterations"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 8, 1);
        AscendC::Div(x, Filled<float>(pipe, 24, 1), x, 8, 3, {1, 1, 1, 0, 1, 0});
    });
}

// twin/trace_format.h: one record with iterations, destination bytes and bytes per element.
TEST(the_trace_tells_iterations_and_bytes) {
    const std::vector<twin::TraceRecord> vector_records = VectorRecords([] {
        TPipe pipe;
        const auto src = Filled<half>(pipe, 256, 0);
        const auto dst = Filled<half>(pipe, 512, 0);
        AscendC::Abs(dst, src, 20, 2, {2, 1, 16, 8});
        AscendC::Adds(dst, src, HalfBits(0), 200);
        AscendC::Adds(dst, src, HalfBits(0), 0);  // leaves no record
    });
    CHECK_EQ(vector_records.size(), 2);
    if (vector_records.size() != 2) return;
    const twin::TraceRecord& first = vector_records[0];
    CHECK_EQ(first.pipe, twin::TracePipe::kV);
    CHECK_EQ(first.buffer, twin::TraceBuffer::kUb);
    CHECK_EQ(first.local_offset, 512);
    CHECK_EQ(first.local_bytes, 16 * 32 + 64 + 8);  // 20 halves: block 0 and 8 bytes of block 2
    CHECK_EQ(first.args[0], 2);
    CHECK_EQ(first.args[1], 80);
    CHECK_EQ(first.args[2], 2);
    CHECK_EQ(vector_records[1].local_bytes, 400);
    CHECK_EQ(vector_records[1].args[0], 2);
    CHECK_EQ(vector_records[1].args[1], 400);
}

// The report names the line of the kernel, not one of the twin.
TEST(an_error_names_the_line_that_issued_the_instruction) {
    int line = 0;
    try {
        OnAiv({}, [&] {
            TPipe pipe;
            const auto x = Filled<float>(pipe, 8, 0);
            line = __LINE__ + 1;
            AscendC::Adds(x, x, 1.0F, 9);
        });
        CHECK(false);
    } catch (const twin::Error& error) {
        CHECK_EQ(error.line, line);
        CHECK(error.file.find("test_twin_vector_iterations.cpp") != std::string::npos);
        CHECK_EQ(error.core, "AIV 0");
    }
}
