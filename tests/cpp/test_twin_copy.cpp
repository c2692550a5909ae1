// Golden vectors of DataCopy between GM and UB and from GM to L1, with its limits.
#include <cstdint>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::DataCopyParams;
using AscendC::PipeBarrier;

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
