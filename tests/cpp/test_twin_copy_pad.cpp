// Golden vectors of DataCopyPad between GM and UB, with its limits.
#include <cstdint>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopyExtParams;
using AscendC::DataCopyPad;
using AscendC::DataCopyPadExtParams;
using AscendC::PipeBarrier;

// ---- Memory矢量计算/数据搬运/DataCopyPad（GMToUB非对齐数据搬运） ----

// The page's example 1: two blocks of 64 bytes, 1 byte between them in GM, one block in UB.
TEST(pad_in_of_whole_blocks_has_a_gap_of_bytes_in_gm_and_of_blocks_in_ub) {
    std::vector<uint8_t> from = Ramp<uint8_t>(129);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 192, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(2, 64, 1, 1, 0),
                    DataCopyPadExtParams<uint8_t>(false, 0, 0, 0));
        CHECK_EQ(Values(ub, 0, 64), Ramp<uint8_t>(64));
        CHECK_EQ(Values(ub, 64, 32), Repeat<uint8_t>(32, 0xAA));
        CHECK_EQ(Values(ub, 96, 64), Ramp<uint8_t>(64, 65));
        CHECK_EQ(Values(ub, 160, 32), Repeat<uint8_t>(32, 0xAA));
    });
}

// The page's example 2: blocks of 47 bytes. Without padding
// "dummy会默认填充待搬运数据块的第一个元素值" up to 64 bytes. GM ends with the last byte of the
// last block: nothing beyond it is read.
TEST(pad_in_fills_up_with_the_first_element_of_each_block) {
    std::vector<uint8_t> from = Ramp<uint8_t>(95, 1);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 192, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(2, 47, 1, 1, 0),
                    DataCopyPadExtParams<uint8_t>(false, 0, 0, 0));
        CHECK_EQ(Values(ub, 0, 47), Ramp<uint8_t>(47, 1));
        CHECK_EQ(Values(ub, 47, 17), Repeat<uint8_t>(17, 1));
        CHECK_EQ(Values(ub, 64, 32), Repeat<uint8_t>(32, 0xAA));
        CHECK_EQ(Values(ub, 96, 47), Ramp<uint8_t>(47, 49));
        CHECK_EQ(Values(ub, 143, 17), Repeat<uint8_t>(17, 49));
        CHECK_EQ(Values(ub, 160, 32), Repeat<uint8_t>(32, 0xAA));
    });
}

// The first *element*, not the first byte: 20 halves, the rest of 64 bytes is 12 x 0x1234.
TEST(pad_in_fills_up_with_whole_elements) {
    std::vector<uint16_t> from = Ramp<uint16_t>(20, 0x1234);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 48, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(1, 40, 0, 0, 0),
                    DataCopyPadExtParams<uint16_t>());
        CHECK_EQ(Values(ub, 0, 20), Ramp<uint16_t>(20, 0x1234));
        CHECK_EQ(Values(ub, 20, 12), Repeat<uint16_t>(12, 0x1234));
        CHECK_EQ(Values(ub, 32, 16), Repeat<uint16_t>(16, kFill16));
    });
}

// The page's scene 2 with 5 + 3 instead of 59 + 5 floats: rightPadding counts elements.
TEST(pad_in_right_padding_takes_the_padding_value) {
    std::vector<float> from = Ramp<float>(10, 1);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 24, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(2, 20, 0, 0, 0),
                    DataCopyPadExtParams<float>(true, 0, 3, 7.5F));
        CHECK_EQ(Values(ub, 0, 16),
                 Of<float>(1, 2, 3, 4, 5, 7.5F, 7.5F, 7.5F, 6, 7, 8, 9, 10, 7.5F, 7.5F, 7.5F));
        CHECK_EQ(Peek(ub.ReinterpretCast<uint32_t>(), 16), 0xAAAAAAAAu);
    });
}

// Left and right at once, 24 bytes of 32: with isPad the dummy takes the padding value too, and the
// data moves right by leftPadding. The next block starts at a multiple of 32 bytes.
TEST(pad_in_left_padding_moves_the_data) {
    std::vector<float> from = Ramp<float>(6, 1);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 24, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(2, 12, 0, 0, 0),
                    DataCopyPadExtParams<float>(true, 2, 1, -1));
        CHECK_EQ(Values(ub, 0, 16),
                 Of<float>(-1, -1, 1, 2, 3, -1, -1, -1, -1, -1, 4, 5, 6, -1, -1, -1));
        CHECK_EQ(Peek(ub.ReinterpretCast<uint32_t>(), 16), 0xAAAAAAAAu);
    });
}

// Padding of exactly 32 bytes is allowed and makes the block two units longer.
TEST(pad_in_takes_32_bytes_of_padding_on_each_side) {
    std::vector<float> from = Ramp<float>(8, 1);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 32, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(1, 32, 0, 0, 0),
                    DataCopyPadExtParams<float>(true, 8, 8, 5));
        CHECK_EQ(Values(ub, 0, 8), Repeat<float>(8, 5));
        CHECK_EQ(Values(ub, 8, 8), Ramp<float>(8, 1));
        CHECK_EQ(Values(ub, 16, 8), Repeat<float>(8, 5));
        CHECK_EQ(Peek(ub.ReinterpretCast<uint32_t>(), 24), 0xAAAAAAAAu);
    });
}

// isPad = false with padding: the values of padding and dummy are random ("均为随机值"), their room
// is not.
TEST(pad_in_without_a_value_still_makes_room) {
    std::vector<float> from = Ramp<float>(6, 1);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 24, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(2, 12, 0, 0, 0),
                    DataCopyPadExtParams<float>(false, 2, 1, 9));
        CHECK_EQ(Values(ub, 2, 3), Of<float>(1, 2, 3));
        CHECK_EQ(Values(ub, 10, 3), Of<float>(4, 5, 6));
        CHECK_EQ(Peek(ub.ReinterpretCast<uint32_t>(), 16), 0xAAAAAAAAu);
    });
}

// "leftPadding、rightPadding所占字节数均不能超过32B".
TEST(pad_in_refuses_more_than_32_bytes_of_padding) {
    std::vector<float> floats = Ramp<float>(8);
    std::vector<uint8_t> bytes = Ramp<uint8_t>(32);
    AivBreaks("parameter-range", {"leftPadding", "36"}, {Input("x", floats)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, float>(pipe, 64), Gm(floats), DataCopyExtParams(1, 32, 0, 0, 0),
                    DataCopyPadExtParams<float>(true, 9, 0, 0));
    });
    AivBreaks("parameter-range", {"rightPadding", "33"}, {Input("x", bytes)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint8_t>(pipe, 128), Gm(bytes), DataCopyExtParams(1, 32, 0, 0, 0),
                    DataCopyPadExtParams<uint8_t>(true, 0, 33, 0));
    });
}

// "blockLen必须是sizeof(T)的整数倍".
TEST(pad_in_refuses_a_part_of_an_element) {
    std::vector<uint16_t> data = Ramp<uint16_t>(16);
    AivBreaks("parameter-range", {"blockLen", "3"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint16_t>(pipe, 16), Gm(data), DataCopyExtParams(1, 3, 0, 0, 0),
                    DataCopyPadExtParams<uint16_t>());
    });
}

// "当数据类型为b64时，paddingValue只能设置为0".
TEST(pad_in_pads_64_bit_elements_with_zero_only) {
    std::vector<int64_t> from = Ramp<int64_t>(3, 1);
    OnAiv({Input("x", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, int64_t>(pipe, 4, 0xAA);
        DataCopyPad(ub, Gm(from), DataCopyExtParams(1, 24, 0, 0, 0),
                    DataCopyPadExtParams<int64_t>(true, 0, 1, 0));
        CHECK_EQ(Values(ub, 0, 4), Of<int64_t>(1, 2, 3, 0));
    });
    AivBreaks("parameter-range", {"paddingValue"}, {Input("x", from)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, int64_t>(pipe, 4), Gm(from), DataCopyExtParams(1, 24, 0, 0, 0),
                    DataCopyPadExtParams<int64_t>(true, 0, 1, 5));
    });
}

// "位于Global Memory的源地址必须1字节对齐，位于Unified Buffer的目的地址必须32字节对齐".
TEST(pad_in_takes_any_gm_address_and_aligned_ub_addresses) {
    std::vector<uint8_t> data = Ramp<uint8_t>(64);
    OnAiv({Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 16);
        DataCopyPad(ub, GmAt<uint16_t>(data, 5), DataCopyExtParams(1, 4, 0, 0, 0),
                    DataCopyPadExtParams<uint16_t>());
        CHECK_EQ(Values(ub, 0, 3), Of<uint16_t>(0x0605, 0x0807, 0x0605));
    });
    AivBreaks("misaligned", {"32"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint8_t>(pipe, 64)[16], Gm(data),
                    DataCopyExtParams(1, 4, 0, 0, 0), DataCopyPadExtParams<uint8_t>());
    });
}

TEST(pad_in_of_nothing_copies_nothing) {
    std::vector<uint8_t> data = Ramp<uint8_t>(64);
    OnAiv({Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 64, 0xAA);
        DataCopyPad(ub, Gm(data), DataCopyExtParams(0, 4, 0, 0, 0),
                    DataCopyPadExtParams<uint8_t>());
        DataCopyPad(ub, Gm(data), DataCopyExtParams(1, 0, 0, 0, 0),
                    DataCopyPadExtParams<uint8_t>());
        CHECK_EQ(Values(ub, 0, 64), Repeat<uint8_t>(64, 0xAA));
    });
}

// Table 5: blockCount lies in [0, 4095].
TEST(pad_block_count_ends_at_4095) {
    std::vector<uint8_t> data(4096);
    AivBreaks("parameter-range", {"4096", "4095"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint8_t>(pipe, 4096 * 32), Gm(data),
                    DataCopyExtParams(4096, 1, 0, 0, 0), DataCopyPadExtParams<uint8_t>());
    });
    AivBreaks("parameter-range", {"4096", "4095"}, {Output("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Gm(data), Allocate<kUb, uint8_t>(pipe, 4096 * 32),
                    DataCopyExtParams(4096, 1, 0, 0, 0));
    });
}

// ---- Memory矢量计算/数据搬运/DataCopyPad（UBToGM非对齐数据搬运） ----

// Figure 2's parameters: blocks of 47 bytes; the second starts 64 + 32 bytes into UB and 47 + 1
// bytes into GM. "搬到Global Memory时再自动将填充的假数据丢弃掉": nothing but the 94 bytes changes.
TEST(pad_out_writes_the_bytes_of_the_blocks_and_no_more) {
    std::vector<uint8_t> to(128, 0xEE);
    OnAiv({Output("to", to)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 160);
        for (uint32_t i = 0; i < 160; ++i) ub.SetValue(i, static_cast<uint8_t>(i));
        PipeBarrier<PIPE_ALL>();
        DataCopyPad(Gm(to)[3], ub, DataCopyExtParams(2, 47, 1, 1, 0));
    });
    CHECK_EQ(Values(to, 0, 3), Repeat<uint8_t>(3, 0xEE));
    CHECK_EQ(Values(to, 3, 47), Ramp<uint8_t>(47));
    CHECK_EQ(to[50], 0xEE);
    CHECK_EQ(Values(to, 51, 47), Ramp<uint8_t>(47, 96));
    CHECK_EQ(Values(to, 98, 30), Repeat<uint8_t>(30, 0xEE));
}

// Figure 1's parameters: whole blocks of 64 bytes.
TEST(pad_out_of_whole_blocks) {
    std::vector<uint8_t> to(130, 0xEE);
    OnAiv({Output("to", to)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 160);
        for (uint32_t i = 0; i < 160; ++i) ub.SetValue(i, static_cast<uint8_t>(i));
        PipeBarrier<PIPE_ALL>();
        DataCopyPad(Gm(to), ub, DataCopyExtParams(2, 64, 1, 1, 0));
    });
    CHECK_EQ(Values(to, 0, 64), Ramp<uint8_t>(64));
    CHECK_EQ(to[64], 0xEE);
    CHECK_EQ(Values(to, 65, 64), Ramp<uint8_t>(64, 96));
    CHECK_EQ(to[129], 0xEE);
}

TEST(pad_out_of_nothing_copies_nothing) {
    std::vector<uint8_t> to(64, 0xEE);
    OnAiv({Output("to", to)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 64);
        DataCopyPad(Gm(to), ub, DataCopyExtParams(0, 4, 0, 0, 0));
        DataCopyPad(Gm(to), ub, DataCopyExtParams(1, 0, 0, 0, 0));
    });
    CHECK_EQ(to, Repeat<uint8_t>(64, 0xEE));
}

TEST(pad_out_refuses_a_misaligned_ub_address_and_a_part_of_an_element) {
    std::vector<uint16_t> to(64);
    AivBreaks("misaligned", {"32"}, {Output("x", to)}, [&] {
        TPipe pipe;
        DataCopyPad(Gm(to), Allocate<kUb, uint16_t>(pipe, 64)[8], DataCopyExtParams(1, 4, 0, 0, 0));
    });
    AivBreaks("parameter-range", {"blockLen", "3"}, {Output("x", to)}, [&] {
        TPipe pipe;
        DataCopyPad(Gm(to), Allocate<kUb, uint16_t>(pipe, 64), DataCopyExtParams(1, 3, 0, 0, 0));
    });
}
