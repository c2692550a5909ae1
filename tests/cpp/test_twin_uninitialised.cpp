// Bytes that are used before anything has written them.
// Pages: 矩阵计算（ISASI）/Mmad计算/Mmad,
//        Memory矢量计算/数据搬运/DataCopyPad（GMToUB非对齐数据搬运）.
#include <cstdint>
#include <string>

#include "twin_sanitizer_fixture.h"

using namespace fixture;

TEST(a_vector_instruction_reads_bytes_nobody_wrote) {
    Aiv aiv;
    Pair("uninitialised", {"Muls on V", "bytes [0, ", "AIV 0"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto from = Ub(pipe);
             const auto to = Ub(pipe);
             if (mended) Duplicate(from, 1.0F, kCount);
             PipeBarrier<PIPE_V>();
             mark.Next();
             Muls(to, from, 2.0F, kCount);
         });
}

// Lanes that a mask leaves out are neither read nor written.
TEST(written_bytes_are_told_apart_one_by_one) {
    Aiv aiv;
    Pair("uninitialised", {"bytes [128, "}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto from = Ub(pipe);
        const auto to = Ub(pipe);
        Duplicate(from, 1.0F, uint64_t{32}, 1, 1, 8);
        PipeBarrier<PIPE_V>();
        mark.Next();
        Muls(to, from, 2.0F, uint64_t{mended ? 32u : 64u}, 1, {1, 1, 8, 8});
    });
}

TEST(a_store_takes_bytes_nobody_wrote) {
    Aiv aiv;
    Pair("uninitialised", {"DataCopy on MTE3"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Ub(pipe);
        Duplicate(ub, 1.0F, mended ? 64 : 56);
        Sync<HardEvent::V_MTE3>();
        mark.Next();
        DataCopy(Gm(aiv.out), ub, kCount);
    });
}

TEST(a_scalar_read_takes_bytes_nobody_wrote) {
    Aiv aiv;
    Pair("uninitialised", {"GetValue on S", "[4, 8) of UB"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             ub.SetValue(0, 1.0F);
             if (mended) ub.SetValue(1, 1.0F);
             mark.Next();
             static_cast<void>(ub.GetValue(1));
         });
}

// LoadData moves what nobody wrote without using it; the product does.
TEST(a_product_uses_bytes_nobody_wrote) {
    Aic aic;
    Pair("uninitialised", {"Mmad on M", "of L0A", "AIC 0"}, aic.Config(),
         [&](bool mended, Mark& mark) {
             Cube cube;
             DataCopy(cube.l1, Gm(aic.in), 256);
             All();
             LoadData(cube.l0b, cube.l1, Fractals());
             const auto other = Allocate<kL1, half>(cube.pipe, 256);
             LoadData(cube.l0a, mended ? cube.l1 : other, Fractals());
             Sync<HardEvent::MTE1_M>();
             mark.Next();
             Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16));
         });
    Pair("uninitialised", {"Mmad on M", "of L0B"}, aic.Config(), [&](bool mended, Mark& mark) {
        Cube cube;
        DataCopy(cube.l1, Gm(aic.in), 256);
        Sync<HardEvent::MTE2_MTE1>();
        LoadData(cube.l0a, cube.l1, Fractals());
        if (mended) LoadData(cube.l0b, cube.l1, Fractals());
        Sync<HardEvent::MTE1_M>();
        mark.Next();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16));
    });
    Pair("uninitialised", {"Mmad on M", "of L0C"}, aic.Config(), [&](bool mended, Mark& mark) {
        Cube cube;
        DataCopy(cube.l1, Gm(aic.in), 256);
        Sync<HardEvent::MTE2_MTE1>();
        LoadData(cube.l0a, cube.l1, Fractals());
        LoadData(cube.l0b, cube.l1, Fractals());
        Sync<HardEvent::MTE1_M>();
        mark.Next();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16, mended));
    });
}

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

TEST(gm_bytes_that_a_kernel_reads_before_it_writes_them) {
    Aiv aiv;
    auto config = aiv.Config();
    config.tensors[1].initialised = false;
    Pair("uninitialised", {"DataCopy on MTE2", "GM tensor 'out'", "[32, 64)"}, config,
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             Duplicate(ub, 1.0F, kCount);
             Sync<HardEvent::V_MTE3>();
             DataCopy(Gm(aiv.out), ub, mended ? 16 : 8);
             Sync<HardEvent::MTE3_MTE2>();
             mark.Next();
             DataCopy(ub, Gm(aiv.out), 16);
         });
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

// UB -> UB moves what nobody wrote.
TEST(bytes_stay_unwritten_on_the_way_through_ub) {
    Aiv aiv;
    Pair("uninitialised", {"Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto from = Ub(pipe);
        const auto to = Ub(pipe);
        if (mended) Duplicate(from, 1.0F, kCount);
        Duplicate(to, 1.0F, kCount);
        PipeBarrier<PIPE_V>();
        DataCopy(to, from, kCount);
        PipeBarrier<PIPE_V>();
        mark.Next();
        Muls(to, to, 2.0F, kCount);
    });
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

// The bytes of a TPipe that is gone are nobody's, whatever they held.
TEST(a_buffer_that_is_handed_out_again_is_unwritten) {
    Aiv aiv;
    Pair("uninitialised", {"Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        {
            TPipe pipe;
            Duplicate(Ub(pipe), 1.0F, kCount);
        }
        PipeBarrier<PIPE_V>();
        TPipe pipe;
        const auto ub = Ub(pipe);
        if (mended) Duplicate(ub, 1.0F, kCount);
        PipeBarrier<PIPE_V>();
        mark.Next();
        Muls(ub, ub, 2.0F, kCount);
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
