// Golden vectors of the quantising modes of Fixpipe.
// Pages: 矩阵计算（ISASI）/矩阵计算的搬出/Fixpipe（L0C到GM数据搬运）,
//        矩阵计算（ISASI）/矩阵搬出关键特性说明/{随路量化, 随路量化与随路ReLU场景组合}.
#include <cstdint>
#include <limits>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::Fixpipe;
using AscendC::FixpipeParamsV220;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr uint64_t kSigned = uint64_t{1} << 46;
constexpr uint64_t kShift = uint64_t{1} << 36;

/// 随路量化, table 1.
uint64_t Word(float scale, int offset = 0) {
    uint32_t bits;
    std::memcpy(&bits, &scale, sizeof(bits));
    return bits | (static_cast<uint64_t>(offset) & 0x1FF) << 37;
}

FixpipeParamsV220 Store(QuantMode_t mode, uint64_t word, uint16_t rows = 1, uint16_t columns = 16) {
    FixpipeParamsV220 params;
    params.nSize = columns;
    params.mSize = rows;
    params.srcStride = static_cast<uint16_t>(Blocks(rows, 16) * 16);
    params.dstStride = columns;
    params.quantPre = mode;
    params.deqScalar = word;
    return params;
}

/// What Fixpipe makes of a row of up to 16 values.
template <typename T, typename S>
std::vector<T> Quantised(QuantMode_t mode, uint64_t word, const std::vector<S>& values) {
    std::vector<T> out(16);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, S>(pipe, 256);
        for (size_t i = 0; i < values.size(); ++i) Poke(l0c, i, values[i]);
        Fixpipe(Gm(out), l0c, Store(mode, word));
    });
    out.resize(values.size());
    return out;
}

std::vector<uint16_t> Dequantised(uint64_t word, const std::vector<int32_t>& values) {
    const auto out = Quantised<half>(DEQF16, word, values);
    std::vector<uint16_t> bits;
    for (const half value : out) bits.push_back(value.bits);
    return bits;
}

}  // namespace

// ---- DEQF16: int32 -> half ----

TEST(deqf16_multiplies_and_rounds_once_to_half) {
    // 0, 0.5, -3.5, 512.5
    CHECK_EQ(Dequantised(Word(0.5F), {0, 1, -7, 1025}),
             Of<uint16_t>(0x0000, 0x3800, 0xC300, 0x6001));
    // Ties between 2048, 2050 and 2052, and their mirror images.
    CHECK_EQ(Dequantised(Word(1.0F), {2049, 2051, -2049, -2051}),
             Of<uint16_t>(0x6800, 0x6802, 0xE800, 0xE802));
    // 65504 is the largest half; 65519 rounds to it, 65520 to infinity (Inf/NaN mode).
    CHECK_EQ(Dequantised(Word(1.0F), {65504, 65519, 65520, -65520, INT32_MAX, INT32_MIN}),
             Of<uint16_t>(0x7BFF, 0x7BFF, 0x7C00, 0xFC00, 0x7C00, 0xFC00));
    // Subnormal halves: 2^-24 and the tie 3 x 2^-25; a scale may be negative, or zero.
    CHECK_EQ(Dequantised(Word(0x1p-25F), {2, 3, 1}), Of<uint16_t>(0x0001, 0x0002, 0x0000));
    CHECK_EQ(Dequantised(Word(-2.0F), {3, -3}), Of<uint16_t>(0xC600, 0x4600));
    CHECK_EQ(Dequantised(Word(0.0F), {5}), Of<uint16_t>(0x0000));
}

// "硬件以(1, 8, 10)的格式": of 1 + 2^-10 + 2^-11 the last bit does not count. 1024 times it is
// 1025, not 1025.5, which would round to 1026. The same with all 13 low bits, and below zero.
TEST(scales_have_10_bits_of_mantissa) {
    for (const uint32_t bits : {0x3F802000u, 0x3F803000u, 0x3F802001u, 0x3F803FFFu}) {
        CHECK_EQ(Dequantised(bits, {1024, -1024}), Of<uint16_t>(0x6401, 0xE401));
        CHECK_EQ(Dequantised(bits | 0x80000000u, {1024}), Of<uint16_t>(0xE401));
    }
    CHECK_EQ(Dequantised(0x3F804000, {1024}), Of<uint16_t>(0x6402));
}

// Table 1: with (V)DEQF16 offset and sign have no effect, nor have N without MCB and bits 47 to 63.
TEST(deqf16_ignores_the_bits_of_other_modes) {
    for (const uint64_t more :
         {kSigned, uint64_t{0x1FF} << 37, uint64_t{0xF} << 32, uint64_t{0x1FFFF} << 47}) {
        CHECK_EQ(Dequantised(Word(0.5F) | more, {3}), Of<uint16_t>(0x3E00));
    }
}

// ---- REQ8: int32 -> int8, uint8 ----

// Rounded to even, then limited to 8 bits. 127.5 rounds to 128, which is too much.
TEST(req8_rounds_and_saturates) {
    CHECK_EQ((Quantised<int8_t, int32_t>(REQ8, Word(0.5F) | kSigned,
                                         {0, 1, 3, 5, -1, -3, 253, 254, 255, 1000, -256, -257,
                                          -1000, INT32_MAX, INT32_MIN})),
             Of<int8_t>(0, 0, 2, 2, 0, -2, 126, 127, 127, 127, -128, -128, -128, 127, -128));
    CHECK_EQ(
        (Quantised<uint8_t, int32_t>(
            REQ8, Word(0.5F), {0, 1, 3, -1, -3, 255, 509, 510, 511, 512, INT32_MAX, INT32_MIN})),
        Of<uint8_t>(0, 0, 2, 0, 0, 128, 254, 255, 255, 255, 255, 0));
}

// The offset is added to the rounded product, which has 9 bits: 300 counts as 255, -300 as -256.
TEST(req8_adds_the_offset_to_9_bits) {
    CHECK_EQ((Quantised<int8_t, int32_t>(REQ8, Word(0.5F, 10) | kSigned, {5, -5, 240, -276, -300})),
             Of<int8_t>(12, 8, 127, -128, -128));
    CHECK_EQ((Quantised<int8_t, int32_t>(REQ8, Word(1.0F, -200) | kSigned, {300, 255, 254, 100})),
             Of<int8_t>(55, 55, 54, -100));
    CHECK_EQ((Quantised<uint8_t, int32_t>(REQ8, Word(1.0F, 255), {-300, -256, -255, -1, 0, 1})),
             Of<uint8_t>(0, 0, 0, 254, 255, 255));
    CHECK_EQ((Quantised<uint8_t, int32_t>(REQ8, Word(1.0F, -256), {300, 255, -1})),
             Of<uint8_t>(0, 0, 0));
}

// ---- QF322B8_PRE: float -> int8, uint8 ----

TEST(qf322b8_rounds_and_saturates) {
    CHECK_EQ((Quantised<int8_t, float>(
                 QF322B8_PRE, Word(2.0F) | kSigned,
                 {0, 0.25F, 0.75F, 1.25F, -0.25F, -0.75F, 63.4F, 63.75F, 1e30F, -64.25F, -1e30F})),
             Of<int8_t>(0, 0, 2, 2, 0, -2, 127, 127, 127, -128, -128));
    CHECK_EQ(
        (Quantised<uint8_t, float>(QF322B8_PRE, Word(1.0F, 3), {0, -2.5F, -3.5F, 251.5F, 253})),
        Of<uint8_t>(3, 1, 0, 255, 255));
    // "对于整数类型只有饱和模式"; NaN becomes 0, to which the offset is added.
    CHECK_EQ((Quantised<int8_t, float>(QF322B8_PRE, Word(1.0F, 7) | kSigned, {kInf, -kInf, kNaN})),
             Of<int8_t>(127, -128, 7));
}

// Table 1: N and MCB are invalid bits of (V)QF322B8_PRE. Of the mantissa 10 bits count here too: a
// scale just above 1 makes of 0.5 the tie that goes to 0, or what is above it and goes to 1.
TEST(qf322b8_uses_scale_offset_and_sign) {
    CHECK_EQ((Quantised<int8_t, float>(
                 QF322B8_PRE, Word(1.0F) | kSigned | kShift | uint64_t{0xF} << 32, {5, -5})),
             Of<int8_t>(5, -5));
    CHECK_EQ((Quantised<int8_t, float>(QF322B8_PRE, 0x3F803000 | kSigned, {100, 0.5F})),
             Of<int8_t>(100, 1));  // 0.5 x (1 + 2^-10) is above the tie
    CHECK_EQ((Quantised<int8_t, float>(QF322B8_PRE, 0x3F801FFF | kSigned, {0.5F})),
             Of<int8_t>(0));  // 1 once cut: the tie goes to even
}

// ---- a scale per column ----

namespace {

/// Word of column i: scale 1 + i / 64, which a half represents exactly.
uint64_t ColumnWord(size_t column) { return Word(1.0F + static_cast<float>(column) / 64); }

/// The words of `columns` columns, at `first` of `size` in L1. The others are no scales.
LocalTensor<uint64_t> Words(TPipe& pipe, uint32_t columns, uint32_t first = 0, uint64_t more = 0) {
    const auto words = Allocate<TPosition::C1, uint64_t>(pipe, first + columns, 0xFF);
    for (uint32_t i = 0; i < columns; ++i) Poke(words, first + i, ColumnWord(i) | more);
    return words[first];
}

}  // namespace

// VDEQF16 of 3 x 48 values into rows of 52: column c of row r holds 64 (r + 1), so that the result
// is (r + 1) (64 + c). Words start 32 bytes into L1.
TEST(vdeqf16_has_a_scale_per_column) {
    std::vector<half> out(3 * 52, half{0xBEEF});
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 3 * 256, 0xFF);
        for (size_t r = 0; r < 3; ++r) {
            for (size_t c = 0; c < 48; ++c)
                Poke(l0c, NzIndex(r, c, 16), static_cast<int32_t>(64 * (r + 1)));
        }
        FixpipeParamsV220 params = Store(VDEQF16, 0, 3, 48);
        params.dstStride = 52;
        Fixpipe(Gm(out), l0c, Words(pipe, 48, 4), params);
    });
    for (size_t r = 0; r < 3; ++r) {
        for (size_t c = 0; c < 48; ++c) {
            CHECK_EQ(out[r * 52 + c].bits, Half(static_cast<float>((r + 1) * (64 + c))).bits);
        }
        for (size_t c = 48; c < 52; ++c) CHECK_EQ(out[r * 52 + c].bits, 0xBEEF);
    }
}

// VREQ8 and VQF322B8_PRE of 2 x 32 values: 32 x (1 + c / 64) is 32 + c / 2, rounded to even.
TEST(vreq8_and_vqf322b8_have_a_scale_per_column) {
    const auto check = [](auto source, QuantMode_t mode) {
        using S = decltype(source);
        std::vector<int8_t> out(2 * 32);
        OnAic({Output("out", out)}, [&] {
            TPipe pipe;
            const auto l0c = Allocate<kL0c, S>(pipe, 512);
            for (size_t c = 0; c < 32; ++c) {
                Poke(l0c, NzIndex(0, c, 16), S{32});
                Poke(l0c, NzIndex(1, c, 16), S{-32});
            }
            Fixpipe(Gm(out), l0c, Words(pipe, 32, 0, kSigned), Store(mode, 0, 2, 32));
        });
        const auto expected = Of<int8_t>(32, 32, 33, 34, 34, 34, 35, 36, 36, 36);
        CHECK_EQ(Values(out, 0, 10), expected);
        CHECK_EQ(out[31], 48);
        for (size_t c = 0; c < 32; ++c) CHECK_EQ(out[32 + c], -out[c]);
    };
    check(int32_t{}, VREQ8);
    check(float{}, VQF322B8_PRE);
}

// ---- what is refused ----

// "量化和ReLU参数不能为inf/nan和非规格化数"; a scalar that was not set is not a scale either.
TEST(scales_are_normal_numbers) {
    const auto refused = [](uint64_t word) {
        std::vector<half> out(16);
        AicBreaks("parameter-range", {"scale"}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Allocate<kL0c, int32_t>(pipe, 256), Store(DEQF16, word));
        });
    };
    refused(Word(kInf));
    refused(Word(-kInf));
    refused(Word(kNaN));
    refused(0x7F800001);  // a NaN whose mantissa is cut off
    refused(0x00400000);
    refused(0x00000001);  // subnormal, and zero once cut
    refused(0x80001000);
    refused(FixpipeParamsV220().deqScalar);
    std::vector<half> out(32);
    AicBreaks("parameter-range", {"scale", "column 17"}, {Output("out", out)}, [&] {
        TPipe pipe;
        const auto words = Words(pipe, 32);
        Poke(words, 17, Word(kNaN));
        Fixpipe(Gm(out), Allocate<kL0c, int32_t>(pipe, 512), words, Store(VDEQF16, 0, 1, 32));
    });
}

// Table 1, Sign: 1 for int8, 0 for uint8.
TEST(the_sign_bit_says_what_the_output_is) {
    std::vector<int8_t> bytes(16);
    std::vector<uint8_t> unsigned_bytes(16);
    AicBreaks("parameter-range", {"bit 46", "int8_t"}, {Output("out", bytes)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(bytes), Allocate<kL0c, int32_t>(pipe, 256), Store(REQ8, Word(1)));
    });
    AicBreaks("parameter-range", {"bit 46", "uint8_t"}, {Output("out", unsigned_bytes)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(unsigned_bytes), Allocate<kL0c, float>(pipe, 256),
                Store(QF322B8_PRE, Word(1) | kSigned));
    });
}

// MCB: the table has N from 1 to 16, the example it refers to takes the bits as they are.
TEST(a_shift_before_the_product_is_refused) {
    std::vector<half> out(16);
    AicBreaks("unsupported", {"bit 36"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Allocate<kL0c, int32_t>(pipe, 256), Store(DEQF16, Word(1) | kShift));
    });
    std::vector<int8_t> bytes(16);
    AicBreaks("unsupported", {"bit 36"}, {Output("out", bytes)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(bytes), Allocate<kL0c, int32_t>(pipe, 256),
                Store(REQ8, Word(1) | kShift | kSigned));
    });
}

// 数据类型, Atlas A2/A3: int32 leaves as 8 bits, half or int32. There is no bfloat16 of it, in any
// mode; and every mode has its own source and destination.
TEST(pairs_of_types_that_a_mode_does_not_have) {
    const auto refused = [](auto destination, auto source, QuantMode_t mode) {
        using D = decltype(destination);
        using S = decltype(source);
        std::vector<D> out(256);
        AicBreaks("unsupported", {"quantPre"}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Allocate<kL0c, S>(pipe, 256), Store(mode, Word(1)));
        });
        AicBreaks("unsupported", {"quantPre"}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Allocate<kL0c, S>(pipe, 256), Words(pipe, 16), Store(mode, 0));
        });
    };
    for (const auto mode :
         {NoQuant, F322BF16, DEQF16, VDEQF16, QF322B8_PRE, VQF322B8_PRE, REQ8, VREQ8}) {
        refused(bfloat16_t{}, int32_t{}, mode);
    }
    refused(int32_t{}, int32_t{}, DEQF16);
    refused(float{}, int32_t{}, DEQF16);
    refused(float{}, int32_t{}, VDEQF16);
    refused(half{}, float{}, VDEQF16);
    refused(half{}, int32_t{}, REQ8);
    refused(int8_t{}, int32_t{}, NoQuant);
    refused(int8_t{}, int32_t{}, QF322B8_PRE);
    refused(int8_t{}, float{}, REQ8);
    refused(uint8_t{}, float{}, VREQ8);
    refused(int8_t{}, float{}, F322F16);
}

// cbufWorkspace: "当quantPre为VDEQF16、VQF322B8_PRE、VREQ8时支持".
TEST(modes_with_and_without_a_tensor_of_scales) {
    std::vector<half> out(16);
    AicBreaks("parameter-range", {"cbufWorkspace"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Allocate<kL0c, int32_t>(pipe, 256), Store(VDEQF16, Word(1)));
    });
    AicBreaks("parameter-range", {"cbufWorkspace"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Allocate<kL0c, int32_t>(pipe, 256), Words(pipe, 16),
                Store(DEQF16, Word(1)));
    });
}

// "支持的物理地址为L1 Buffer（TPosition为C1），地址需满足32字节对齐"; a word per column.
TEST(scales_lie_in_l1) {
    std::vector<half> out(16 * 17);
    const auto breaks = [&](const char* code, const char* part, const auto& words,
                            uint16_t columns) {
        AicBreaks(code, {part}, {Output("out", out)}, [&] {
            TPipe pipe;
            Fixpipe(Gm(out), Allocate<kL0c, int32_t>(pipe, 17 * 256), words(pipe),
                    Store(VDEQF16, 0, 1, columns));
        });
    };
    breaks("misaligned", "32", [](TPipe& pipe) { return Words(pipe, 16, 2); }, 16);
    breaks(
        "wrong-buffer", "fixpipe buffer",
        [](TPipe& pipe) { return Allocate<TPosition::C2PIPE2GM, uint64_t>(pipe, 16); }, 16);
    breaks(
        "out-of-bounds", "L1",
        [](TPipe& pipe) {
            const auto words = Words(pipe, 16);
            static_cast<void>(Allocate<kL1, uint64_t>(pipe, 64));
            return words;
        },
        32);
    // 2048 bytes of the fixpipe buffer are scales of 256 columns.
    breaks("unsupported", "256", [](TPipe& pipe) { return Words(pipe, 272); }, 272);
    OnAic({Output("out", out)}, [&] {
        TPipe pipe;
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 16 * 256);
        Poke(l0c, NzIndex(0, 255, 16), 64);
        Fixpipe(Gm(out), l0c, Words(pipe, 256), Store(VDEQF16, 0, 1, 256));
    });
    CHECK_EQ(out[255].bits, Half(64 + 255).bits);
}

// From GM through L1: the events between MTE2 and the fixpipe order the words
// (矩阵计算的搬出/DataCopy（L0C到GM数据搬运）, example).
TEST(scales_come_from_gm) {
    std::vector<uint64_t> words(32);
    for (size_t i = 0; i < 32; ++i) words[i] = ColumnWord(i);
    std::vector<half> out(32);
    OnAic({Input("scales", words), Output("out", out)}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<TPosition::C1, uint64_t>(pipe, 32, 0xFF);
        const auto l0c = Allocate<kL0c, int32_t>(pipe, 512);
        for (size_t c = 0; c < 32; ++c) Poke(l0c, NzIndex(0, c, 16), 128);
        AscendC::SetFlag<AscendC::HardEvent::FIX_MTE2>(0);
        AscendC::WaitFlag<AscendC::HardEvent::FIX_MTE2>(0);
        AscendC::DataCopy(l1, Gm(words), 32);
        AscendC::SetFlag<AscendC::HardEvent::MTE2_FIX>(0);
        AscendC::WaitFlag<AscendC::HardEvent::MTE2_FIX>(0);
        Fixpipe<half, int32_t, AscendC::CFG_ROW_MAJOR>(Gm(out), l0c, l1, Store(VDEQF16, 0, 1, 32));
    });
    for (size_t c = 0; c < 32; ++c)
        CHECK_EQ(out[c].bits, Half(static_cast<float>(128 + 2 * c)).bits);
}
