// Golden vectors of LoadData: orders of fractals, transposition, limits.
#include <cstdint>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::LoadData;
using AscendC::LoadData2DParams;
using AscendC::PipeBarrier;

namespace {

/// `count` fractals of 512 bytes in L1; element e of fractal f is 256 f + e (16-bit elements).
LocalTensor<uint16_t> NumberedFractals(TPipe& pipe, uint32_t count) {
    return Numbered<kL1, uint16_t>(pipe, count * 256);
}

/// The fractal at `position` of `tensor` is fractal `number` of NumberedFractals.
bool IsFractal(const LocalTensor<uint16_t>& tensor, uint32_t position, int number) {
    return Values(tensor, position * 256, 256) == Ramp<uint16_t>(256, number * 256);
}

/// ... is its transpose: element (r, c), 16 r + c, was element (c, r).
bool IsTransposed(const LocalTensor<uint16_t>& tensor, uint32_t position, int number) {
    const auto values = Values(tensor, position * 256, 256);
    for (int r = 0; r < 16; ++r) {
        for (int c = 0; c < 16; ++c) {
            if (values[static_cast<size_t>(16 * r + c)] != number * 256 + 16 * c + r) return false;
        }
    }
    return true;
}

bool IsUntouched(const LocalTensor<uint16_t>& tensor, uint32_t position) {
    return Values(tensor, position * 256, 256) == std::vector<uint16_t>(256, 0xAAAA);
}

}  // namespace

// ---- 矩阵计算（ISASI）/矩阵计算的搬入/LoadData_2D ----

// 设置搬运起始位置: startIndex 1, 4 repeats, srcStride 2 (start to start), dstGap 2 (end to start):
// fractals 1, 3, 5, 7 land on places 0, 3, 6, 9.
TEST(load_data_start_stride_and_gap) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 8);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 11 * 256, 0xAA);
        LoadData(l0, l1, Load(1, 4, 2, 2));
        CHECK(IsFractal(l0, 0, 1));
        CHECK(IsFractal(l0, 3, 3));
        CHECK(IsFractal(l0, 6, 5));
        CHECK(IsFractal(l0, 9, 7));
        for (uint32_t place : {1u, 2u, 4u, 5u, 7u, 8u, 10u}) CHECK(IsUntouched(l0, place));
    });
}

// 非连续搬入: the first of the page's calls, float: 128 elements a fractal, startIndex 0.
TEST(load_data_moves_512_bytes_of_any_element) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, float>(pipe, 7 * 128);
        for (uint32_t i = 0; i < 7 * 128; ++i) Poke(l1, i, static_cast<float>(i));
        const auto l0 = Allocate<kL0a, float>(pipe, 10 * 128);
        LoadData(l0, l1, Load(0, 4, 2, 2));
        CHECK_EQ(Values(l0, 0, 128), Ramp<float>(128));
        CHECK_EQ(Values(l0, 128, 256), std::vector<float>(256, 0));
        CHECK_EQ(Values(l0, 3 * 128, 128), Ramp<float>(128, 256));
        CHECK_EQ(Values(l0, 6 * 128, 128), Ramp<float>(128, 512));
        CHECK_EQ(Values(l0, 9 * 128, 128), Ramp<float>(128, 768));
        const auto bytes = Allocate<kL0b, int8_t>(pipe, 512);
        LoadData(bytes, l1.ReinterpretCast<int8_t>(), Load(1, 1, 0, 0));
        CHECK_EQ(Values(bytes.ReinterpretCast<float>(), 0, 128), Ramp<float>(128, 128));
    });
}

// "srcStride=0表示在连续的重复执行周期之间，重复获取相同的分形矩阵".
TEST(load_data_without_a_stride_repeats_the_fractal) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 4);
        const auto l0 = Allocate<kL0b, uint16_t>(pipe, 4 * 256, 0xAA);
        LoadData(l0, l1, Load(2, 3, 0, 0));
        for (uint32_t place = 0; place < 3; ++place) CHECK(IsFractal(l0, place, 2));
        CHECK(IsUntouched(l0, 3));
    });
}

// "repeatTimes=0表示不执行搬运".
TEST(load_data_without_repeats_does_nothing) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 256, 0xAA);
        LoadData(l0, NumberedFractals(pipe, 1), Load(0, 0, 1, 0));
        CHECK(IsUntouched(l0, 0));
    });
}

// 分形转置, first figure: 2 repeats, srcStride 2, dstGap 2; every fractal is transposed by itself.
TEST(load_data_transposes_each_fractal) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 3);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 4 * 256, 0xAA);
        LoadData(l0, l1, Load(0, 2, 2, 2, true));
        CHECK_EQ(Values(l0, 0, 4), Of<uint16_t>(0, 16, 32, 48));
        CHECK_EQ(Values(l0, 16, 4), Of<uint16_t>(1, 17, 33, 49));
        CHECK_EQ(Peek(l0, 255), 255);
        CHECK(IsTransposed(l0, 0, 0));
        CHECK(IsTransposed(l0, 3, 2));
        CHECK(IsUntouched(l0, 1));
        CHECK(IsUntouched(l0, 2));
    });
}

// 分形转置, second figure: two calls of 3 repeats, srcStride 2, dstGap 1, both sides one fractal
// further.
TEST(load_data_transposes_six_fractals_in_two_calls) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 6);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 6 * 256, 0xAA);
        for (uint32_t i = 0; i < 2; ++i) LoadData(l0[i * 256], l1[i * 256], Load(0, 3, 2, 1, true));
        for (uint32_t place = 0; place < 6; ++place) {
            CHECK(IsTransposed(l0, place, static_cast<int>(place)));
        }
    });
}

// 调用示例一: A is 40 x 56 halves, so 3 x 4 fractals. In L1 (Nz) they lie column by column, number
// 3 column + row; in L0A (Zz) row by row.
TEST(load_data_turns_nz_into_zz) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 12);
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 12 * 256, 0xAA);
        for (uint32_t row = 0; row < 3; ++row) {
            LoadData(l0[row * 4 * 256], l1[row * 256], Load(0, 4, 3, 0));
        }
        const int expected[12] = {0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11};
        for (uint32_t place = 0; place < 12; ++place) CHECK(IsFractal(l0, place, expected[place]));
    });
}

// 矩阵计算输入搬运约束: destinations in L0A and L0B lie at multiples of 512 bytes, sources in L1 at
// multiples of 32.
TEST(load_data_alignment) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 256);
        LoadData(l0, NumberedFractals(pipe, 2)[16], Load(0, 1, 1, 0));  // 32 bytes into L1
        CHECK_EQ(Values(l0, 0, 256), Ramp<uint16_t>(256, 16));
    });
    AicBreaks("misaligned", {"512"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 512)[16], NumberedFractals(pipe, 1),
                 Load(0, 1, 1, 0));
    });
    AicBreaks("misaligned", {"512"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0b, uint16_t>(pipe, 512)[128], NumberedFractals(pipe, 1),
                 Load(0, 1, 1, 0));
    });
    AicBreaks("misaligned", {"32"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), NumberedFractals(pipe, 2)[8],
                 Load(0, 1, 1, 0));
    });
}

// "开启转置功能时，源操作数、目的操作数仅支持b16数据类型".
TEST(load_data_transposes_16_bit_elements_only) {
    AicBreaks("parameter-range", {"int8_t"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0b, int8_t>(pipe, 512), Allocate<TPosition::B1, int8_t>(pipe, 512),
                 Load(0, 1, 1, 0, true));
    });
    AicBreaks("parameter-range", {"float"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, float>(pipe, 128), Allocate<kL1, float>(pipe, 128),
                 Load(0, 1, 1, 0, true));
    });
}

// addrMode 1 counts down, on the path GM -> L1 only: "保持默认值0即可".
TEST(load_data_counts_up) {
    AicBreaks("parameter-range", {"addrMode"}, {}, [&] {
        TPipe pipe;
        LoadData2DParams params = Load(1, 1, 1, 0);
        params.addrMode = 1;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), NumberedFractals(pipe, 2), params);
    });
}

// Paths of table 1: from L1, into L0A or L0B.
TEST(load_data_goes_from_l1_to_l0a_or_l0b) {
    AicBreaks("wrong-buffer", {}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0c, uint16_t>(pipe, 512), NumberedFractals(pipe, 1), Load(0, 1, 1, 0));
    });
    AicBreaks("wrong-buffer", {}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), Allocate<kL0b, uint16_t>(pipe, 256),
                 Load(0, 1, 1, 0));
    });
}

// Whole fractals have to fit: the last source fractal is startIndex + (repeatTimes - 1) *
// srcStride.
TEST(load_data_stays_inside_both_allocations) {
    AicBreaks("out-of-bounds", {"L1"}, {}, [&] {
        TPipe pipe;
        const auto l1 = NumberedFractals(pipe, 6);
        static_cast<void>(Allocate<kL1, uint16_t>(pipe, 1024));
        LoadData(Allocate<kL0a, uint16_t>(pipe, 1024), l1, Load(1, 4, 2, 0));
    });
    AicBreaks("out-of-bounds", {"L0A"}, {}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0a, uint16_t>(pipe, 9 * 256);
        static_cast<void>(Allocate<kL0a, uint16_t>(pipe, 1024));
        LoadData(l0, NumberedFractals(pipe, 8), Load(0, 4, 2, 2));
    });
}

// 调用示例二: A stored as [k, m] = [40, 20] in Nz; 3 fractals per block of m, each transposed.
TEST(load_data_transposes_a) {
    std::vector<half> a(40 * 20);
    for (size_t k = 0; k < 40; ++k) {
        for (size_t m = 0; m < 20; ++m) a[k * 20 + m] = Half(float(20 * k + m));
    }
    OnAic({Input("a", a)}, [&] {
        TPipe pipe;
        const auto a1 = Allocate<kL1, half>(pipe, 3 * 2 * 256, 0xFF);
        const auto a2 = Allocate<kL0a, half>(pipe, 2 * 3 * 256, 0xFF);
        DataCopy(a1, Gm(a), WholeMatrix(40, 20));
        PipeBarrier<PIPE_ALL>();
        for (uint32_t m = 0; m < 2; ++m)
            LoadData(a2[m * 3 * 256], a1[m * 3 * 256], Load(0, 3, 1, 0, true));
        for (size_t m = 0; m < 20; ++m) {
            for (size_t k = 0; k < 40; ++k) {
                CHECK_EQ(Peek(a2, ZzIndex(m, k, 40, 16)).bits, Half(float(20 * k + m)).bits);
            }
        }
    });
}
