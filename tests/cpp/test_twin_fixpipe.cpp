// Golden vectors of Fixpipe with row-major output: strides, number formats, limits.
#include <cstdint>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::Fixpipe;
using AscendC::FixpipeParamsV220;

// ---- 矩阵计算（ISASI）/矩阵计算的搬出/Fixpipe（L0C到GM数据搬运）, 矩阵搬出关键特性说明/NZ2ND ----

// 3 rows of 32 from one row of fractals: (m, n) is element 16 m + n of the left fractal, 256 on of
// the right one. A row of GM has 40 elements, of which 8 stay as they were.
TEST(fixpipe_writes_rows_and_leaves_gaps) {
    std::vector<float> out(3 * 40, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 512), Store(32, 3, 16, 40));
    });
    for (int row = 0; row < 3; ++row) {
        const size_t start = static_cast<size_t>(row) * 40;
        CHECK_EQ(Values(out, start, 16), Ramp<float>(16, 16 * row));
        CHECK_EQ(Values(out, start + 16, 16), Ramp<float>(16, 256 + 16 * row));
        CHECK_EQ(Values(out, start + 32, 8), std::vector<float>(8, -1));
    }
}

// 17 rows: row 16 is the first of the second fractal; the next column of fractals is 32 rows of 16
// on.
TEST(fixpipe_of_a_row_tail) {
    std::vector<float> out(18 * 32, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 1024), Store(32, 17, 32, 32));
    });
    CHECK_EQ(Values(out, 0, 16), Ramp<float>(16, 0));
    CHECK_EQ(Values(out, 16, 16), Ramp<float>(16, 512));
    CHECK_EQ(Values(out, 15 * 32, 16), Ramp<float>(16, 240));
    CHECK_EQ(Values(out, 16 * 32, 16), Ramp<float>(16, 256));
    CHECK_EQ(Values(out, 16 * 32 + 16, 16), Ramp<float>(16, 768));
    CHECK_EQ(Values(out, 17 * 32, 32), std::vector<float>(32, -1));
}

// NZ2ND, one matrix of its figure: 48 rows of 32, column blocks 64 rows of 16 apart, GM rows of 64.
TEST(fixpipe_source_stride_counts_16_elements) {
    std::vector<float> out(48 * 64, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 2048), Store(32, 48, 64, 64));
    });
    CHECK_EQ(Values(out, 0, 16), Ramp<float>(16, 0));
    CHECK_EQ(Values(out, 16, 16), Ramp<float>(16, 1024));
    CHECK_EQ(Values(out, 32, 32), std::vector<float>(32, -1));
    CHECK_EQ(Values(out, 47 * 64, 16), Ramp<float>(16, 752));
    CHECK_EQ(Values(out, 47 * 64 + 16, 16), Ramp<float>(16, 1776));
}

// int32 without quantisation; a part of L0C that starts 64 bytes in; an odd GM address
// ("ND地址需要满足1字节对齐").
TEST(fixpipe_of_int32_from_any_row_to_any_address) {
    std::vector<uint8_t> out(2 * 64 + 1, 0xEE);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 512);
        Poke(l0c, 16, -2);
        Poke(l0c, 47, 0x01020304);
        Fixpipe(GmAt<int32_t>(out, 1), l0c[16], Store(16, 2, 16, 16));
    });
    CHECK_EQ(Values(out, 0, 6), Of<uint8_t>(0xEE, 0xFE, 0xFF, 0xFF, 0xFF, 0));
    CHECK_EQ(Values(out, 125, 4), Of<uint8_t>(4, 3, 2, 1));
}

namespace {

/// The 16-bit patterns that Fixpipe makes of the floats with these bit patterns.
template <typename T>
std::vector<uint16_t> Converted(QuantMode_t mode, const std::vector<uint32_t>& bits) {
    std::vector<T> out(16);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, float>(pipe, 256);
        for (size_t i = 0; i < bits.size(); ++i) Poke(l0c, i, FloatOfBits(bits[i]));
        Fixpipe(Gm(out), l0c, Store(16, 1, 16, 16, mode));
    });
    std::vector<uint16_t> result;
    for (size_t i = 0; i < bits.size(); ++i) result.push_back(out[i].bits);
    return result;
}

}  // namespace

// 随路量化: "cast mode为CAST_RINT模式", to nearest, ties to even. A bfloat16 is the upper half of a
// float.
TEST(fixpipe_rounds_to_bfloat16) {
    const auto bf16 = [](const std::vector<uint32_t>& bits) {
        return Converted<bfloat16_t>(QuantMode_t::F322BF16, bits);
    };
    CHECK_EQ(bf16(Of<uint32_t>(0x00000000, 0x80000000, 0x3F800000, 0xC0490000)),
             Of<uint16_t>(0x0000, 0x8000, 0x3F80, 0xC049));
    // ties: down to even, up to even, and the same below zero
    CHECK_EQ(bf16(Of<uint32_t>(0x3F808000, 0x3F818000, 0xBF808000, 0xBF818000)),
             Of<uint16_t>(0x3F80, 0x3F82, 0xBF80, 0xBF82));
    // one unit beside the ties
    CHECK_EQ(bf16(Of<uint32_t>(0x3F807FFF, 0x3F808001, 0x3F817FFF, 0x3F818001)),
             Of<uint16_t>(0x3F80, 0x3F81, 0x3F81, 0x3F82));
    // a carry into the exponent, and the largest float that rounds down to the largest bfloat16
    CHECK_EQ(bf16(Of<uint32_t>(0x3FFF8000, 0x7F7F7FFF, 0xFF7F7FFF)),
             Of<uint16_t>(0x4000, 0x7F7F, 0xFF7F));
}

TEST(fixpipe_rounds_to_half) {
    const auto fp16 = [](const std::vector<uint32_t>& bits) {
        return Converted<half>(QuantMode_t::F322F16, bits);
    };
    // 0, -0, 1, -2.5
    CHECK_EQ(fp16(Of<uint32_t>(0x00000000, 0x80000000, 0x3F800000, 0xC0200000)),
             Of<uint16_t>(0x0000, 0x8000, 0x3C00, 0xC100));
    // 1 + 2^-11 and 1 + 3 * 2^-11 are ties; one unit beside the first
    CHECK_EQ(fp16(Of<uint32_t>(0x3F801000, 0x3F803000, 0x3F800FFF, 0x3F801001)),
             Of<uint16_t>(0x3C00, 0x3C02, 0x3C00, 0x3C01));
    // 2049 and 2051 lie between halves 2048, 2050, 2052; so do -2049 and -2051
    CHECK_EQ(fp16(Of<uint32_t>(0x45001000, 0x45003000, 0xC5001000, 0xC5003000)),
             Of<uint16_t>(0x6800, 0x6802, 0xE800, 0xE802));
    // 2 - 2^-11 carries into the exponent; 65504 and the largest float below 65520 stay the largest
    // half
    CHECK_EQ(fp16(Of<uint32_t>(0x3FFFF000, 0x477FE000, 0x477FEFFF)),
             Of<uint16_t>(0x4000, 0x7BFF, 0x7BFF));
    // subnormal halves: 2^-24, the ties 2^-25 and 3 * 2^-25, and 2^-14 - 2^-25, which rounds to
    // 2^-14
    CHECK_EQ(fp16(Of<uint32_t>(0x33800000, 0x33000000, 0x33C00000, 0x387FE000)),
             Of<uint16_t>(0x0001, 0x0000, 0x0002, 0x0400));
}

// 约束说明: with CTRL[48] = 1 "inf/nan保持原输出". The register resets to 0, which would saturate
// and turn NaN into 0 (特殊寄存器访问/SetCtrlSpr, tables 4 and 5); the twin models Inf/NaN mode,
// the one that the runtime of these chips selects by default and the one that hides nothing.
TEST(fixpipe_keeps_infinities_and_nan) {
    const auto bits = Of<uint32_t>(0x7F800000, 0xFF800000, 0x7FC00000, 0x477FF000, 0x49742400);
    // inf, -inf, NaN, 65520 (a tie beyond the largest half), 1000000
    CHECK_EQ(Converted<half>(QuantMode_t::F322F16, bits),
             Of<uint16_t>(0x7C00, 0xFC00, 0x7E00, 0x7C00, 0x7C00));
    const auto large = Of<uint32_t>(0x7F800000, 0xFF800000, 0x7FC00000, 0x7F7F8000, 0x7F7FFFFF);
    CHECK_EQ(Converted<bfloat16_t>(QuantMode_t::F322BF16, large),
             Of<uint16_t>(0x7F80, 0xFF80, 0x7FC0, 0x7F80, 0x7F80));
}

// The rows that leave as half or bfloat16: dstStride counts elements of the destination.
TEST(fixpipe_strides_count_elements_of_the_destination) {
    std::vector<bfloat16_t> out(2 * 24, bfloat16_t{0xBEEF});
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 256),
                Store(16, 2, 16, 24, QuantMode_t::F322BF16));
    });
    CHECK_EQ(out[1].bits, 0x3F80);   // 1
    CHECK_EQ(out[15].bits, 0x4170);  // 15
    CHECK_EQ(out[16].bits, 0xBEEF);
    CHECK_EQ(out[23].bits, 0xBEEF);
    CHECK_EQ(out[24].bits, 0x4180);  // 16
    CHECK_EQ(out[39].bits, 0x41F8);  // 31
    CHECK_EQ(out[40].bits, 0xBEEF);
}

// 数据类型: float leaves as half, bfloat16 or float (and 8 bit), int32 as half or int32 (and 8
// bit), each with its own quantPre: "half/bfloat16_t输出，此参数需配置为F322F16/F322BF16",
// "float/int32_t输出此需配置为NoQuant".
TEST(fixpipe_refuses_conversions_that_do_not_exist) {
    const auto refused = [](auto destination, auto source, QuantMode_t mode) {
        using D = decltype(destination);
        using S = decltype(source);
        std::vector<D> out(256);
        AicBreaks("unsupported", {}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Allocate<kL0c, S>(pipe, 256), Store(16, 16, 16, 16, mode));
        });
    };
    refused(bfloat16_t{}, int32_t{}, QuantMode_t::NoQuant);
    refused(bfloat16_t{}, int32_t{}, QuantMode_t::F322BF16);
    refused(half{}, int32_t{}, QuantMode_t::NoQuant);
    refused(half{}, int32_t{}, QuantMode_t::F322F16);
    refused(bfloat16_t{}, float{}, QuantMode_t::NoQuant);
    refused(half{}, float{}, QuantMode_t::NoQuant);
    refused(half{}, float{}, QuantMode_t::F322BF16);
    refused(bfloat16_t{}, float{}, QuantMode_t::F322F16);
    refused(float{}, float{}, QuantMode_t::F322F16);
    refused(int32_t{}, float{}, QuantMode_t::NoQuant);
    refused(float{}, int32_t{}, QuantMode_t::NoQuant);
    refused(half{}, float{}, QuantMode_t::DEQF16);
}

// Table 4: nSize is a multiple of 16, dstStride is not 0, srcStride is mSize rounded up to 16.
TEST(fixpipe_parameter_ranges) {
    std::vector<float> out(1024);
    AicBreaks("parameter-range", {"srcStride", "17"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 512), Store(16, 17, 17, 32));
    });
    AicBreaks("parameter-range", {"nSize", "24"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 512), Store(24, 16, 16, 32));
    });
    AicBreaks("parameter-range", {"dstStride"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 512), Store(16, 16, 16, 0));
    });
}

// "目标数据不能有重叠": rows of 32 elements 16 elements apart write the same bytes twice.
TEST(fixpipe_refuses_rows_on_top_of_each_other) {
    std::vector<float> out(1024);
    AicBreaks("parameter-range", {"dstStride"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 512), Store(32, 2, 16, 16));
    });
}

// "当搬出的mSize、nSize或者ndNum中的任意一个值为0时，该指令不会被执行".
TEST(fixpipe_of_nothing_does_nothing) {
    std::vector<float> out(256, -1);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Numbered<kL0c, float>(pipe, 256);
        Fixpipe(Gm(out), l0c, Store(0, 16, 16, 16));
        Fixpipe(Gm(out), l0c, Store(16, 0, 16, 16));
        FixpipeParamsV220 params = Store(16, 16, 16, 16);
        params.ndNum = 0;
        Fixpipe(Gm(out), l0c, params);
    });
    CHECK_EQ(out, std::vector<float>(256, -1));
}

// "源矩阵NZ格式地址要求64字节对齐".
TEST(fixpipe_sources_are_multiples_of_64_bytes) {
    std::vector<float> out(256);
    AicBreaks("misaligned", {"64"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 512)[8], Store(16, 1, 16, 16));
    });
}

TEST(fixpipe_reads_l0c_and_writes_writable_gm) {
    std::vector<float> out(256);
    AicBreaks("wrong-buffer", {}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Allocate<kL1, float>(pipe, 256), Store(16, 16, 16, 16));
    });
    AicBreaks("write-to-input", {"weights"}, {Input("weights", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 256), Store(16, 16, 16, 16));
    });
}

// Two rows of 16, 24 apart, end after 40 elements, 160 bytes.
TEST(fixpipe_stays_inside_both_sides) {
    std::vector<float> exact(40);
    std::vector<float> tight(39);
    const auto kernel = [](std::vector<float>& out) {
        TPipe pipe;
        Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 256), Store(16, 2, 16, 24));
    };
    OnAic({Output("out", exact)}, [&] { kernel(exact); });
    CHECK_EQ(exact[39], 31.0F);
    AicBreaks("out-of-bounds", {"out", "160", "156"}, {Output("out", tight)},
              [&] { kernel(tight); });
    std::vector<float> wide(1024);
    AicBreaks("out-of-bounds", {"L0C"}, {Output("out", wide)}, [&] {
        TPipe pipe;
        const auto l0c = Numbered<kL0c, float>(pipe, 512);
        static_cast<void>(Allocate<kL0c, float>(pipe, 1024));
        Fixpipe(Gm(wide), l0c, Store(32, 17, 32, 32));  // needs 2 x 2 fractals
    });
}

// What is not there stops loudly: several matrices, ReLU, unit flags, channel split.
TEST(fixpipe_refuses_what_it_does_not_do) {
    std::vector<float> out(2048);
    const auto refused = [&](const char* name, const FixpipeParamsV220& params) {
        AicBreaks("unsupported", {name}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Numbered<kL0c, float>(pipe, 2048), params);
        });
    };
    FixpipeParamsV220 params = Store(16, 16, 16, 16);
    params.ndNum = 2;
    params.srcNdStride = 1;
    params.dstNdStride = 256;
    refused("one matrix", params);
    params = Store(16, 16, 16, 16);
    params.reluEn = true;
    refused("ReLU", params);
    params = Store(16, 16, 16, 16);
    params.unitFlag = 3;
    refused("unitFlag", params);
    params = Store(16, 16, 16, 16);
    params.isChannelSplit = true;
    refused("channel split", params);
}
