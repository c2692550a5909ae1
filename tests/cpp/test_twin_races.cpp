// Accesses of one core that nothing orders.
// Pages: 同步控制/核内同步/{SetFlag-WaitFlag(ISASI), PipeBarrier(ISASI)},
//        矩阵计算（ISASI）/Mmad计算/Mmad.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

using namespace fixture;

// ---- pipe-race: two pipes of an AIV ----

namespace {

/// An instruction of one pipe on `ub`.
struct Access {
    const char* name;
    bool writes;
    std::function<void(const LocalTensor<float>& ub, const LocalTensor<float>& other, Aiv& aiv,
                       Mark& mark)>
        run;
};

Access Load() {
    return {"DataCopy on MTE2 writes", true, [](auto& ub, auto&, Aiv& aiv, Mark& mark) {
                mark.Next();
                DataCopy(ub, Gm(aiv.in), kCount);
            }};
}
Access StoreUb() {
    return {"DataCopy on MTE3 reads", false, [](auto& ub, auto&, Aiv& aiv, Mark& mark) {
                mark.Next();
                DataCopy(Gm(aiv.out), ub, kCount);
            }};
}
Access VectorRead() {
    return {"Muls on V reads", false, [](auto& ub, auto& other, Aiv&, Mark& mark) {
                mark.Next();
                Muls(other, ub, 2.0F, kCount);
            }};
}
Access VectorWrite() {
    return {"Duplicate on V writes", true, [](auto& ub, auto&, Aiv&, Mark& mark) {
                mark.Next();
                Duplicate(ub, 2.0F, kCount);
            }};
}
Access ScalarRead() {
    return {"GetValue on S reads", false, [](auto& ub, auto&, Aiv&, Mark& mark) {
                mark.Next();
                static_cast<void>(ub.GetValue(5));
            }};
}
Access ScalarWrite() {
    return {"SetValue on S writes", true, [](auto& ub, auto&, Aiv&, Mark& mark) {
                mark.Next();
                ub.SetValue(5, 1.0F);
            }};
}

/// `first`, then `second` without and with the event between their pipes. The twin runs both in
/// program order: what it computes is right either way.
template <HardEvent event>
void UbPair(const Access& first, const Access& second, const char* file = __builtin_FILE(),
            int line = __builtin_LINE()) {
    Aiv aiv;
    Pair(
        "pipe-race",
        {second.name, first.writes ? "which writes them" : "which reads them", "of UB"},
        aiv.Config(),
        [&](bool mended, Mark& mark) {
            TPipe pipe;
            const auto ub = Ub(pipe);
            const auto other = Ub(pipe);
            Duplicate(ub, 1.0F, kCount);
            All();
            first.run(ub, other, aiv, mark);
            Sync<event>(mended);
            second.run(ub, other, aiv, mark);
        },
        file, line);
}

}  // namespace

TEST(read_after_write_by_another_pipe_of_an_aiv) {
    UbPair<HardEvent::MTE2_V>(Load(), VectorRead());
    UbPair<HardEvent::MTE2_MTE3>(Load(), StoreUb());
    UbPair<HardEvent::MTE2_S>(Load(), ScalarRead());
    UbPair<HardEvent::V_MTE3>(VectorWrite(), StoreUb());
    UbPair<HardEvent::V_S>(VectorWrite(), ScalarRead());
    UbPair<HardEvent::S_V>(ScalarWrite(), VectorRead());
    UbPair<HardEvent::S_MTE3>(ScalarWrite(), StoreUb());
}

TEST(write_after_read_by_another_pipe_of_an_aiv) {
    UbPair<HardEvent::V_MTE2>(VectorRead(), Load());
    UbPair<HardEvent::V_S>(VectorRead(), ScalarWrite());
    UbPair<HardEvent::MTE3_V>(StoreUb(), VectorWrite());
    UbPair<HardEvent::MTE3_MTE2>(StoreUb(), Load());
    UbPair<HardEvent::MTE3_S>(StoreUb(), ScalarWrite());
    UbPair<HardEvent::S_V>(ScalarRead(), VectorWrite());
    UbPair<HardEvent::S_MTE2>(ScalarRead(), Load());
}

TEST(write_after_write_by_another_pipe_of_an_aiv) {
    UbPair<HardEvent::MTE2_V>(Load(), VectorWrite());
    UbPair<HardEvent::MTE2_S>(Load(), ScalarWrite());
    UbPair<HardEvent::V_MTE2>(VectorWrite(), Load());
    UbPair<HardEvent::V_S>(VectorWrite(), ScalarWrite());
    UbPair<HardEvent::S_V>(ScalarWrite(), VectorWrite());
    UbPair<HardEvent::S_MTE2>(ScalarWrite(), Load());
}

// Two that read are nobody's business, and the scalar unit takes one access after the other.
TEST(reads_do_not_race_and_neither_does_the_scalar_unit_with_itself) {
    Aiv aiv;
    const std::string code = CodeOf(aiv.Config(), [&] {
        TPipe pipe;
        Mark mark;
        const auto ub = Ub(pipe);
        const auto other = Ub(pipe);
        Duplicate(ub, 1.0F, kCount);
        All();
        for (const Access& access : {VectorRead(), StoreUb(), ScalarRead()}) {
            access.run(ub, other, aiv, mark);
        }
        All();
        ScalarWrite().run(ub, other, aiv, mark);
        ScalarRead().run(ub, other, aiv, mark);
        ScalarWrite().run(ub, other, aiv, mark);
    });
    CHECK_EQ(code, std::string());
}

// An event orders its own pipes, and only what its source was given before the set.
TEST(an_event_orders_its_own_pipes_from_the_set_to_the_wait) {
    Aiv aiv;
    const auto kernel = [&](const auto& before, const auto& after) {
        return [&, before, after](bool mended, Mark& mark) {
            TPipe pipe;
            const auto ub = Ub(pipe);
            const auto to = Ub(pipe);
            if (!mended) before();
            DataCopy(ub, Gm(aiv.in), kCount);
            if (mended) SetFlag<HardEvent::MTE2_V>(0);
            if (mended) WaitFlag<HardEvent::MTE2_V>(0);
            if (!mended) after();
            mark.Next();
            Muls(to, ub, 2.0F, kCount);
        };
    };
    const auto nothing = [] {};
    // The set is too early; the event is that of other pipes; the other direction; a barrier of
    // one of the pipes.
    Pair("pipe-race", {"Muls on V", "SetFlag<MTE2_V>"}, aiv.Config(),
         kernel([] { SetFlag<HardEvent::MTE2_V>(0); }, [] { WaitFlag<HardEvent::MTE2_V>(0); }));
    Pair("pipe-race", {"Muls on V"}, aiv.Config(),
         kernel(nothing, [] { Sync<HardEvent::MTE2_MTE3>(); }));
    Pair("pipe-race", {"Muls on V"}, aiv.Config(),
         kernel(nothing, [] { Sync<HardEvent::V_MTE2>(); }));
    Pair("pipe-race", {"Muls on V"}, aiv.Config(),
         kernel(nothing, [] { PipeBarrier<PIPE_MTE2>(); }));
    Pair("pipe-race", {"Muls on V"}, aiv.Config(), kernel(nothing, [] { PipeBarrier<PIPE_V>(); }));
    // A wait after the use orders nothing before it.
    Pair("pipe-race", {"Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Ub(pipe);
        const auto to = Ub(pipe);
        DataCopy(ub, Gm(aiv.in), kCount);
        SetFlag<HardEvent::MTE2_V>(0);
        if (mended) WaitFlag<HardEvent::MTE2_V>(0);
        mark.Next();
        Muls(to, ub, 2.0F, kCount);
        if (!mended) WaitFlag<HardEvent::MTE2_V>(0);
    });
}

// ---- pipe-race: two pipes of an AIC ----

// Fixpipe takes its scales from L1: an event of its own, in both directions.
TEST(scales_of_the_fixpipe_need_an_event) {
    std::vector<half> in(256, Half(1.0F));
    std::vector<uint64_t> words(16, 0x3F800000 | uint64_t{1} << 46);
    std::vector<int8_t> out(512);
    const auto config =
        Full(KernelKind::kAicOnly, {Input("in", in), Input("words", words), Output("out", out)});
    auto params = StoreRows(16);
    params.quantPre = VQF322B8_PRE;
    Pair("pipe-race", {"Fixpipe on FIX reads", "of L1", "MTE2_FIX"}, config,
         [&](bool mended, Mark& mark) {
             Cube cube;
             const auto scales = Allocate<kL1, uint64_t>(cube.pipe, 16);
             FillL0c(cube, in);
             DataCopy(scales, Gm(words), 16);
             Sync<HardEvent::MTE2_FIX>(mended);
             mark.Next();
             Fixpipe(Gm(out), cube.l0c, scales, params);
         });
    Pair("pipe-race", {"DataCopy on MTE2 writes", "of L1", "FIX_MTE2"}, config,
         [&](bool mended, Mark& mark) {
             Cube cube;
             const auto scales = Allocate<kL1, uint64_t>(cube.pipe, 16);
             FillL0c(cube, in);
             DataCopy(scales, Gm(words), 16);
             All();
             Fixpipe(Gm(out), cube.l0c, scales, params);
             Sync<HardEvent::FIX_MTE2>(mended);
             mark.Next();
             DataCopy(scales, Gm(words), 16);
         });
}

// ---- missing-barrier ----

// One instruction in place is one access; two of them are not.
TEST(an_instruction_in_place_is_in_order_with_itself) {
    Aiv aiv;
    Pair("missing-barrier", {"Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Ub(pipe);
        Duplicate(ub, 1.0F, kCount);
        PipeBarrier<PIPE_V>();
        Muls(ub, ub, 2.0F, kCount);
        if (mended) return;
        mark.Next();
        Muls(ub, ub, 2.0F, kCount);
    });
}

// What an instruction in place reads itself does not stand for what was read before it.
TEST(an_instruction_in_place_comes_after_earlier_reads) {
    Aiv aiv;
    Pair("missing-barrier", {"Muls on V", "which reads them"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto other = Ub(pipe);
             Duplicate(ub, 1.0F, kCount);
             PipeBarrier<PIPE_V>();
             Muls(other, ub, 2.0F, kCount);
             if (mended) PipeBarrier<PIPE_V>();
             mark.Next();
             Muls(ub, ub, 2.0F, kCount);
         });
}

// Other bytes need no barrier; PIPE_ALL and a round over another pipe do for one.
TEST(what_stands_in_for_a_barrier) {
    const auto code = [](const auto& between, bool other) {
        Aiv aiv;
        return CodeOf(aiv.Config(), [&] {
            TPipe pipe;
            const auto a = Ub(pipe);
            const auto b = Ub(pipe);
            Duplicate(a, 1.0F, kCount);
            between();
            Duplicate(other ? b : a, 1.0F, kCount);
        });
    };
    CHECK_EQ(code([] {}, true), std::string());
    CHECK_EQ(code([] { All(); }, false), std::string());
    CHECK_EQ(code(
                 [] {
                     Sync<HardEvent::V_MTE2>();
                     Sync<HardEvent::MTE2_V>();
                 },
                 false),
             std::string());
    CHECK_EQ(code([] { PipeBarrier<PIPE_MTE2>(); }, false), std::string("missing-barrier"));
    CHECK_EQ(code([] { Sync<HardEvent::V_MTE2>(); }, false), std::string("missing-barrier"));
}

// Mmad, constraints: below m / 16 * n / 16 = 10 a product that adds to the last one needs
// PipeBarrier<PIPE_M>; from 10 on the cube sees to it.
TEST(products_below_10_fractals_need_a_barrier) {
    const auto accumulate = [](Aic& aic, uint16_t rows, bool barrier, Mark& mark) {
        Cube cube(rows);
        DataCopy(cube.l1, Gm(aic.in), rows * 16u);
        All();
        LoadData(cube.l0a, cube.l1, Fractals(rows / 16u));
        LoadData(cube.l0b, cube.l1, Fractals());
        All();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(rows, 16, 16));
        if (barrier) PipeBarrier<PIPE_M>();
        mark.Next();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(rows, 16, 16, false));
    };
    Aic aic;
    for (const uint16_t rows : {16, 144}) {
        Pair("missing-barrier", {"Mmad on M reads", "of L0C", "PipeBarrier<PIPE_M>"}, aic.Config(),
             [&](bool mended, Mark& mark) { accumulate(aic, rows, mended, mark); });
    }
    CHECK_EQ(CodeOf(aic.Config(),
                    [&] {
                        Mark mark;
                        accumulate(aic, 160, false, mark);
                    }),
             std::string());
}

// ---- the scalar unit ----

// What the scalar unit has waited for is complete when it issues the next instruction of any pipe.
TEST(instructions_follow_what_the_scalar_unit_waited_for) {
    Aiv aiv;
    Pair("pipe-race", {"Muls on V reads"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Ub(pipe);
        const auto to = Ub(pipe);
        DataCopy(ub, Gm(aiv.in), kCount);
        SetFlag<HardEvent::MTE2_S>(0);
        if (mended) WaitFlag<HardEvent::MTE2_S>(0);
        mark.Next();
        Muls(to, ub, 2.0F, kCount);
        if (!mended) WaitFlag<HardEvent::MTE2_S>(0);
    });
    // But not what it wrote itself: UbPair<S_V> says so, and waiting for something else is no help.
    Pair("pipe-race", {"Muls on V reads", "SetValue on S"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto to = Ub(pipe);
             DataCopy(ub, Gm(aiv.in), kCount);
             Sync<HardEvent::MTE2_S>();
             ub.SetValue(0, 1.0F);
             Sync<HardEvent::V_S>(!mended);
             Sync<HardEvent::S_V>(mended);
             mark.Next();
             Muls(to, ub, 2.0F, kCount);
         });
}
