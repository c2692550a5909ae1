// Golden vectors of Fixpipe with NZ output, and of int32 as it is.
// Pages: 矩阵计算（ISASI）/矩阵计算的搬出/Fixpipe（L0C到GM数据搬运）,
//        矩阵计算（ISASI）/矩阵搬出关键特性说明/{NZ2NZ, Int8-Channel-Merge}.
#include <cstdint>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::CFG_NZ;
using AscendC::Fixpipe;
using AscendC::FixpipeParamsV220;

// NZ2NZ, figure 1: 24 rows of 48 columns, column blocks 64 rows of 16 apart in L0C and 40 x 32
// bytes, 640 halves, in GM. Rows stay 16 elements apart; the gaps stay as they were.
TEST(nz_output_as_in_the_figure) {
    std::vector<half> out(3 * 640, half{0xBEEF});
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, float>(pipe, 3 * 64 * 16);
        for (uint32_t i = 0; i < 3 * 64 * 16; ++i) Poke(l0c, i, static_cast<float>(i % 2048));
        Fixpipe<half, float, CFG_NZ>(Gm(out), l0c, Store(48, 24, 64, 40, F322F16));
    });
    size_t wrong = 0;
    for (size_t block = 0; block < 3; ++block) {
        for (size_t i = 0; i < 640; ++i) {
            const uint16_t expected =
                i < 24 * 16 ? Half(static_cast<float>((block * 1024 + i) % 2048)).bits : 0xBEEF;
            wrong += out[block * 640 + i].bits != expected;
        }
    }
    CHECK_EQ(wrong, 0u);
}

// int32 as it is: a row of 16 is 64 bytes, so that 17 rows are 34 units of 32 bytes.
TEST(nz_output_of_int32) {
    std::vector<int32_t> out(40 * 8 + 17 * 16 + 16, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe<int32_t, int32_t, CFG_NZ>(Gm(out)[8], Numbered<kL0c, int32_t>(pipe, 1024),
                                          Store(32, 17, 32, 40));
    });
    CHECK_EQ(Values(out, 0, 8), std::vector<int32_t>(8, -1));
    CHECK_EQ(Values(out, 8, 17 * 16), Ramp<int32_t>(17 * 16));
    CHECK_EQ(Values(out, 8 + 17 * 16, 48), std::vector<int32_t>(48, -1));
    CHECK_EQ(Values(out, 8 + 320, 17 * 16), Ramp<int32_t>(17 * 16, 512));
    CHECK_EQ(Values(out, 8 + 320 + 17 * 16, 8), std::vector<int32_t>(8, -1));
}

// Row-major int32, with odd rows and gaps: nothing is converted.
TEST(row_major_output_of_int32) {
    std::vector<int32_t> out(5 * 35, 7);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 512);
        for (size_t r = 0; r < 5; ++r) {
            for (size_t c = 0; c < 32; ++c)
                Poke(l0c, NzIndex(r, c, 16), INT32_MIN + static_cast<int32_t>(100 * r + c));
        }
        Fixpipe(Gm(out), l0c, Store(32, 5, 16, 35));
    });
    for (size_t r = 0; r < 5; ++r) {
        for (size_t c = 0; c < 32; ++c)
            CHECK_EQ(out[r * 35 + c], INT32_MIN + static_cast<int32_t>(100 * r + c));
        CHECK_EQ(Values(out, r * 35 + 32, 3), Of<int32_t>(7, 7, 7));
    }
}

// Int8-Channel-Merge: two fractals of 16 columns become one of 32. 3 rows of 64 columns, 4 units of
// 32 bytes between the two results.
TEST(nz_output_of_8_bits_merges_fractals) {
    std::vector<int8_t> out(7 * 32 + 32, -99);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 4 * 256);
        for (size_t r = 0; r < 3; ++r) {
            for (size_t c = 0; c < 64; ++c)
                Poke(l0c, NzIndex(r, c, 16), static_cast<int32_t>(r * 20 + c));
        }
        FixpipeParamsV220 params = Store(64, 3, 16, 4, REQ8);
        params.deqScalar = 0x3F800000 | uint64_t{1} << 46;
        Fixpipe<int8_t, int32_t, CFG_NZ>(Gm(out), l0c, params);
    });
    for (size_t r = 0; r < 3; ++r) {
        CHECK_EQ(Values(out, r * 32, 32), Ramp<int8_t>(32, static_cast<int>(r * 20)));
        CHECK_EQ(Values(out, 128 + r * 32, 32), Ramp<int8_t>(32, static_cast<int>(r * 20 + 32)));
    }
    CHECK_EQ(Values(out, 96, 32), std::vector<int8_t>(32, -99));
    CHECK_EQ(Values(out, 224, 32), std::vector<int8_t>(32, -99));
}

TEST(nz_output_limits) {
    std::vector<int32_t> out(2048);
    std::vector<int8_t> bytes(2048);
    AicBreaks("unsupported", {"nSize is 48"}, {Output("out", bytes)}, [&] {
        TPipe pipe;
        FixpipeParamsV220 params = Store(48, 16, 16, 16, REQ8);
        params.deqScalar = 0x3F800000 | uint64_t{1} << 46;
        Fixpipe<int8_t, int32_t, CFG_NZ>(Gm(bytes), Numbered<kL0c, int32_t>(pipe, 768), params);
    });
    // "目标操作数地址之间不能重叠": 16 rows of 64 bytes are 32 units.
    AicBreaks("parameter-range", {"dstStride is 31"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe<int32_t, int32_t, CFG_NZ>(Gm(out), Numbered<kL0c, int32_t>(pipe, 512),
                                          Store(32, 16, 16, 31));
    });
    AicBreaks("parameter-range", {"dstStride is 0"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe<int32_t, int32_t, CFG_NZ>(Gm(out), Numbered<kL0c, int32_t>(pipe, 512),
                                          Store(16, 16, 16, 0));
    });
    // "NZ地址需满足32字节对齐".
    AicBreaks("misaligned", {"byte 16", "32"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe<int32_t, int32_t, CFG_NZ>(Gm(out)[4], Numbered<kL0c, int32_t>(pipe, 512),
                                          Store(16, 16, 16, 32));
    });
    // Two blocks of 1024 bytes, 1024 apart.
    std::vector<int32_t> exact(512);
    std::vector<int32_t> tight(511);
    const auto kernel = [](std::vector<int32_t>& gm) {
        TPipe pipe;
        Fixpipe<int32_t, int32_t, CFG_NZ>(Gm(gm), Numbered<kL0c, int32_t>(pipe, 512),
                                          Store(32, 16, 16, 32));
    };
    OnAic({Output("out", exact)}, [&] { kernel(exact); });
    CHECK_EQ(exact, Ramp<int32_t>(512));
    AicBreaks("out-of-bounds", {"out", "2048", "2044"}, {Output("out", tight)},
              [&] { kernel(tight); });
}

// The GM range of a record: two blocks of 17 rows of 64 bytes, 1280 bytes apart.
TEST(nz_output_in_the_trace) {
    std::vector<int32_t> out(1024);
    twin::Trace trace;
    twin::LaunchConfig config = Config(KernelKind::kAicOnly, {Output("out", out)});
    config.trace = &trace;
    twin::Launch(config, [&] {
        TPipe pipe;
        Fixpipe<int32_t, int32_t, CFG_NZ>(Gm(out)[8], Numbered<kL0c, int32_t>(pipe, 1024),
                                          Store(32, 17, 32, 40));
    });
    const twin::TraceRecord& record = trace.cores[0][0];
    CHECK_EQ(record.op, twin::TraceOp::kFixpipe);
    CHECK_EQ(record.gm_offset, 32u);
    CHECK_EQ(record.block_bytes, 17u * 64);
    CHECK_EQ(record.block_count, 2u);
    CHECK_EQ(record.block_stride, 1280u);
    CHECK_EQ(record.args[0] * 10000 + record.args[1] * 100 + record.args[2] * 10 + record.args[3],
             173244u);
}
