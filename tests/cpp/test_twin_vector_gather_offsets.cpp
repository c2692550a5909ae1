// Golden vectors of Gather. (离散与聚合/Gather)
#include "twin_vector_fixture.h"

using namespace fixture;
using AscendC::HardEvent;

// Atlas A2/A3 has Gather for 16 and 32 bits; other types do not compile.
static_assert(!AscendC::internal::kHasFill<int8_t> && !AscendC::internal::kHasFill<uint8_t>);
static_assert(!AscendC::internal::kHasFill<int64_t> && !AscendC::internal::kHasFill<uint64_t>);

namespace {

/// first, first - 1, ..., 0, times `step`.
std::vector<uint32_t> Downwards(uint32_t first, uint32_t step) {
    std::vector<uint32_t> offsets;
    for (uint32_t i = 0; i <= first; ++i) offsets.push_back((first - i) * step);
    return offsets;
}

/// `count` offsets that are all 0, but for the one at `position`.
std::vector<uint32_t> OneOffset(size_t count, size_t position, uint32_t offset) {
    std::vector<uint32_t> offsets(count, 0);
    offsets[position] = offset;
    return offsets;
}

/// Elements 11, 3, 3 and 0 of a T, and the place behind them.
template <typename T>
void GathersBits() {
    OnAiv({}, [] {
        TPipe pipe;
        const auto size = static_cast<uint32_t>(sizeof(T));
        const auto src = Load<T>(pipe, Ramp<Raw<T>>(16, 100));
        const auto dst = Filled<T>(pipe, 16, 1);
        const auto offsets = Load<uint32_t>(pipe, {11 * size, 3 * size, 3 * size, 0, 0, 0, 0, 0});
        AscendC::Gather(dst, src, offsets, 0, 4);
        CHECK_EQ(Read(dst, 0, 5), Of<Raw<T>>(111, 103, 103, 100, 1));
    });
}

/// Breaks `code` with a Gather of `count` floats out of 64, in `src[view]`.
void FloatsBreak(const std::string& code, std::initializer_list<std::string> parts,
                 const std::vector<uint32_t>& offsets, uint32_t base, uint32_t count,
                 uint32_t view = 0, int line = __builtin_LINE()) {
    AivBreaks(
        code, parts, {},
        [&] {
            TPipe pipe;
            const auto src = Filled<float>(pipe, 64, 0);
            const auto behind = Filled<float>(pipe, 64, 0);  // memory of another allocation
            const auto dst = Filled<float>(pipe, 128, 1);
            CHECK_EQ(behind.local().offset, 256);
            AscendC::Gather(dst, src[view], Load<uint32_t>(pipe, offsets), base, count);
        },
        __FILE__, line);
}

}  // namespace

// Types of Atlas A2/A3, bit for bit.
TEST(every_type) {
    GathersBits<int16_t>();
    GathersBits<uint16_t>();
    GathersBits<half>();
    GathersBits<bfloat16_t>();
    GathersBits<int32_t>();
    GathersBits<uint32_t>();
    GathersBits<float>();
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<half>(
            pipe, Of<uint16_t>(0x8000, 0x7E01, 0xFC00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        const auto dst = Filled<half>(pipe, 16, 0xFFFF);
        AscendC::Gather(dst, src, Load<uint32_t>(pipe, Downwards(7, 2)), 0, 8);
        CHECK_EQ(Read(dst, 4, 5), Of<uint16_t>(1, 0xFC00, 0x7E01, 0x8000, 0xFFFF));
    });
}

// The page's example: offsets [254 252 ... 2 0] turn 128 halves round.
TEST(the_example_of_the_page) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<half>(pipe, Ramp<uint16_t>(128));
        const auto dst = Filled<half>(pipe, 144, 0xFFFF);
        AscendC::Gather(dst, src, Load<uint32_t>(pipe, Downwards(127, 2)), (uint32_t)0, 128);
        CHECK_EQ(Read(dst, 0, 3), Of<uint16_t>(127, 126, 125));
        CHECK_EQ(Read(dst, 125, 4), Of<uint16_t>(2, 1, 0, 0xFFFF));
    });
}

// The first `count` elements and no other, whatever the block or the iteration they end in.
TEST(odd_counts) {
    for (const uint32_t count : {1u, 7u, 15u, 17u, 63u, 65u, 127u, 129u, 255u, 257u}) {
        OnAiv({}, [&] {
            TPipe pipe;
            const auto offsets = Load<uint32_t>(pipe, std::vector<uint32_t>(264, 62));
            const auto dst = Filled<bfloat16_t>(pipe, 304, 0xFFFF);
            AscendC::Gather(dst, Load<bfloat16_t>(pipe, Ramp<uint16_t>(32)), offsets, 0, count);
            CHECK_EQ(Read(dst, 0, count), std::vector<uint16_t>(count, 31));
            CHECK_EQ(Changed(dst, 304, 0xFFFF), Positions({{0, static_cast<int>(count)}}));
        });
    }
    // 65 floats are more than an iteration; each of them has its own offset.
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<float>(pipe, 72, -1);
        auto offsets = Downwards(64, 4);
        offsets.resize(72, 3);  // what lies behind the count is not looked at
        AscendC::Gather(dst, Load<float>(pipe, Ramp<float>(72)), Load<uint32_t>(pipe, offsets), 0,
                        65);
        CHECK_EQ(Read(dst, 0, 2), Of<float>(64, 63));
        CHECK_EQ(Read(dst, 62, 4), Of<float>(2, 1, 0, -1));
    });
}

// srcBaseAddr is added to every offset, from the start of the view that src is.
TEST(the_base_address) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<int32_t>(pipe, Ramp<int32_t>(64));
        const auto offsets = Load<uint32_t>(pipe, {0, 4, 92, 8, 0, 0, 0, 0});
        const auto dst = Filled<int32_t>(pipe, 8, -1);
        AscendC::Gather(dst, src, offsets, 20, 4);
        CHECK_EQ(Read(dst, 0, 5), Of<int32_t>(5, 6, 28, 7, -1));
        AscendC::Gather(dst, src[16], offsets, 20, 3);
        CHECK_EQ(Read(dst, 0, 5), Of<int32_t>(21, 22, 44, 7, -1));
        // Up to the last byte of src: 64 + 96 + 92 + 4 = 256.
        AscendC::Gather(dst, src[16], offsets, 96, 3);
        CHECK_EQ(Read(dst, 0, 3), Of<int32_t>(40, 41, 63));
    });
}

// The page's parameters: mask 128, 4 iterations, dstRepStride 8, 512 halves in all.
TEST(iterations_without_gaps) {
    for (const bool bitmap : {false, true}) {
        OnAiv({}, [&] {
            TPipe pipe;
            const auto src = Load<half>(pipe, Ramp<uint16_t>(512));
            const auto offsets = Load<uint32_t>(pipe, Downwards(511, 2));
            const auto dst = Filled<half>(pipe, 528, 0xFFFF);
            const uint64_t mask[2] = {~uint64_t{0}, ~uint64_t{0}};
            if (bitmap) {
                AscendC::Gather(dst, src, offsets, (uint32_t)0, mask, 4, 8);
            } else {
                AscendC::Gather(dst, src, offsets, (uint32_t)0, 128, 4, 8);
            }
            std::vector<uint16_t> expected = Ramp<uint16_t>(512);
            std::reverse(expected.begin(), expected.end());
            CHECK_EQ(Read(dst, 0, 512), expected);
            CHECK_EQ(Read(dst, 512, 16), std::vector<uint16_t>(16, 0xFFFF));
        });
    }
}

// dstRepStride in blocks. An iteration of floats has 64 lanes and as many offsets, used or not.
TEST(masks_and_the_destination_stride) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<float>(pipe, Ramp<float>(256));
        const auto offsets = Load<uint32_t>(pipe, Downwards(255, 4));
        const auto dst = Filled<float>(pipe, 256, -1);
        AscendC::Gather(dst, src, offsets, 0, 3, 3, 10);
        CHECK_EQ(Changed(dst, 256, -1), Positions({{0, 3}, {80, 3}, {160, 3}}));
        CHECK_EQ(Read(dst, 0, 4), Of<float>(255, 254, 253, -1));
        CHECK_EQ(Read(dst, 80, 4), Of<float>(191, 190, 189, -1));
        CHECK_EQ(Read(dst, 160, 4), Of<float>(127, 126, 125, -1));
        // Lane i takes offset i: lanes 0, 9 and 63. One word is enough for 64 lanes.
        const auto some = Filled<float>(pipe, 136, -1);
        const uint64_t mask[1] = {0x8000000000000201};
        AscendC::Gather(some, src, offsets, 0, mask, 2, 9);
        CHECK_EQ(Changed(some, 136, -1), (std::vector<int>{0, 9, 63, 72, 81, 135}));
        CHECK_EQ(Of<float>(Peek(some, 0), Peek(some, 9), Peek(some, 63)), Of<float>(255, 246, 192));
        CHECK_EQ(Of<float>(Peek(some, 72), Peek(some, 81), Peek(some, 135)),
                 Of<float>(191, 182, 128));
        // A stride of 0 writes the same place again: the last iteration stays.
        const auto same = Filled<float>(pipe, 64, -1);
        AscendC::Gather(same, src, offsets, 0, 64, 2, 0);
        CHECK_EQ(Read(same, 0, 2), Of<float>(191, 190));
        CHECK_EQ(Read(same, 63, 1), Of<float>(128));
    });
    // 16-bit lanes: the second word of the bitmap.
    OnAiv({}, [] {
        TPipe pipe;
        const auto dst = Filled<int16_t>(pipe, 256, -1);
        const uint64_t mask[2] = {2, 0x8000000000000000};
        AscendC::Gather(dst, Load<int16_t>(pipe, Ramp<int16_t>(256)),
                        Load<uint32_t>(pipe, Downwards(255, 2)), 0, mask, 2, 8);
        CHECK_EQ(Changed(dst, 256, -1), (std::vector<int>{1, 127, 129, 255}));
        CHECK_EQ(Of<int16_t>(Peek(dst, 1), Peek(dst, 127), Peek(dst, 129), Peek(dst, 255)),
                 Of<int16_t>(254, 128, 126, 0));
    });
}

// An offset under a 0 of the mask is not used and may be anything.
TEST(offsets_of_idle_lanes_are_not_looked_at) {
    OnAiv({}, [] {
        TPipe pipe;
        auto offsets = std::vector<uint32_t>(128, 0xFFFFFFFF);
        offsets[5] = 8;
        offsets[69] = 12;
        const auto dst = Filled<float>(pipe, 128, -1);
        const uint64_t mask[1] = {1u << 5};
        AscendC::Gather(dst, Load<float>(pipe, Ramp<float>(8)), Load<uint32_t>(pipe, offsets), 0,
                        mask, 2, 8);
        CHECK_EQ(Changed(dst, 128, -1), (std::vector<int>{5, 69}));
        CHECK_EQ(Of<float>(Peek(dst, 5), Peek(dst, 69)), Of<float>(2, 3));
    });
}

// A count or repeatTime of 0 is a no-operation.
TEST(nothing_to_gather) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Filled<float>(pipe, 64, 0);
        const auto offsets = Filled<uint32_t>(pipe, 64, 0xFFFFFFFF);
        const auto dst = Filled<float>(pipe, 64, -1);
        const uint64_t mask[1] = {~uint64_t{0}};
        AscendC::Gather(dst, src, offsets, 0, 0);
        AscendC::Gather(dst, src, offsets, 0, 64, 0, 8);
        AscendC::Gather(dst, src, offsets, 0, mask, 0, 8);
        CHECK(Changed(dst, 64, -1).empty());
    });
}

// Offsets that the scalar pipe writes (数据结构/LocalTensor), with the flags that takes.
TEST(offsets_written_by_the_scalar_pipe) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto src = Load<uint32_t>(pipe, Ramp<uint32_t>(64, 1000));
        const auto offsets = Filled<uint32_t>(pipe, 16, 0xFFFFFFFF);
        const auto dst = Filled<uint32_t>(pipe, 16, 0xFFFFFFFF);
        for (uint32_t i = 0; i < 11; ++i) offsets.SetValue(i, (63 - 5 * i) * 4);
        CHECK_EQ(offsets.GetValue(10), 52);
        CHECK_EQ(offsets.GetValue(11), 0xFFFFFFFF);
        const auto written = pipe.FetchEventID<HardEvent::S_V>();
        AscendC::SetFlag<HardEvent::S_V>(written);
        AscendC::WaitFlag<HardEvent::S_V>(written);
        AscendC::Gather(dst, src, offsets, 0, 11);
        const auto gathered = pipe.FetchEventID<HardEvent::V_S>();
        AscendC::SetFlag<HardEvent::V_S>(gathered);
        AscendC::WaitFlag<HardEvent::V_S>(gathered);
        for (uint32_t i = 0; i < 11; ++i) CHECK_EQ(dst.GetValue(i), 1063 - 5 * i);
        CHECK_EQ(dst.GetValue(11), 0xFFFFFFFF);
    });
    AivBreaks("out-of-bounds", {"SetValue"}, {}, [] {
        TPipe pipe;
        Filled<uint32_t>(pipe, 16, 0).SetValue(16, 1);
    });
    AivBreaks("out-of-bounds", {"GetValue"}, {}, [] {
        TPipe pipe;
        Filled<uint32_t>(pipe, 16, 0).GetValue(16);
    });
}

// src and srcOffset are both read: they may be one.
TEST(src_may_be_the_offsets) {
    OnAiv({}, [] {
        TPipe pipe;
        const auto x = Load<uint32_t>(pipe, Of<uint32_t>(28, 8, 4, 0, 0, 0, 0, 12));
        const auto dst = Filled<uint32_t>(pipe, 8, 1);
        AscendC::Gather(dst, x, x, 0, 3);
        CHECK_EQ(Read(dst, 0, 4), Of<uint32_t>(12, 4, 8, 1));
    });
}

TEST(parameters_are_checked) {
    const auto breaks = [](const std::string& part, uint64_t mask, int64_t repeats, int64_t stride,
                           const char* code = "field-overflow") {
        AivBreaks(code, {"Gather", part}, {}, [&] {
            TPipe pipe;
            AscendC::Gather(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 64, 0),
                            Filled<uint32_t>(pipe, 64, 0), 0, mask, repeats, stride);
        });
    };
    breaks("mask is 65, allowed are 0 to 64", 65, 1, 8, "parameter-range");
    breaks("repeatTime is 256, allowed are 0 to 255", 64, 256, 0);
    breaks("repeatTime is -1", 64, -1, 0);
    breaks("dstRepStride is 65536, allowed are 0 to 65535", 64, 1, 65536);
    breaks("dstRepStride is -1", 64, 1, -1);
    FloatsBreak("parameter-range", {"Gather", "count"}, OneOffset(8, 0, 0), 0, 0xFFFFFFFF);
}

// Offsets and srcBaseAddr are multiples of the width of an element of src.
TEST(offsets_are_aligned_to_elements) {
    FloatsBreak("misaligned", {"Gather", "srcOffset[5] is 18, must be a multiple of 4"},
                OneOffset(8, 5, 18), 0, 8);
    FloatsBreak("misaligned", {"Gather", "srcOffset[64] is 1,"}, OneOffset(72, 64, 1), 0, 65);
    FloatsBreak("misaligned", {"Gather", "srcOffset[0] is 4294967295"}, OneOffset(8, 0, 0xFFFFFFFF),
                0, 8);
    FloatsBreak("misaligned", {"Gather", "srcBaseAddr is 6, must be a multiple of 4"},
                OneOffset(8, 0, 0), 6, 8);
    // Each of them, not only their sum.
    FloatsBreak("misaligned", {"Gather", "srcBaseAddr is 2,"}, std::vector<uint32_t>(8, 2), 2, 8);
    AivBreaks("misaligned", {"Gather", "srcOffset[130] is 3, must be a multiple of 2"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<half>(pipe, 256, 0), Filled<half>(pipe, 64, 0),
                        Load<uint32_t>(pipe, OneOffset(256, 130, 3)), 0, 3, 2, 8);
    });
}

// Every element lies in the allocation of src, although memory goes on behind it.
TEST(elements_lie_inside_src) {
    FloatsBreak("out-of-bounds",
                {"Gather", "srcOffset[7] is 256 and srcBaseAddr 0", "src touches bytes [256, 260)",
                 "[0, 256)"},
                OneOffset(8, 7, 256), 0, 8);
    FloatsBreak("out-of-bounds", {"Gather", "srcOffset[0] is 0 and srcBaseAddr 256"},
                OneOffset(8, 7, 0), 256, 8);
    FloatsBreak("out-of-bounds", {"Gather", "srcOffset[2] is 4 and srcBaseAddr 252"},
                OneOffset(8, 2, 4), 252, 8);
    FloatsBreak("out-of-bounds", {"Gather", "srcOffset[2] is 224"}, OneOffset(8, 2, 224), 0, 8, 8);
    // The sum does not wrap: 8 + 0xFFFFFFFC is not 4.
    FloatsBreak("out-of-bounds", {"Gather", "srcOffset[3] is 4294967292"},
                OneOffset(8, 3, 0xFFFFFFFC), 8, 8);
}

TEST(operands_are_checked) {
    // 17 floats do not fit 16; nor do 17 offsets.
    AivBreaks("out-of-bounds", {"Gather", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<float>(pipe, 16, 0), Filled<float>(pipe, 64, 0),
                        Filled<uint32_t>(pipe, 24, 0), 0, 17);
    });
    AivBreaks("out-of-bounds", {"Gather", "srcOffset"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<float>(pipe, 24, 0), Filled<float>(pipe, 64, 0),
                        Filled<uint32_t>(pipe, 16, 0), 0, 17);
    });
    // Two iterations of 16-bit lanes need 256 offsets, the second one from 128 on.
    AivBreaks("out-of-bounds", {"Gather", "srcOffset"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<half>(pipe, 256, 0), Filled<half>(pipe, 64, 0),
                        Filled<uint32_t>(pipe, 128, 0), 0, 1, 2, 8);
    });
    AivBreaks("out-of-bounds", {"Gather", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<float>(pipe, 128, 0), Filled<float>(pipe, 64, 0),
                        Filled<uint32_t>(pipe, 128, 0), 0, 64, 2, 9);
    });
    AivBreaks("misaligned", {"Gather", "dst"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<float>(pipe, 64, 0)[4], Filled<float>(pipe, 64, 0),
                        Filled<uint32_t>(pipe, 64, 0), 0, 8);
    });
    AivBreaks("misaligned", {"Gather", "src starts"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 64, 0)[1],
                        Filled<uint32_t>(pipe, 64, 0), 0, 8);
    });
    AivBreaks("misaligned", {"Gather", "srcOffset starts"}, {}, [] {
        TPipe pipe;
        AscendC::Gather(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 64, 0),
                        Filled<uint32_t>(pipe, 64, 0)[2], 0, 8);
    });
    AivBreaks("not-initialised", {"Gather", "dst is a LocalTensor that stands for no memory"}, {},
              [] {
                  TPipe pipe;
                  AscendC::Gather(LocalTensor<float>(), Filled<float>(pipe, 64, 0),
                                  Filled<uint32_t>(pipe, 64, 0), 0, 8);
              });
    AivBreaks("not-initialised", {"Gather", "src is a LocalTensor that stands for no memory"}, {},
              [] {
                  TPipe pipe;
                  AscendC::Gather(Filled<float>(pipe, 64, 0), LocalTensor<float>(),
                                  Filled<uint32_t>(pipe, 64, 0), 0, 8);
              });
    AivBreaks("not-initialised", {"Gather", "srcOffset is a LocalTensor that stands for no memory"},
              {}, [] {
                  TPipe pipe;
                  AscendC::Gather(Filled<float>(pipe, 64, 0), Filled<float>(pipe, 64, 0),
                                  LocalTensor<uint32_t>(), 0, 8);
              });
    AicBreaks("wrong-core", {"Gather"}, {}, [] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::A1, uint32_t>(pipe, 64);
        AscendC::Gather(l1, l1, l1, 0, 8);
    });
}

// dst shares memory with neither source, not even in place; parts of one allocation may be both.
TEST(overlaps) {
    AivBreaks("overlap", {"Gather", "dst and src overlap"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 64, 0);
        AscendC::Gather(x, x, Load<uint32_t>(pipe, Downwards(7, 4)), 0, 8);
    });
    // The one element that lies in dst.
    AivBreaks("overlap", {"Gather", "dst and src overlap"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<float>(pipe, 64, 0);
        AscendC::Gather(x[32], x, Load<uint32_t>(pipe, OneOffset(8, 6, 128)), 0, 8);
    });
    AivBreaks("overlap", {"Gather", "dst and srcOffset overlap"}, {}, [] {
        TPipe pipe;
        const auto offsets = Filled<uint32_t>(pipe, 64, 0);
        AscendC::Gather(offsets, Filled<uint32_t>(pipe, 64, 0), offsets, 0, 8);
    });
    AivBreaks("overlap", {"Gather", "dst and srcOffset overlap"}, {}, [] {
        TPipe pipe;
        const auto x = Filled<uint32_t>(pipe, 256, 0);
        AscendC::Gather(x[64], Filled<uint32_t>(pipe, 64, 0), x, 0, 8, 2, 16);
    });
    OnAiv({}, [] {
        TPipe pipe;
        const auto x = Load<float>(pipe, Ramp<float>(64));
        AscendC::Gather(x[32], x, Load<uint32_t>(pipe, Downwards(7, 4)), 96, 8);
        CHECK_EQ(Read(x, 31, 10), Of<float>(31, 31, 30, 29, 28, 27, 26, 25, 24, 40));
    });
}

// twin/trace_format.h: one record with iterations, destination bytes and bytes per element.
TEST(the_trace_tells_iterations_and_bytes) {
    const std::vector<twin::TraceRecord> records = VectorRecords([] {
        TPipe pipe;
        const auto src = Filled<half>(pipe, 64, 0);
        const auto dst = Filled<half>(pipe, 512, 0);
        const auto offsets = Filled<uint32_t>(pipe, 256, 0);
        AscendC::Gather(dst[16], src, offsets, 0, 129);
        AscendC::Gather(dst, src, offsets, 0, 20, 2, 16);
        AscendC::Gather(dst, src, offsets, 0, 0);  // leaves no record
    });
    CHECK_EQ(records.size(), 2);
    if (records.size() != 2) return;
    CHECK_EQ(records[0].pipe, twin::TracePipe::kV);
    CHECK_EQ(records[0].buffer, twin::TraceBuffer::kUb);
    CHECK_EQ(records[0].local_offset, 128 + 32);
    CHECK_EQ(records[0].local_bytes, 258);
    CHECK_EQ(records[0].args[0], 2);
    CHECK_EQ(records[0].args[1], 258);
    CHECK_EQ(records[0].args[2], 2);
    CHECK_EQ(records[1].local_offset, 128);
    CHECK_EQ(records[1].local_bytes, 512 + 40);
    CHECK_EQ(records[1].args[0], 2);
    CHECK_EQ(records[1].args[1], 80);
}

// All offsets are checked before the first element is written.
TEST(an_instruction_that_stops_writes_nothing) {
    std::vector<float> held;
    Breaks("out-of-bounds", {"srcOffset[7]"}, [&] {
        OnAiv({}, [&] {
            TPipe pipe;
            const auto dst = Filled<float>(pipe, 8, -1);
            const auto src = Filled<float>(pipe, 8, 0);
            const auto offsets = Load<uint32_t>(pipe, OneOffset(8, 7, 32));
            try {
                AscendC::Gather(dst, src, offsets, 0, 8);
            } catch (const twin::Error&) {
                held = Read(dst, 0, 8);
                throw;
            }
        });
    });
    CHECK_EQ(held, std::vector<float>(8, -1));
}
