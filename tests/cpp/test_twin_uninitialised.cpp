// Bytes that are used before anything has written them.
// Pages: 矩阵计算（ISASI）/Mmad计算/Mmad,
//        Memory矢量计算/数据搬运/DataCopyPad（GMToUB非对齐数据搬运）.
#include <cstdint>
#include <string>

#include "twin_sanitizer_fixture.h"

using namespace fixture;

// "其他无效数据在计算中会被忽略": of the last fractals only what m and n cover is used; k further
// below.
TEST(a_product_does_not_use_what_lies_beyond_its_sizes) {
    Aic aic;
    for (const bool left : {true, false}) {
        Pair("uninitialised", {"Mmad on M", left ? "of L0A" : "of L0B"}, aic.Config(),
             [&](bool mended, Mark& mark) {
                 Cube cube;
                 const auto whole = Allocate<kL1, half>(cube.pipe, 256);
                 DataCopy(cube.l1, Gm(aic.in), 128);  // 8 rows of A, or 8 columns of B
                 DataCopy(whole, Gm(aic.in), 256);
                 All();
                 LoadData(cube.l0a, left ? cube.l1 : whole, Fractals());
                 LoadData(cube.l0b, left ? whole : cube.l1, Fractals());
                 All();
                 const uint16_t size = mended ? 8 : 16;
                 const auto shape = left ? Shape(size, 16, 16) : Shape(16, size, 16);
                 mark.Next();
                 Mmad(cube.l0c, cube.l0a, cube.l0b, shape);
             });
    }
}

// No kernel can write an input: one that is not there is a mistake of whoever reads it.
TEST(an_input_that_is_not_initialised_is_reported) {
    Aiv aiv;
    auto config = aiv.Config();
    const auto kernel = [&] {
        TPipe pipe;
        DataCopy(Ub(pipe), Gm(aiv.in), kCount);
    };
    CHECK_EQ(CodeOf(config, kernel), std::string());
    config.tensors[0].initialised = false;
    CHECK_EQ(CodeOf(config, kernel), std::string("uninitialised"));
}

// "isPad为false": the padding holds random values once one of leftPadding and rightPadding is not
// 0, and random is what it is after it was something else.
TEST(padding_without_a_value_is_not_written) {
    Aiv aiv;
    for (const bool filled_before : {false, true}) {
        Pair("uninitialised", {"Muls on V", "[4, 32) of UB"}, aiv.Config(),
             [&](bool mended, Mark& mark) {
                 TPipe pipe;
                 const auto ub = Allocate<kUb, float>(pipe, 8);
                 const auto to = Allocate<kUb, float>(pipe, 8);
                 if (filled_before) Duplicate(ub, 0.0F, 8);
                 Sync<HardEvent::V_MTE2>();
                 DataCopyPad(ub, Gm(aiv.in), {1, 4, 0, 0, 0}, {mended, 0, 1, 0.0F});
                 Sync<HardEvent::MTE2_V>();
                 mark.Next();
                 Muls(to, ub, 2.0F, 8);
             });
    }
    // Left padding, and what the instruction promises: "首个元素" without any padding.
    Pair("uninitialised", {"[0, 4) of UB"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Allocate<kUb, float>(pipe, 8);
        const auto to = Allocate<kUb, float>(pipe, 8);
        const auto left = static_cast<uint8_t>(mended ? 0 : 1);
        DataCopyPad(ub, Gm(aiv.in), {1, 4, 0, 0, 0}, {false, left, 0, 0.0F});
        Sync<HardEvent::MTE2_V>();
        mark.Next();
        Muls(to, ub, 2.0F, 8);
    });
}

// A transposed fractal takes what is unwritten to its new place.
TEST(unwritten_bytes_are_transposed_with_their_fractal) {
    Aic aic;
    const auto load = [&](Cube& cube, uint32_t rows) {
        DataCopy(cube.l1, Gm(aic.in), rows * 16);
        const auto whole = Allocate<kL1, half>(cube.pipe, 256);
        DataCopy(whole, Gm(aic.in), 256);
        All();
        auto transposed = Fractals();
        transposed.ifTranspose = true;
        LoadData(cube.l0a, whole, Fractals());
        LoadData(cube.l0b, cube.l1, transposed);
        All();
    };
    // 8 rows of depth: all that a product of that depth uses is there.
    Pair("uninitialised", {"Mmad on M", "of L0B"}, aic.Config(), [&](bool mended, Mark& mark) {
        Cube cube;
        load(cube, 8);
        const auto depth = static_cast<uint16_t>(mended ? 8 : 16);
        mark.Next();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, depth));
    });
    // 8 columns do not make up for it.
    Pair("uninitialised", {"Mmad on M", "of L0B"}, aic.Config(), [&](bool mended, Mark& mark) {
        Cube cube;
        load(cube, mended ? 16 : 8);
        mark.Next();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 8, 16));
    });
}
