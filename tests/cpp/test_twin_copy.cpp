// Golden vectors of DataCopy and DataCopyPad: GM <-> UB, GM -> L1 and ND -> NZ, with their limits.
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::DataCopyExtParams;
using AscendC::DataCopyPad;
using AscendC::DataCopyPadExtParams;
using AscendC::DataCopyParams;
using AscendC::Nd2NzParams;
using AscendC::PipeBarrier;

namespace {

constexpr auto kUb = TPosition::VECCALC;
constexpr auto kL1 = TPosition::A1;
constexpr uint16_t kFill16 = 0xAAAA;  // a buffer filled with 0xAA as 16-bit elements

template <typename T>
std::vector<T> Repeat(size_t count, T value) {
    return std::vector<T>(count, value);
}

}  // namespace

// ---- Memory矢量计算/数据搬运/DataCopy（GM与UB连续数据搬运） ----

// The page's example: 512 halves, [1 2 3 ... 512], to UB and back.
TEST(gm_and_ub_exchange_consecutive_elements) {
    std::vector<uint16_t> from = Ramp<uint16_t>(512, 1);
    std::vector<uint16_t> to(544, 0xBEEF);
    OnAiv({Input("from", from), Output("to", to)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 544, 0xAA);
        DataCopy(ub, Gm(from), 512);
        CHECK_EQ(Values(ub, 0, 512), from);
        CHECK_EQ(Values(ub, 512, 32), Repeat<uint16_t>(32, kFill16));
        PipeBarrier<PIPE_ALL>();
        DataCopy(Gm(to), ub, 512);
    });
    CHECK_EQ(Values(to, 0, 512), from);
    CHECK_EQ(Values(to, 512, 32), Repeat<uint16_t>(32, 0xBEEF));
}

// "count * sizeof(T)需要32字节对齐": the hardware would round 40 bytes down to 32 and drop the
// rest, which no kernel means.
TEST(a_count_that_is_not_a_multiple_of_32_bytes_is_refused) {
    std::vector<uint16_t> data = Ramp<uint16_t>(64);
    AivBreaks("misaligned", {"40"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint16_t>(pipe, 64), Gm(data), 20);
    });
    AivBreaks("misaligned", {"40"}, {Output("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Gm(data), Allocate<kUb, uint16_t>(pipe, 64), 20);
    });
}

// "位于Unified Buffer的地址必须32字节对齐", in both directions.
TEST(ub_addresses_are_multiples_of_32_bytes) {
    std::vector<uint16_t> data = Ramp<uint16_t>(64);
    AivBreaks("misaligned", {"32"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint16_t>(pipe, 64)[8], Gm(data), 16);
    });
    AivBreaks("misaligned", {"32"}, {Output("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Gm(data), Allocate<kUb, uint16_t>(pipe, 64)[8], 16);
    });
}

// "位于Global Memory的地址必须按照对应数据类型所占字节数对齐": a half lies at an even address, and
// that is enough.
TEST(gm_addresses_of_a_ub_copy_are_multiples_of_the_element) {
    std::vector<uint16_t> data = Ramp<uint16_t>(64);
    OnAiv({Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 16);
        DataCopy(ub, Gm(data)[3], 16);
        CHECK_EQ(Values(ub, 0, 16), Ramp<uint16_t>(16, 3));
    });
    AivBreaks("misaligned", {"x"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint16_t>(pipe, 16), GmAt<uint16_t>(data, 3), 16);
    });
    AivBreaks("misaligned", {"x"}, {Output("x", data)}, [&] {
        TPipe pipe;
        DataCopy(GmAt<uint16_t>(data, 3), Allocate<kUb, uint16_t>(pipe, 16), 16);
    });
}

// ---- Memory矢量计算/数据搬运/DataCopy（GM与UB高维切分数据搬运） ----

// The page's example 2: two blocks of 3 x 32 bytes, gaps from end to start of 1 and 2 blocks.
TEST(gm_to_ub_blocks_have_gaps_from_end_to_start) {
    std::vector<uint16_t> from = Ramp<uint16_t>(112);
    OnAiv({Input("from", from)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 144, 0xAA);
        DataCopy(ub, Gm(from), DataCopyParams(2, 3, 1, 2));
        CHECK_EQ(Values(ub, 0, 48), Ramp<uint16_t>(48));
        CHECK_EQ(Values(ub, 48, 32), Repeat<uint16_t>(32, kFill16));
        CHECK_EQ(Values(ub, 80, 48), Ramp<uint16_t>(48, 64));
        CHECK_EQ(Values(ub, 128, 16), Repeat<uint16_t>(16, kFill16));
    });
}

// The other way round; what lies in the gaps of GM stays.
TEST(ub_to_gm_blocks_leave_the_gaps_alone) {
    std::vector<uint16_t> to(64, 0xBEEF);
    OnAiv({Output("to", to)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 64);
        for (uint32_t i = 0; i < 64; ++i) ub.SetValue(i, static_cast<uint16_t>(i));
        PipeBarrier<PIPE_ALL>();
        DataCopy(Gm(to), ub, DataCopyParams(2, 1, 2, 1));
    });
    CHECK_EQ(Values(to, 0, 16), Ramp<uint16_t>(16));
    CHECK_EQ(Values(to, 16, 16), Repeat<uint16_t>(16, 0xBEEF));
    CHECK_EQ(Values(to, 32, 16), Ramp<uint16_t>(16, 48));
    CHECK_EQ(Values(to, 48, 16), Repeat<uint16_t>(16, 0xBEEF));
}

// Defaults of DataCopyParams (table 3): blockCount is 1, the rest 0.
TEST(data_copy_params_default_to_one_empty_block) {
    const DataCopyParams params;
    CHECK_EQ(params.blockCount, 1);
    CHECK_EQ(params.blockLen, 0);
    CHECK_EQ(params.srcStride, 0);
    CHECK_EQ(params.dstStride, 0);
    CHECK_EQ(sizeof(params.blockLen), 2u);
    CHECK_EQ(sizeof(params.srcStride), 2u);
    CHECK_EQ(sizeof(params.dstStride), 2u);
}

// "blockCount、blockLen任意一个值为0时，该接口将被视为NOP".
TEST(no_blocks_or_empty_blocks_copy_nothing) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64);
    std::vector<uint16_t> to(64, 0xBEEF);
    OnAiv({Input("from", from), Output("to", to)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 64, 0xAA);
        DataCopy(ub, Gm(from), DataCopyParams(0, 1, 0, 0));
        DataCopy(ub, Gm(from), DataCopyParams(1, 0, 0, 0));
        DataCopy(Gm(to), ub, DataCopyParams(0, 1, 0, 0));
        DataCopy(Gm(to), ub, DataCopyParams(1, 0, 0, 0));
        CHECK_EQ(Values(ub, 0, 64), Repeat<uint16_t>(64, kFill16));
    });
    CHECK_EQ(to, Repeat<uint16_t>(64, 0xBEEF));
}

// Table 4: blockCount lies in [0, 4095].
TEST(block_count_ends_at_4095) {
    std::vector<uint16_t> data = Ramp<uint16_t>(4096 * 16);
    OnAiv({Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint16_t>(pipe, 4096 * 16, 0xAA);
        DataCopy(ub, Gm(data), DataCopyParams(4095, 1, 0, 0));
        CHECK_EQ(Peek(ub, 4095 * 16 - 1), 65519);
        CHECK_EQ(Peek(ub, 4095 * 16), kFill16);
    });
    AivBreaks("parameter-range", {"4096", "4095"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint16_t>(pipe, 4096 * 16), Gm(data), DataCopyParams(4096, 1, 0, 0));
    });
    AivBreaks("parameter-range", {"4096", "4095"}, {Output("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Gm(data), Allocate<kUb, uint16_t>(pipe, 4096 * 16), DataCopyParams(4096, 1, 0, 0));
    });
}

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

// ---- 矩阵计算（ISASI）/矩阵计算的搬入/DataCopy（GMToL1连续数据搬运）,
// DataCopy（GMToL1高维切分数据搬运） ----

// 128 halves; the GM address may be odd ("源地址需要1字节对齐").
TEST(gm_to_l1_copies_consecutive_elements_from_any_address) {
    std::vector<uint16_t> from = Ramp<uint16_t>(136);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 160, 0xAA);
        DataCopy(l1[16], Gm(from), 128);
        CHECK_EQ(Values(l1, 0, 16), Repeat<uint16_t>(16, kFill16));
        CHECK_EQ(Values(l1, 16, 128), Ramp<uint16_t>(128));
        CHECK_EQ(Values(l1, 144, 16), Repeat<uint16_t>(16, kFill16));
        PipeBarrier<PIPE_ALL>();
        DataCopy(l1, GmAt<uint16_t>(from, 3), 16);  // bytes 3...: 00 02 00 03 00 ...
        CHECK_EQ(Values(l1, 0, 3), Of<uint16_t>(0x0200, 0x0300, 0x0400));
    });
}

TEST(gm_to_l1_blocks_have_gaps_from_end_to_start) {
    std::vector<uint16_t> from = Ramp<uint16_t>(112);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::B1, uint16_t>(pipe, 144, 0xAA);
        DataCopy(l1, Gm(from), DataCopyParams(2, 3, 1, 2));
        CHECK_EQ(Values(l1, 0, 48), Ramp<uint16_t>(48));
        CHECK_EQ(Values(l1, 48, 32), Repeat<uint16_t>(32, kFill16));
        CHECK_EQ(Values(l1, 80, 48), Ramp<uint16_t>(48, 64));
        CHECK_EQ(Values(l1, 128, 16), Repeat<uint16_t>(16, kFill16));
    });
}

TEST(gm_to_l1_of_nothing_copies_nothing) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 64, 0xAA);
        DataCopy(l1, Gm(from), DataCopyParams(0, 1, 0, 0));
        DataCopy(l1, Gm(from), DataCopyParams(1, 0, 0, 0));
        CHECK_EQ(Values(l1, 0, 64), Repeat<uint16_t>(64, kFill16));
    });
}

TEST(gm_to_l1_refuses_misaligned_l1_addresses_and_4096_blocks) {
    std::vector<uint16_t> from = Ramp<uint16_t>(4096 * 16);
    AicBreaks("misaligned", {"32"}, {Input("x", from)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 64)[8], Gm(from), 16);
    });
    AicBreaks("misaligned", {"40"}, {Input("x", from)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 64), Gm(from), 20);
    });
    AicBreaks("parameter-range", {"4096", "4095"}, {Input("x", from)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 4096 * 16), Gm(from), DataCopyParams(4096, 1, 0, 0));
    });
}

// ---- 矩阵计算（ISASI）/矩阵计算的搬入/DataCopy（GMToL1随路转换-ND2NZ搬运） ----

namespace {

Nd2NzParams Nd2Nz(uint16_t matrices, uint16_t rows, uint16_t columns, uint16_t source_matrix_stride,
                  uint16_t source_row, uint16_t column_block_stride, uint16_t row_stride,
                  uint16_t matrix_stride) {
    Nd2NzParams params;
    params.ndNum = matrices;
    params.nValue = rows;
    params.dValue = columns;
    params.srcNdMatrixStride = source_matrix_stride;
    params.srcDValue = source_row;
    params.dstNzC0Stride = column_block_stride;
    params.dstNzNStride = row_stride;
    params.dstNzMatrixStride = matrix_stride;
    return params;
}

}  // namespace

// Figure 2: 16 x 23 halves of a 32 column matrix. Two column blocks of 16 x 16; columns 23 to 31
// are zero.
TEST(nd2nz_puts_column_blocks_one_after_the_other_and_zeroes_the_tail) {
    std::vector<uint16_t> from = Ramp<uint16_t>(16 * 32, 1);  // row r, column c: 32 r + c + 1
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 528, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(1, 16, 23, 0, 32, 16, 1, 0));
        CHECK_EQ(Values(l1, 0, 16), Ramp<uint16_t>(16, 1));          // row 0, columns 0-15
        CHECK_EQ(Values(l1, 16, 16), Ramp<uint16_t>(16, 33));        // row 1, columns 0-15
        CHECK_EQ(Values(l1, 15 * 16, 16), Ramp<uint16_t>(16, 481));  // row 15, columns 0-15
        CHECK_EQ(Values(l1, 256, 16),
                 Of<uint16_t>(17, 18, 19, 20, 21, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(Values(l1, 256 + 15 * 16, 16),
                 Of<uint16_t>(497, 498, 499, 500, 501, 502, 503, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(Values(l1, 512, 16), Repeat<uint16_t>(16, kFill16));
    });
}

// Figure 3: two matrices of 8 x 23, 384 elements apart; in L1 rows lie 2 units apart, column blocks
// 37 units, matrices 320 elements (20 units). A unit is 32 bytes.
TEST(nd2nz_strides_of_rows_column_blocks_and_matrices) {
    std::vector<uint16_t> from = Ramp<uint16_t>(384 + 8 * 32, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 73 * 16, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(2, 8, 23, 384, 32, 37, 2, 320));
        const auto unit = [&](uint32_t index) { return Values(l1, index * 16, 16); };
        const auto untouched = Repeat<uint16_t>(16, kFill16);
        CHECK_EQ(unit(0), Ramp<uint16_t>(16, 1));           // matrix 0, row 0
        CHECK_EQ(unit(2), Ramp<uint16_t>(16, 33));          // matrix 0, row 1
        CHECK_EQ(unit(14), Ramp<uint16_t>(16, 225));        // matrix 0, row 7
        CHECK_EQ(unit(20), Ramp<uint16_t>(16, 385));        // matrix 1, row 0
        CHECK_EQ(unit(34), Ramp<uint16_t>(16, 385 + 224));  // matrix 1, row 7
        CHECK_EQ(unit(37), Of<uint16_t>(17, 18, 19, 20, 21, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(unit(51),
                 Of<uint16_t>(241, 242, 243, 244, 245, 246, 247, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(unit(57),
                 Of<uint16_t>(401, 402, 403, 404, 405, 406, 407, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_EQ(unit(71),
                 Of<uint16_t>(625, 626, 627, 628, 629, 630, 631, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        for (uint32_t index :
             {1u, 13u, 15u, 16u, 19u, 21u, 35u, 36u, 38u, 52u, 56u, 58u, 70u, 72u}) {
            CHECK_EQ(unit(index), untouched);
        }
    });
}

// Only columns are filled up. Rows up to the next multiple of 16 stay as they were.
TEST(nd2nz_leaves_the_rows_beyond_the_last_alone) {
    std::vector<uint16_t> from = Ramp<uint16_t>(3 * 16, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 256, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(1, 3, 16, 0, 16, 16, 1, 0));
        CHECK_EQ(Values(l1, 0, 48), Ramp<uint16_t>(48, 1));
        CHECK_EQ(Values(l1, 48, 208), Repeat<uint16_t>(208, kFill16));
    });
}

// A unit of 32 bytes holds 32 int8 and 8 floats.
TEST(nd2nz_column_blocks_are_32_bytes_of_any_element) {
    std::vector<int8_t> bytes = Ramp<int8_t>(2 * 40);
    OnAic({Input("x", bytes)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, int8_t>(pipe, 128, 0xAA);
        DataCopy(l1, Gm(bytes), Nd2Nz(1, 2, 40, 0, 40, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 32), Ramp<int8_t>(32));
        CHECK_EQ(Values(l1, 32, 32), Ramp<int8_t>(32, 40));
        CHECK_EQ(Values(l1, 64, 8), Ramp<int8_t>(8, 32));
        CHECK_EQ(Values(l1, 72, 24), Repeat<int8_t>(24, 0));
        CHECK_EQ(Values(l1, 96, 8), Ramp<int8_t>(8, 72));
        CHECK_EQ(Values(l1, 104, 24), Repeat<int8_t>(24, 0));
    });
    std::vector<float> floats = Ramp<float>(2 * 10, 1);
    OnAic({Input("x", floats)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, float>(pipe, 32, 0xAA);
        DataCopy(l1, Gm(floats), Nd2Nz(1, 2, 10, 0, 10, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 16),
                 Of<float>(1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18));
        CHECK_EQ(Values(l1, 16, 16), Of<float>(9, 10, 0, 0, 0, 0, 0, 0, 19, 20, 0, 0, 0, 0, 0, 0));
    });
}

// int32 and int8 with odd sizes: 5 rows of 13 int32 are two column blocks of 8, the second with 3
// zeros; 3 rows of 65 int8 of 67 are three of 32, the last with 31 zeros.
TEST(nd2nz_of_odd_int32_and_int8) {
    std::vector<int32_t> words = Ramp<int32_t>(5 * 13, -7);
    OnAic({Input("x", words)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, int32_t>(pipe, 2 * 16 * 8, 0xAA);
        DataCopy(l1, Gm(words), Nd2Nz(1, 5, 13, 0, 13, 16, 1, 0));
        for (int row = 0; row < 5; ++row) {
            const auto at = static_cast<size_t>(row) * 8;
            const int first = 13 * row - 7;
            CHECK_EQ(Values(l1, at, 8), Ramp<int32_t>(8, first));
            CHECK_EQ(Values(l1, 128 + at, 8), Of<int32_t>(first + 8, first + 9, first + 10,
                                                          first + 11, first + 12, 0, 0, 0));
        }
        CHECK_EQ(Peek(l1, 40), static_cast<int32_t>(0xAAAAAAAA));
        CHECK_EQ(Peek(l1, 168), static_cast<int32_t>(0xAAAAAAAA));
    });
    std::vector<int8_t> bytes(3 * 67);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<int8_t>(i - 100);
    OnAic({Input("x", bytes)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, int8_t>(pipe, 3 * 16 * 32, 0xAA);
        DataCopy(l1, Gm(bytes), Nd2Nz(1, 3, 65, 0, 67, 16, 1, 0));
        for (size_t row = 0; row < 3; ++row) {
            CHECK_EQ(Values(l1, row * 32, 32), Values(bytes, row * 67, 32));
            CHECK_EQ(Values(l1, 512 + row * 32, 32), Values(bytes, row * 67 + 32, 32));
            CHECK_EQ(Peek(l1, 1024 + row * 32), bytes[row * 67 + 64]);
            CHECK_EQ(Values(l1, 1024 + row * 32 + 1, 31), Repeat<int8_t>(31, 0));
        }
        CHECK_EQ(Peek(l1, 96), static_cast<int8_t>(0xAA));
        CHECK_EQ(Peek(l1, 1024 + 96), static_cast<int8_t>(0xAA));
    });
}

// "ndNum ≠ 1时，当srcNdMatrixStride = 0时，表示重复搬出源矩阵的第一个ND矩阵".
TEST(nd2nz_without_a_matrix_stride_repeats_the_first_matrix) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 112, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(2, 2, 16, 0, 16, 2, 1, 48));
        CHECK_EQ(Values(l1, 0, 32), Ramp<uint16_t>(32, 1));
        CHECK_EQ(Values(l1, 32, 16), Repeat<uint16_t>(16, kFill16));
        CHECK_EQ(Values(l1, 48, 32), Ramp<uint16_t>(32, 1));
        CHECK_EQ(Values(l1, 80, 32), Repeat<uint16_t>(32, kFill16));
    });
}

// "ndNum、nValue、dValue任意一个值为0时，该指令不会执行".
TEST(nd2nz_of_nothing_copies_nothing) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 64, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(0, 2, 16, 0, 16, 2, 1, 0));
        DataCopy(l1, Gm(from), Nd2Nz(1, 0, 16, 0, 16, 2, 1, 0));
        DataCopy(l1, Gm(from), Nd2Nz(1, 2, 0, 0, 16, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 64), Repeat<uint16_t>(64, kFill16));
    });
}

// Any GM address, L1 addresses of multiples of 32.
TEST(nd2nz_alignment) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64);
    OnAic({Input("x", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 32);
        DataCopy(l1, GmAt<uint16_t>(from, 3), Nd2Nz(1, 2, 16, 0, 16, 2, 1, 0));
        CHECK_EQ(Peek(l1, 0), 0x0200);
        CHECK_EQ(Peek(l1, 16), 0x1200);
    });
    AicBreaks("misaligned", {"32"}, {Input("x", from)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 64)[8], Gm(from), Nd2Nz(1, 2, 16, 0, 16, 2, 1, 0));
    });
}

// srcDValue is 16 bits wide: rows 65535 elements apart work, 65536 would arrive as 0.
TEST(nd2nz_row_stride_ends_at_65535) {
    CHECK_EQ(sizeof(Nd2NzParams::srcDValue), 2u);
    std::vector<uint16_t> from = Ramp<uint16_t>(65536 + 16);
    OnAic({Input("x", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 32);
        DataCopy(l1, Gm(from), Nd2Nz(1, 2, 16, 0, 65535, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 16), Ramp<uint16_t>(16));
        CHECK_EQ(Values(l1, 16, 16), Ramp<uint16_t>(16, 65535));
    });
    AicBreaks("field-overflow", {"Nd2NzParams.srcDValue is 65536"}, {Input("x", from)}, [&] {
        TPipe pipe;
        Nd2NzParams params = Nd2Nz(1, 2, 16, 0, 65535, 2, 1, 0);
        params.srcDValue = 65536;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 32), Gm(from), params);
    });
}

// Table 4: ndNum <= 4095, nValue <= 16384, dstNzC0Stride and dstNzNStride in [1, 16384],
// dstNzMatrixStride <= 16384. Every other value of these calls is in range and in bounds.
TEST(nd2nz_parameter_ranges) {
    std::vector<uint16_t> from(16385 * 16);
    const auto refused = [&](const char* name, const Nd2NzParams& params) {
        AicBreaks("parameter-range", {name}, {Input("x", from)}, [&] {
            TPipe pipe;
            DataCopy(Allocate<kL1, uint16_t>(pipe, 16376 * 16), Gm(from), params);
        });
    };
    refused("ndNum", Nd2Nz(4096, 1, 16, 16, 16, 1, 1, 16));
    refused("nValue", Nd2Nz(1, 16385, 1, 0, 1, 1, 1, 0));
    refused("dstNzC0Stride", Nd2Nz(1, 1, 16, 0, 16, 0, 1, 0));
    refused("dstNzC0Stride", Nd2Nz(1, 1, 16, 0, 16, 16385, 1, 0));
    refused("dstNzNStride", Nd2Nz(1, 1, 16, 0, 16, 1, 0, 0));
    refused("dstNzNStride", Nd2Nz(1, 1, 16, 0, 16, 1, 16385, 0));
    refused("dstNzMatrixStride", Nd2Nz(2, 1, 16, 0, 16, 1, 1, 16385));
}

// The ends of the ranges: 16376 of at most 16384 rows fill what a kernel may take of L1; 65535
// columns of one row are 4096 units.
TEST(nd2nz_at_the_ends_of_its_ranges) {
    std::vector<uint16_t> from = Ramp<uint16_t>(65535, 1);
    OnAic({Input("x", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 16376 * 16, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(1, 16376, 1, 0, 1, 16384, 1, 0));
        CHECK_EQ(Values(l1, 16375 * 16, 3), Of<uint16_t>(16376, 0, 0));
        CHECK_EQ(Peek(l1, 16376 * 16 - 1), 0);
        PipeBarrier<PIPE_ALL>();
        DataCopy(l1, Gm(from), Nd2Nz(1, 1, 65535, 0, 65535, 1, 1, 0));
        CHECK_EQ(Peek(l1, 0), 1);
        CHECK_EQ(Values(l1, 65534, 3), Of<uint16_t>(65535, 0, 4097));
    });
}

// "搬运至L1 Buffer的数据不能重叠".
TEST(nd2nz_column_blocks_do_not_overlap) {
    std::vector<uint16_t> from = Ramp<uint16_t>(4 * 64, 1);
    const auto load = [&](uint16_t rows, uint16_t columns, uint16_t c0_stride, uint16_t n_stride) {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 4096);
        DataCopy(l1, Gm(from), Nd2Nz(1, rows, columns, 0, 64, c0_stride, n_stride, 0));
    };
    const std::vector<twin::GmTensor> tensors = {Input("from", from)};
    const std::vector<std::array<uint16_t, 3>> meeting = {
        {4, 3, 1}, {3, 2, 1}, {4, 1, 1}, {4, 6, 3}, {4, 4, 2}};
    for (const auto& [rows, c0, n] : meeting) {
        const std::string strides =
            "dstNzC0Stride is " + std::to_string(c0) + " and dstNzNStride " + std::to_string(n);
        AicBreaks("overlap", {strides.c_str()}, tensors,
                  [&, rows = rows, c0 = c0, n = n] { load(rows, 64, c0, n); });
    }
    // Side by side, between each other, and a single block or row.
    OnAic(tensors, [&] { load(4, 64, 4, 1); });
    OnAic(tensors, [&] { load(4, 64, 1, 4); });
    OnAic(tensors, [&] { load(3, 64, 3, 2); });
    OnAic(tensors, [&] { load(4, 16, 1, 1); });
    OnAic(tensors, [&] { load(1, 64, 1, 1); });
}

// "当dstNzMatrixStride = 0时，表示目的矩阵中搬入的每个NZ矩阵都会覆盖第一个NZ矩阵".
TEST(nd2nz_with_matrix_stride_zero_keeps_the_last_matrix) {
    std::vector<uint16_t> from = Ramp<uint16_t>(64, 1);
    OnAic({Input("from", from)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, 64, 0xAA);
        DataCopy(l1, Gm(from), Nd2Nz(2, 2, 16, 32, 16, 2, 1, 0));
        CHECK_EQ(Values(l1, 0, 32), Ramp<uint16_t>(32, 33));
        CHECK_EQ(Values(l1, 32, 32), Repeat<uint16_t>(32, kFill16));
    });
}

// DataCopy（GM与UB高维切分数据搬运）, DataCopy（GMToL1高维切分数据搬运）: lengths and gaps count 32
// bytes of any element.
TEST(blocks_are_32_bytes_of_any_element) {
    const auto check = [](auto element) {
        using T = decltype(element);
        constexpr size_t kBlock = 32 / sizeof(T);
        std::vector<T> from(9 * kBlock);
        for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(3 * i + 1);
        std::vector<T> to(8 * kBlock, T{77});
        // 3 blocks of 2 with a gap of 1 in GM: blocks 0-1, 3-4 and 6-7 of 9.
        const auto expected = [&](size_t block) {
            return Values(from, 3 * block * kBlock, 2 * kBlock);
        };
        OnAiv({Input("from", from), Output("to", to)}, [&] {
            TPipe pipe;
            const auto ub = Allocate<kUb, T>(pipe, 12 * kBlock, 0xAA);
            DataCopy(ub, Gm(from), DataCopyParams(3, 2, 1, 2));
            for (size_t block = 0; block < 3; ++block)
                CHECK_EQ(Values(ub, 4 * block * kBlock, 2 * kBlock), expected(block));
            CHECK_EQ(Values(ub.template ReinterpretCast<uint8_t>(), 64, 64),
                     Repeat<uint8_t>(64, 0xAA));
            PipeBarrier<PIPE_ALL>();
            DataCopy(Gm(to), ub, DataCopyParams(2, 2, 2, 1));
        });
        CHECK_EQ(Values(to, 0, 2 * kBlock), expected(0));
        CHECK_EQ(Values(to, 2 * kBlock, kBlock), std::vector<T>(kBlock, T{77}));
        CHECK_EQ(Values(to, 3 * kBlock, 2 * kBlock), expected(1));
        CHECK_EQ(Values(to, 5 * kBlock, 3 * kBlock), std::vector<T>(3 * kBlock, T{77}));
        OnAic({Input("from", from)}, [&] {
            TPipe pipe;
            const auto l1 = Allocate<kL1, T>(pipe, 12 * kBlock, 0xAA);
            DataCopy(l1, Gm(from), DataCopyParams(3, 2, 1, 2));
            for (size_t block = 0; block < 3; ++block)
                CHECK_EQ(Values(l1, 4 * block * kBlock, 2 * kBlock), expected(block));
        });
    };
    check(int8_t{});
    check(int32_t{});
    check(float{});
}

// ---- buffers that a core does not have, paths that do not exist ----

// 通用说明和约束, table 1: VECIN, VECCALC and VECOUT are UB, A1 and B1 are L1. UB belongs to the
// AIV, L1 and the L0 buffers to the AIC.
TEST(copies_into_buffers_of_the_other_core_type_are_refused) {
    std::vector<uint16_t> data = Ramp<uint16_t>(64);
    AivBreaks("wrong-core", {"AIV 0"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 64), Gm(data), 16);
    });
    AicBreaks("wrong-core", {"AIC 0"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint16_t>(pipe, 64), Gm(data), 16);
    });
}

// 数据结构/LocalTensor/{GetValue, SetValue}:
// "该接口仅在LocalTensor的TPosition为VECIN/VECCALC/VECOUT时支持".
TEST(scalar_access_exists_for_ub_only) {
    OnAiv({}, [&] {
        TPipe pipe;
        const auto ub = Allocate<TPosition::VECIN, int32_t>(pipe, 8);
        ub.SetValue(2, 200);
        CHECK_EQ(ub.GetValue(2), 200);
        CHECK_EQ(ub[2].GetValue(0), 200);
    });
    AicBreaks("wrong-buffer", {"L1"}, {}, [&] {
        TPipe pipe;
        Allocate<kL1, int32_t>(pipe, 8).SetValue(2, 200);
    });
    AicBreaks("wrong-buffer", {"L0C"}, {}, [&] {
        TPipe pipe;
        static_cast<void>(Allocate<TPosition::CO1, float>(pipe, 256).GetValue(0));
    });
}

// 数据结构/LocalTensor/ReinterpretCast, the page's example: int32 0..15 as int16.
TEST(reinterpret_cast_sees_the_same_bytes) {
    OnAiv({}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, int32_t>(pipe, 16);
        for (int32_t i = 0; i < 16; ++i) ub.SetValue(static_cast<uint32_t>(i), i);
        const auto view = ub.ReinterpretCast<int16_t>();
        CHECK_EQ(view.GetSize(), 32u);
        CHECK_EQ(view.GetValue(30), 15);
        CHECK_EQ(view.GetValue(31), 0);
    });
}

// ---- out of bounds: GM ----

// A report names the tensor, what was touched and how large the tensor is.
TEST(gm_reads_end_with_the_tensor) {
    std::vector<uint8_t> data(100);
    AivBreaks("out-of-bounds", {"weights", "128", "100", "golden", "AIV 0"},
              {Input("weights", data)}, [&] {
                  TPipe pipe;
                  DataCopy(Allocate<kUb, uint8_t>(pipe, 128), Gm(data), 128);
              });
    AivBreaks("out-of-bounds", {"weights", "101", "100"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint8_t>(pipe, 128), Gm(data)[96],
                    DataCopyExtParams(1, 5, 0, 0, 0), DataCopyPadExtParams<uint8_t>());
    });
    AicBreaks("out-of-bounds", {"weights", "128", "100"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint8_t>(pipe, 128), Gm(data), 128);
    });
}

// The last of three blocks ends one byte beyond the tensor: 3 x 4 bytes and two gaps of 44.
TEST(gm_gaps_count_for_the_end) {
    std::vector<uint8_t> data(99);
    AivBreaks("out-of-bounds", {"x", "100", "99"}, {Input("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Allocate<kUb, uint8_t>(pipe, 128), Gm(data), DataCopyExtParams(3, 4, 44, 0, 0),
                    DataCopyPadExtParams<uint8_t>());
    });
    AivBreaks("out-of-bounds", {"x", "100", "99"}, {Output("x", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Gm(data), Allocate<kUb, uint8_t>(pipe, 128), DataCopyExtParams(3, 4, 0, 44, 0));
    });
}

// ND2NZ reads nValue rows: row 1 of 8 halves at element 24 ends at byte 64.
TEST(gm_rows_of_nd2nz_end_with_the_tensor) {
    std::vector<uint16_t> exact(32);
    std::vector<uint16_t> tight(31);
    const auto kernel = [](std::vector<uint16_t>& data) {
        TPipe pipe;
        DataCopy(Allocate<kL1, uint16_t>(pipe, 32), Gm(data), Nd2Nz(1, 2, 8, 0, 24, 2, 1, 0));
    };
    OnAic({Input("x", exact)}, [&] { kernel(exact); });
    AicBreaks("out-of-bounds", {"x", "64", "62"}, {Input("x", tight)}, [&] { kernel(tight); });
}

// Two tensors side by side in one allocation: the end of the first is not the start of the second.
TEST(gm_tensors_side_by_side_are_apart) {
    std::vector<uint8_t> memory(128);
    const GmTensor first = {"first", memory.data(), 64, false};
    const GmTensor second = {"second", memory.data() + 64, 64, false};
    AivBreaks("out-of-bounds", {"first", "96", "64"}, {first, second}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint8_t>(pipe, 64), Gm(memory)[32], 64);
    });
}

TEST(gm_outside_all_tensors_is_refused) {
    std::vector<uint8_t> data(128);
    const GmTensor middle = {"middle", data.data() + 64, 32, true};
    AivBreaks("out-of-bounds", {}, {middle}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint8_t>(pipe, 32), Gm(data), 32);
    });
    AivBreaks("out-of-bounds", {}, {middle}, [&] {
        TPipe pipe;
        DataCopy(Gm(data)[96], Allocate<kUb, uint8_t>(pipe, 32), 32);
    });
    // An index below zero wraps to a huge offset and comes back below the tensor.
    AivBreaks("out-of-bounds", {}, {middle}, [&] {
        TPipe pipe;
        DataCopy(Allocate<kUb, uint8_t>(pipe, 32), Gm(data)[64][static_cast<uint64_t>(-32)], 32);
    });
}

// One storage can be an input and an output of a launch: a write belongs to the output, in either
// order.
TEST(gm_writes_go_to_the_writable_one_of_tensors_that_share_bytes) {
    std::vector<uint8_t> data(64, 7);
    for (const bool output_first : {true, false}) {
        std::vector<twin::GmTensor> tensors = {Output("cache", data), Input("region", data)};
        if (!output_first) std::swap(tensors[0], tensors[1]);
        OnAiv(tensors, [&] {
            TPipe pipe;
            const auto ub = Allocate<kUb, uint8_t>(pipe, 64);
            DataCopy(ub, Gm(data), 64);
            DataCopy(Gm(data), ub, 64);
            CHECK(true);
        });
    }
}

TEST(gm_writes_need_a_writable_tensor) {
    std::vector<uint8_t> data(64, 7);
    AivBreaks("write-to-input", {"weights"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopy(Gm(data), Allocate<kUb, uint8_t>(pipe, 64), 64);
    });
    AivBreaks("write-to-input", {"weights"}, {Input("weights", data)}, [&] {
        TPipe pipe;
        DataCopyPad(Gm(data), Allocate<kUb, uint8_t>(pipe, 64), DataCopyExtParams(1, 1, 0, 0, 0));
    });
    CHECK_EQ(data, Repeat<uint8_t>(64, 7));
}

// 数据结构/GlobalTensor/SetGlobalBuffer: bufferSize is the number of elements the tensor holds.
TEST(gm_tensor_with_a_size_ends_there) {
    std::vector<uint16_t> data(64);
    AivBreaks("out-of-bounds", {"SetGlobalBuffer", "32", "'x'"}, {Input("x", data)}, [&] {
        TPipe pipe;
        GlobalTensor<uint16_t> gm;
        gm.SetGlobalBuffer(data.data(), 16);
        const auto ub = Allocate<kUb, uint16_t>(pipe, 32);
        DataCopy(ub, gm, 16);
        DataCopy(ub, gm, 32);
    });
}

// ---- out of bounds: local buffers ----

// The end of a TBuf counts, though UB goes on and the next TBuf lies there.
TEST(local_writes_end_with_the_allocation) {
    std::vector<uint8_t> data(128);
    AivBreaks("out-of-bounds", {"UB", "96", "64"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, uint8_t>(pipe, 64);
        const auto second = Allocate<kUb, uint8_t>(pipe, 64);
        DataCopy(second, Gm(data), 64);
        DataCopy(first, Gm(data), 96);
    });
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, uint8_t>(pipe, 64);
        static_cast<void>(Allocate<kUb, uint8_t>(pipe, 64));
        DataCopy(first[64], Gm(data), 32);
    });
    AicBreaks("out-of-bounds", {"L1"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kL1, uint8_t>(pipe, 64);
        static_cast<void>(Allocate<kL1, uint8_t>(pipe, 64));
        DataCopy(first, Gm(data), 96);
    });
}

TEST(local_reads_end_with_the_allocation) {
    std::vector<uint8_t> data(128);
    AivBreaks("out-of-bounds", {"UB", "96", "64"}, {Output("x", data)}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, uint8_t>(pipe, 64);
        static_cast<void>(Allocate<kUb, uint8_t>(pipe, 64));
        DataCopy(Gm(data), first, 96);
    });
}

// DataCopyPad fills 5 bytes up to 32: the fill needs room as well. From UB it reads whole units,
// too.
TEST(local_room_of_a_padded_block_is_32_bytes) {
    std::vector<uint8_t> data(128);
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 64);
        DataCopyPad(ub[32], Gm(data), DataCopyExtParams(2, 5, 0, 0, 0),
                    DataCopyPadExtParams<uint8_t>());
    });
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, uint8_t>(pipe, 32);
        DataCopyPad(ub, Gm(data), DataCopyExtParams(1, 32, 0, 0, 0),
                    DataCopyPadExtParams<uint8_t>(true, 0, 1, 0));
    });
}

// ND2NZ: the second column block starts 16 units in; rows 0 and 1 of it need 18 units.
TEST(local_room_of_nd2nz_counts_strides) {
    std::vector<uint16_t> data(64);
    const auto kernel = [&](uint32_t units) {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint16_t>(pipe, units * 16);
        static_cast<void>(Allocate<kL1, uint16_t>(pipe, 16));
        DataCopy(l1, Gm(data), Nd2Nz(1, 2, 17, 0, 32, 16, 1, 0));
    };
    OnAic({Input("x", data)}, [&] {
        kernel(18);
        CHECK(true);
    });
    AicBreaks("out-of-bounds", {"L1"}, {Input("x", data)}, [&] { kernel(17); });
}

TEST(scalar_access_ends_with_the_allocation) {
    AivBreaks("out-of-bounds", {"UB"}, {}, [&] {
        TPipe pipe;
        const auto first = Allocate<kUb, int32_t>(pipe, 8);
        static_cast<void>(Allocate<kUb, int32_t>(pipe, 8));
        first.SetValue(8, 1);
    });
    AivBreaks("out-of-bounds", {"UB"}, {}, [&] {
        TPipe pipe;
        static_cast<void>(Allocate<kUb, int32_t>(pipe, 8));
        const auto second = Allocate<kUb, int32_t>(pipe, 8);
        static_cast<void>(second[static_cast<uint32_t>(-1)].GetValue(0));
    });
}

// An error carries the short name of the rule, kernel, core, file and line of the kernel source.
TEST(errors_carry_code_kernel_core_file_and_line) {
    std::vector<uint8_t> data(64);
    int line = 0;
    try {
        OnGroup({Input("x", data)}, [&] {
            TPipe pipe;
            if ASCEND_IS_AIV {
                const auto ub = Allocate<kUb, uint8_t>(pipe, 128);
                if (AscendC::GetSubBlockIdx() == 1) {
                    line = __LINE__ + 1;
                    DataCopy(ub, Gm(data), 128);
                }
            }
        });
        CHECK(false);
    } catch (const twin::Error& error) {
        CHECK_EQ(error.code, std::string("out-of-bounds"));
        CHECK_EQ(error.kernel, std::string("golden"));
        CHECK_EQ(error.core, std::string("AIV 1"));
        CHECK_EQ(error.file, std::string(__FILE__));
        CHECK_EQ(error.line, line);
        const std::string what = error.what();
        CHECK(what.find("golden") != std::string::npos);
        CHECK(what.find("AIV 1") != std::string::npos);
        CHECK(what.find("test_twin_copy.cpp:" + std::to_string(line)) != std::string::npos);
    }
    CHECK(TwinWorks());
}

// 数据结构/LocalTensor/operator[]: "offset不能超过原有LocalTensor的size大小". 0x40000000 floats are
// 2^32 bytes: an address computed in 32 bits would be the tensor's own.
TEST(an_offset_of_4_gib_is_not_an_offset_of_zero) {
    std::vector<float> data(8);
    AivBreaks("out-of-bounds", {"UB"}, {Input("x", data)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 8);
        const auto beyond = ub[0x40000000];
        const bool seems_inside = beyond.local().offset == ub.local().offset;
        CHECK(!seems_inside);
        if (!seems_inside) DataCopy(beyond, Gm(data), 8);
    });
}
