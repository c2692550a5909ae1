// What the sanitizer of the twin finds: for every check a kernel that is wrong and the same kernel
// put right.
// Pages: 同步控制/核内同步/{SetFlag-WaitFlag(ISASI), PipeBarrier(ISASI)},
//        同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI)},
//        矩阵计算（ISASI）/Mmad计算/Mmad,
//        Memory矢量计算/数据搬运/DataCopyPad（GMToUB非对齐数据搬运）.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::DataCopy;
using AscendC::DataCopyPad;
using AscendC::Duplicate;
using AscendC::Fixpipe;
using AscendC::GetBlockIdx;
using AscendC::GetSubBlockIdx;
using AscendC::HardEvent;
using AscendC::LoadData;
using AscendC::Mmad;
using AscendC::Muls;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;
using twin::SanitizeMode;
using twin::SyncCall;

namespace {

constexpr auto kUb = TPosition::VECCALC;
constexpr uint32_t kCount = 64;  ///< floats of a UB buffer in most kernels here: 256 bytes

/// The line that the report has to name: kernels call Next() right above it. What one core marks
/// another one may mark over, but a report stops all of them at its own line.
struct Mark {
    int line = 0;
    void Next(int here = __builtin_LINE()) { line = here + 1; }
};

twin::LaunchConfig Full(KernelKind kind, std::vector<GmTensor> tensors, uint32_t blocks = 1) {
    twin::LaunchConfig config = Config(kind, std::move(tensors), blocks);
    config.sanitize = SanitizeMode::kFull;
    return config;
}

/// `kernel(false, mark)` is reported as `code` at the mark, with every one of `parts`;
/// `kernel(true, mark)` is clean. The twin can be used after either.
template <typename Kernel>
void Pair(const std::string& code, std::initializer_list<std::string> parts,
          const twin::LaunchConfig& config, const Kernel& kernel,
          const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    Mark mark;
    const auto report = [&](bool holds, const std::string& what) {
        check::Report(holds, file, line, what);
    };
    try {
        twin::Launch(config, [&] { kernel(false, mark); });
        report(false, "no error; expected " + code);
    } catch (const twin::Error& error) {
        const std::string what = error.what();
        report(error.code == code, "expected " + code + ": " + what);
        report(error.file == file, "reported in " + error.file + ": " + what);
        report(error.line == mark.line, "expected line " + std::to_string(mark.line) + ": " + what);
        for (const std::string& part : parts) {
            report(what.find(part) != std::string::npos, "\"" + part + "\" is not in: " + what);
        }
    }
    report(TwinWorks(), "the twin does not work after the error");
    try {
        twin::Launch(config, [&] { kernel(true, mark); });
        report(true, "");
    } catch (const twin::Error& error) {
        report(false, std::string("the corrected kernel is not clean: ") + error.what());
    }
}

/// The code that `kernel` ends in, "" when it is clean.
template <typename Kernel>
std::string CodeOf(const twin::LaunchConfig& config, const Kernel& kernel) {
    try {
        twin::Launch(config, kernel);
    } catch (const twin::Error& error) {
        return error.code;
    }
    return "";
}

template <HardEvent event>
void Sync(bool on = true, int id = 0) {
    if (!on) return;
    SetFlag<event>(id);
    WaitFlag<event>(id);
}

void All() { PipeBarrier<PIPE_ALL>(); }

LocalTensor<float> Ub(TPipe& pipe) { return Allocate<kUb, float>(pipe, kCount); }

/// GM of a vector kernel.
struct Aiv {
    std::vector<float> in = std::vector<float>(4 * kCount, 1.0F);
    std::vector<float> out = std::vector<float>(4 * kCount, 0.0F);

    twin::LaunchConfig Config(KernelKind kind = KernelKind::kAivOnly) {
        return Full(kind, {Input("in", in), Output("out", out)});
    }
};

/// The buffers of a cube core for one product; A and B come from the same L1.
struct Cube {
    TPipe pipe;
    LocalTensor<half> l1, l0a, l0b;
    LocalTensor<float> l0c;

    explicit Cube(uint32_t rows = 16)
        : l1(Allocate<kL1, half>(pipe, rows * 16)),
          l0a(Allocate<kL0a, half>(pipe, rows * 16)),
          l0b(Allocate<kL0b, half>(pipe, 256)),
          l0c(Allocate<kL0c, float>(pipe, rows * 16)) {}
};

AscendC::LoadData2DParams Fractals(uint32_t count = 1) {
    AscendC::LoadData2DParams params;
    params.repeatTimes = static_cast<uint8_t>(count);
    params.srcStride = 1;
    return params;
}

AscendC::FixpipeParamsV220 StoreRows(uint16_t rows) {
    AscendC::FixpipeParamsV220 params;
    params.nSize = 16;
    params.mSize = rows;
    params.srcStride = static_cast<uint16_t>(Blocks(rows, 16) * 16);
    params.dstStride = 16;
    return params;
}

/// A product of 16 x 16 in L0C, everything before it complete.
void FillL0c(Cube& cube, std::vector<half>& in) {
    DataCopy(cube.l1, Gm(in), 256);
    All();
    LoadData(cube.l0a, cube.l1, Fractals());
    LoadData(cube.l0b, cube.l1, Fractals());
    All();
    Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16));
    All();
}

struct Aic {
    std::vector<half> in = std::vector<half>(16 * 256, Half(1.0F));
    std::vector<float> out = std::vector<float>(4 * 256, 0.0F);

    twin::LaunchConfig Config(KernelKind kind = KernelKind::kAicOnly, uint32_t blocks = 1) {
        return Full(kind, {Input("in", in), Output("out", out)}, blocks);
    }
};

}  // namespace

// ---- uninitialised ----

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

// Of two loads the event of the first does not cover the second; ids are told apart.
TEST(an_event_covers_what_was_issued_before_it) {
    Aiv aiv;
    Pair("pipe-race", {"Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto first = Ub(pipe);
        const auto second = Ub(pipe);
        const auto to = Ub(pipe);
        DataCopy(first, Gm(aiv.in), kCount);
        SetFlag<HardEvent::MTE2_V>(0);
        DataCopy(second, Gm(aiv.in), kCount);
        SetFlag<HardEvent::MTE2_V>(1);
        WaitFlag<HardEvent::MTE2_V>(0);
        if (mended) WaitFlag<HardEvent::MTE2_V>(1);
        mark.Next();
        Muls(to, second, 2.0F, kCount);
        if (!mended) WaitFlag<HardEvent::MTE2_V>(1);
    });
}

// GM between the two transfer pipes of one core.
TEST(two_pipes_meet_in_gm) {
    Aiv aiv;
    Pair("pipe-race", {"DataCopy on MTE2 reads", "GM tensor 'out'", "MTE3"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto other = Ub(pipe);
             Duplicate(ub, 1.0F, kCount);
             Sync<HardEvent::V_MTE3>();
             DataCopy(Gm(aiv.out), ub, kCount);
             Sync<HardEvent::MTE3_MTE2>(mended);
             mark.Next();
             DataCopy(other, Gm(aiv.out), kCount);
         });
    Pair("pipe-race", {"DataCopy on MTE3 writes", "GM tensor 'out'", "which reads them"},
         aiv.Config(), [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto other = Ub(pipe);
             Duplicate(ub, 1.0F, kCount);
             Sync<HardEvent::V_MTE3>();
             DataCopy(other, Gm(aiv.out), kCount);
             Sync<HardEvent::MTE2_MTE3>(mended);
             mark.Next();
             DataCopy(Gm(aiv.out), ub, kCount);
         });
}

// One memory under two names, as an op that works in place registers it.
TEST(two_tensors_of_one_memory_are_one) {
    Aiv aiv;
    auto config = Full(KernelKind::kAivOnly, {Input("x", aiv.out), Output("y", aiv.out)});
    Pair("pipe-race", {"DataCopy on MTE2 reads"}, config, [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Ub(pipe);
        const auto other = Ub(pipe);
        Duplicate(ub, 1.0F, kCount);
        Sync<HardEvent::V_MTE3>();
        DataCopy(Gm(aiv.out), ub, kCount);
        Sync<HardEvent::MTE3_MTE2>(mended);
        mark.Next();
        DataCopy(other, Gm(aiv.out), kCount);
    });
}

// ---- pipe-race: two pipes of an AIC ----

namespace {

/// A matrix product with each of its hand-overs present or not, in both turns of the loop.
enum class Step { kMte2Mte1, kMte1M, kMFix, kMte1Mte2, kMMte1, kFixM, kNone };

void ProductLoop(Aic& aic, Step missing, Mark& mark) {
    Cube cube;
    for (int turn = 0; turn < 2; ++turn) {
        const bool again = turn == 1;
        Sync<HardEvent::MTE1_MTE2>(again && missing != Step::kMte1Mte2);
        if (again) PipeBarrier<PIPE_MTE2>();
        mark.Next();
        DataCopy(cube.l1, Gm(aic.in), 256);
        Sync<HardEvent::MTE2_MTE1>(missing != Step::kMte2Mte1);
        Sync<HardEvent::M_MTE1>(again && missing != Step::kMMte1);
        if (again) PipeBarrier<PIPE_MTE1>();
        mark.Next();
        LoadData(cube.l0a, cube.l1, Fractals());
        mark.Next();
        LoadData(cube.l0b, cube.l1, Fractals());
        Sync<HardEvent::MTE1_M>(missing != Step::kMte1M);
        Sync<HardEvent::FIX_M>(again && missing != Step::kFixM);
        if (again) PipeBarrier<PIPE_M>();
        mark.Next();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16));
        Sync<HardEvent::M_FIX>(missing != Step::kMFix);
        mark.Next();
        Fixpipe(Gm(aic.out)[turn * 256], cube.l0c, StoreRows(16));
    }
}

}  // namespace

TEST(every_hand_over_of_a_product_needs_its_event) {
    const auto without = [](Step missing, std::initializer_list<std::string> parts) {
        Aic aic;
        Pair("pipe-race", parts, aic.Config(), [&](bool mended, Mark& mark) {
            ProductLoop(aic, mended ? Step::kNone : missing, mark);
        });
    };
    without(Step::kMte2Mte1, {"LoadData on MTE1 reads", "of L1", "SetFlag<MTE2_MTE1>"});
    without(Step::kMte1M, {"Mmad on M reads", "of L0A", "SetFlag<MTE1_M>"});
    without(Step::kMFix, {"Fixpipe on FIX reads", "of L0C", "SetFlag<M_FIX>"});
    without(Step::kFixM, {"Mmad on M writes", "of L0C", "which reads them", "SetFlag<FIX_M>"});
    without(Step::kMMte1, {"LoadData on MTE1 writes", "of L0A", "which reads them"});
    without(Step::kMte1Mte2, {"DataCopy on MTE2 writes", "of L1", "which reads them"});
}

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

TEST(vector_after_vector_needs_a_barrier) {
    const auto pair = [](std::initializer_list<std::string> parts, const auto& first,
                         const auto& second) {
        Aiv aiv;
        Pair("missing-barrier", parts, aiv.Config(), [&](bool mended, Mark& mark) {
            TPipe pipe;
            const auto a = Ub(pipe);
            const auto b = Ub(pipe);
            Duplicate(a, 1.0F, kCount);
            Duplicate(b, 1.0F, kCount);
            PipeBarrier<PIPE_V>();
            first(a, b);
            if (mended) PipeBarrier<PIPE_V>();
            second(a, b, mark);
        });
    };
    using Tensor = LocalTensor<float>;
    const auto write_a = [](const Tensor& a, const Tensor&) { Duplicate(a, 2.0F, kCount); };
    const auto read_a = [](const Tensor& a, const Tensor& b) { Muls(b, a, 2.0F, kCount); };
    const auto then_write_a = [](const Tensor& a, const Tensor&, Mark& mark) {
        mark.Next();
        Duplicate(a, 3.0F, kCount);
    };
    const auto then_read_a = [](const Tensor& a, const Tensor& b, Mark& mark) {
        mark.Next();
        Muls(b, a, 2.0F, kCount);
    };
    pair({"Muls on V reads", "which writes them", "PipeBarrier<PIPE_V>"}, write_a, then_read_a);
    pair({"Duplicate on V writes", "which reads them"}, read_a, then_write_a);
    pair({"Duplicate on V writes", "which writes them"}, write_a, then_write_a);
}

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

TEST(a_transfer_onto_an_earlier_one_needs_a_barrier) {
    Aiv aiv;
    Pair("missing-barrier", {"DataCopy on MTE2 writes", "PipeBarrier<PIPE_MTE2>"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             DataCopy(ub, Gm(aiv.in), kCount);
             if (mended) PipeBarrier<PIPE_MTE2>();
             mark.Next();
             DataCopy(ub, Gm(aiv.in)[kCount], kCount);
         });
    Pair("missing-barrier", {"DataCopy on MTE3 writes", "GM tensor 'out'"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             Duplicate(ub, 1.0F, kCount);
             Sync<HardEvent::V_MTE3>();
             DataCopy(Gm(aiv.out), ub, kCount);
             if (mended) PipeBarrier<PIPE_MTE3>();
             mark.Next();
             DataCopy(Gm(aiv.out)[8], ub, 8);
         });
    Aic aic;
    Pair("missing-barrier", {"LoadData on MTE1 writes", "of L0A"}, aic.Config(),
         [&](bool mended, Mark& mark) {
             Cube cube;
             DataCopy(cube.l1, Gm(aic.in), 256);
             Sync<HardEvent::MTE2_MTE1>();
             LoadData(cube.l0a, cube.l1, Fractals());
             if (mended) PipeBarrier<PIPE_MTE1>();
             mark.Next();
             LoadData(cube.l0a, cube.l1, Fractals());
         });
    Pair("missing-barrier", {"Fixpipe on FIX writes", "GM tensor 'out'"}, aic.Config(),
         [&](bool mended, Mark& mark) {
             Cube cube;
             FillL0c(cube, aic.in);
             Fixpipe(Gm(aic.out), cube.l0c, StoreRows(16));
             if (mended) PipeBarrier<PIPE_FIX>();
             mark.Next();
             Fixpipe(Gm(aic.out), cube.l0c, StoreRows(16));
         });
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

// ---- core-race ----

namespace {

/// An AIV of a group: UB full of ones, complete.
LocalTensor<float> Ones(TPipe& pipe) {
    const auto ub = Ub(pipe);
    Duplicate(ub, 1.0F, kCount);
    All();
    return ub;
}

}  // namespace

// Two AICs, through the fixpipe and mode 0.
TEST(an_aic_reads_what_another_one_stores) {
    Aic aic;
    Pair("core-race",
         {"DataCopy (ND2NZ) on MTE2 reads", "GM tensor 'out'", "Fixpipe on FIX of AIC 0"},
         aic.Config(KernelKind::kMixAic1Aiv2, 2), [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIV
                 return;
             Cube cube;
             if (GetBlockIdx() == 0) {
                 FillL0c(cube, aic.in);
                 Fixpipe(Gm(aic.out), cube.l0c, StoreRows(16));
             }
             if (mended) {
                 CrossCoreSetFlag<0, PIPE_FIX>(0);
                 CrossCoreWaitFlag(0);
             }
             if (GetBlockIdx() == 0) return;
             const auto l1 = Allocate<kL1, float>(cube.pipe, 256);
             mark.Next();
             DataCopy(l1, Gm(aic.out), WholeMatrix(16, 16));
         });
}

// AIC -> AIV: the flag is missing, on another pipe than the store, before the store, waited for by
// one AIV only, or waited for after the load.
TEST(an_aiv_reads_what_its_aic_stores) {
    enum class Fault { kNone, kNoFlag, kOtherPipe, kSetEarly, kOneWaits, kWaitLate };
    for (const Fault fault : {Fault::kNoFlag, Fault::kOtherPipe, Fault::kSetEarly, Fault::kOneWaits,
                              Fault::kWaitLate}) {
        Aic aic;
        const std::string core = fault == Fault::kOneWaits ? "AIV 1" : "AIV 0";
        Pair(
            "core-race", {"DataCopy on MTE2 reads", "GM tensor 'out'", "CrossCoreSetFlag", core},
            aic.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
                const Fault now = mended ? Fault::kNone : fault;
                if ASCEND_IS_AIC {
                    Cube cube;
                    FillL0c(cube, aic.in);
                    if (now == Fault::kSetEarly) CrossCoreSetFlag<2, PIPE_FIX>(0);
                    Fixpipe(Gm(aic.out), cube.l0c, StoreRows(16));
                    if (now == Fault::kOtherPipe) CrossCoreSetFlag<2, PIPE_MTE2>(0);
                    if (now == Fault::kNone || now == Fault::kOneWaits || now == Fault::kWaitLate) {
                        CrossCoreSetFlag<2, PIPE_FIX>(0);
                    }
                    return;
                }
                TPipe pipe;
                const auto ub = Ub(pipe);
                const bool waits = now != Fault::kNoFlag && now != Fault::kWaitLate &&
                                   !(now == Fault::kOneWaits && GetSubBlockIdx() == 1);
                if (waits) CrossCoreWaitFlag(0);
                mark.Next();
                DataCopy(ub, Gm(aic.out), kCount);
                if (now == Fault::kWaitLate) CrossCoreWaitFlag(0);
            });
    }
}

// The two AIVs of a group, mode 1; a flag behind the wrong pipe is none.
TEST(an_aiv_reads_what_the_other_one_stores) {
    for (const bool wrong_pipe : {false, true}) {
        Aiv aiv;
        Pair("core-race", {"DataCopy on MTE2 reads", "DataCopy on MTE3 of AIV 0", "AIV 1"},
             aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
                 if ASCEND_IS_AIC
                     return;
                 TPipe pipe;
                 const auto ub = Ones(pipe);
                 if (GetSubBlockIdx() == 0) DataCopy(Gm(aiv.out), ub, kCount);
                 if (mended) {
                     CrossCoreSetFlag<1, PIPE_MTE3>(0);
                 } else if (wrong_pipe) {
                     CrossCoreSetFlag<1, PIPE_MTE2>(0);
                 }
                 if (mended || wrong_pipe) CrossCoreWaitFlag(0);
                 if (GetSubBlockIdx() == 0) return;
                 mark.Next();
                 DataCopy(ub, Gm(aiv.out), kCount);
             });
    }
}

// AIV -> AIC. Without flags the AIC comes first in the twin: the report names the AIV then, which
// writes what has been read.
TEST(an_aic_and_an_aiv_meet_in_gm_whoever_comes_first) {
    std::vector<half> ground(256, Half(1.0F));
    const auto config = Full(KernelKind::kMixAic1Aiv2, {Output("ground", ground)});
    const auto load = [&](TPipe& pipe, Mark& mark) {
        const auto l1 = Allocate<kL1, half>(pipe, 256);
        mark.Next();
        DataCopy(l1, Gm(ground), 256);
    };
    const auto store = [&](TPipe& pipe, Mark& mark) {
        const auto ub = Allocate<kUb, half>(pipe, 128);
        Duplicate(ub, Half(2.0F), 128);
        Sync<HardEvent::V_MTE3>();
        mark.Next();
        DataCopy(Gm(ground)[GetSubBlockIdx() * 128], ub, 128);
    };
    Pair("core-race", {"DataCopy on MTE3 writes", "which reads them", "AIV 0"}, config,
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             if ASCEND_IS_AIC {
                 if (mended) CrossCoreWaitFlag(0);
                 load(pipe, mark);
             } else {
                 store(pipe, mark);
                 if (mended) CrossCoreSetFlag<2, PIPE_MTE3>(0);
             }
         });
    // The other way round: the AIVs overwrite what the AIC has read.
    Pair("core-race", {"DataCopy on MTE3 writes", "which reads them"}, config,
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             if ASCEND_IS_AIC {
                 if (!mended) CrossCoreSetFlag<2, PIPE_MTE2>(0);  // before the load
                 load(pipe, mark);
                 if (mended) CrossCoreSetFlag<2, PIPE_MTE2>(0);
             } else {
                 CrossCoreWaitFlag(0);
                 store(pipe, mark);
             }
         });
}

TEST(two_cores_that_write_the_same_bytes_race) {
    Aiv aiv;
    Pair("core-race", {"writes", "which writes them", "AIV 1"},
         aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIC
                 return;
             TPipe pipe;
             const auto ub = Ones(pipe);
             const int64_t first = mended ? GetSubBlockIdx() * kCount : 0;
             mark.Next();
             DataCopy(Gm(aiv.out)[first], ub, kCount);
         });
}

// The words of a 32-byte block may belong to two cores, and so may the bytes of a word: a transfer
// writes the bytes that it names.
TEST(cores_may_share_a_block_of_gm) {
    Aiv aiv;
    const auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    const auto kernel = [&](uint32_t bytes, uint32_t apart) {
        return [&, bytes, apart] {
            if ASCEND_IS_AIC
                return;
            TPipe pipe;
            const auto ub = Allocate<kUb, half>(pipe, 16);
            Duplicate(ub, Half(1.0F), 16);
            Sync<HardEvent::V_MTE3>();
            const auto to = GmAt<half>(aiv.out, GetSubBlockIdx() * apart);
            DataCopyPad(to, ub, {1, bytes, 0, 0, 0});
        };
    };
    CHECK_EQ(CodeOf(config, kernel(16, 16)), std::string());
    CHECK_EQ(CodeOf(config, kernel(4, 4)), std::string());
    CHECK_EQ(CodeOf(config, kernel(8, 4)), std::string("core-race"));
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

// ---- order through a third party ----

TEST(order_goes_through_a_third_pipe) {
    Aiv aiv;
    Pair("pipe-race", {"DataCopy on MTE3 reads", "DataCopy on MTE2"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             DataCopy(ub, Gm(aiv.in), kCount);
             // Each event is there in both; in this order V hands on what it does not have yet.
             if (!mended) Sync<HardEvent::V_MTE3>();
             Sync<HardEvent::MTE2_V>();
             if (mended) Sync<HardEvent::V_MTE3>();
             mark.Next();
             DataCopy(Gm(aiv.out), ub, kCount);
         });
}

// AIV 0 -> AIC -> AIV 1, which never hears of AIV 0 otherwise.
TEST(order_goes_through_a_third_core) {
    Aiv aiv;
    Pair("core-race", {"DataCopy on MTE2 reads", "on MTE3 of AIV 0", "AIV 1"},
         aiv.Config(KernelKind::kMixAic1Aiv2), [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIC {
                 if (mended) CrossCoreWaitFlag(0);
                 CrossCoreSetFlag<2, PIPE_FIX>(1);
                 if (!mended) CrossCoreWaitFlag(0);
                 return;
             }
             TPipe pipe;
             const auto ub = Ones(pipe);
             if (GetSubBlockIdx() == 0) DataCopy(Gm(aiv.out), ub, kCount);
             CrossCoreSetFlag<2, PIPE_MTE3>(0);
             CrossCoreWaitFlag(1);
             if (GetSubBlockIdx() == 0) return;
             mark.Next();
             DataCopy(ub, Gm(aiv.out), kCount);
         });
}

// The same two ids over and over, two buffers in turn; without the events that hand the buffers
// back the second round overwrites what is still in use.
TEST(events_are_used_again_in_a_loop) {
    Aiv aiv;
    Pair("pipe-race", {"DataCopy on MTE2 writes", "V_MTE2"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const LocalTensor<float> in[] = {Ub(pipe), Ub(pipe)};
             const LocalTensor<float> out[] = {Ub(pipe), Ub(pipe)};
             for (int id = 0; id < 2; ++id) {
                 SetFlag<HardEvent::V_MTE2>(id);
                 SetFlag<HardEvent::MTE3_V>(id);
             }
             for (int i = 0; i < 6; ++i) {
                 const int id = i % 2;
                 if (mended || i < 2) WaitFlag<HardEvent::V_MTE2>(id);
                 PipeBarrier<PIPE_MTE2>();
                 mark.Next();
                 DataCopy(in[id], Gm(aiv.in), kCount);
                 Sync<HardEvent::MTE2_V>(true, id);
                 WaitFlag<HardEvent::MTE3_V>(id);
                 PipeBarrier<PIPE_V>();
                 Muls(out[id], in[id], 2.0F, kCount);
                 if (mended) SetFlag<HardEvent::V_MTE2>(id);
                 Sync<HardEvent::V_MTE3>(true, id);
                 PipeBarrier<PIPE_MTE3>();
                 DataCopy(Gm(aiv.out)[id * kCount], out[id], kCount);
                 SetFlag<HardEvent::MTE3_V>(id);
             }
             for (int id = 0; id < 2; ++id) {
                 WaitFlag<HardEvent::V_MTE2>(id);
                 WaitFlag<HardEvent::MTE3_V>(id);
             }
         });
}

// Sets count up: every round of waits takes what its own set knew, not what a later one does.
TEST(a_signal_knows_what_was_complete_at_its_set) {
    Aiv aiv;
    Pair("core-race", {"DataCopy on MTE2 reads", "AIV 1"}, aiv.Config(KernelKind::kMixAic1Aiv2),
         [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIC
                 return;
             TPipe pipe;
             const auto ub = Ones(pipe);
             for (int round = 0; round < 2; ++round) {
                 if (GetSubBlockIdx() == 0) DataCopy(Gm(aiv.out)[round * kCount], ub, kCount);
                 CrossCoreSetFlag<1, PIPE_MTE3>(0);
             }
             CrossCoreWaitFlag(0);
             if (mended) CrossCoreWaitFlag(0);
             if (GetSubBlockIdx() == 1) {
                 mark.Next();
                 DataCopy(ub, Gm(aiv.out)[kCount], kCount);
             }
             if (!mended) CrossCoreWaitFlag(0);
         });
}

// ---- modes ----

TEST(each_mode_looks_for_its_own) {
    Aiv aiv;
    const auto code = [&](SanitizeMode mode, const auto& kernel) {
        auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
        config.sanitize = mode;
        return CodeOf(config, [&] {
            if ASCEND_IS_AIC
                return;
            TPipe pipe;
            kernel(pipe);
        });
    };
    const auto pipe_race = [&](TPipe& pipe) {
        const auto ub = Ub(pipe);
        const auto to = Ub(pipe);
        DataCopy(ub, Gm(aiv.in), kCount);
        Muls(to, ub, 2.0F, kCount);
    };
    const auto no_barrier = [&](TPipe& pipe) {
        const auto ub = Ub(pipe);
        Duplicate(ub, 1.0F, kCount);
        Duplicate(ub, 1.0F, kCount);
    };
    const auto core_race = [&](TPipe& pipe) { DataCopy(Gm(aiv.out), Ones(pipe), kCount); };
    const auto unwritten = [&](TPipe& pipe) { Muls(Ub(pipe), Ub(pipe), 2.0F, kCount); };
    for (const auto mode : {SanitizeMode::kOff, SanitizeMode::kMemory, SanitizeMode::kFull}) {
        const bool full = mode == SanitizeMode::kFull;
        const bool off = mode == SanitizeMode::kOff;
        CHECK_EQ(code(mode, pipe_race), std::string(full ? "pipe-race" : ""));
        CHECK_EQ(code(mode, no_barrier), std::string(full ? "missing-barrier" : ""));
        CHECK_EQ(code(mode, core_race), std::string(full ? "core-race" : ""));
        CHECK_EQ(code(mode, unwritten), std::string(off ? "" : "uninitialised"));
    }
}

// ---- LaunchConfig::{sync_calls, disabled} ----

namespace {

/// Every kind of synchronisation call, each of them needed.
void Synchronised(Aiv& aiv) {
    if ASCEND_IS_AIC {
        CrossCoreWaitFlag(0);
        return;
    }
    TPipe pipe;
    const auto ub = Ub(pipe);
    if (GetSubBlockIdx() == 0) {
        DataCopy(ub, Gm(aiv.in), kCount);
        SetFlag<HardEvent::MTE2_V>(0);
        WaitFlag<HardEvent::MTE2_V>(0);
        Muls(ub, ub, 2.0F, kCount);
        PipeBarrier<PIPE_V>();
        Muls(ub, ub, 2.0F, kCount);
        PipeBarrier<PIPE_ALL>();
        DataCopy(Gm(aiv.out), ub, kCount);
    }
    CrossCoreSetFlag<1, PIPE_MTE3>(1);
    CrossCoreWaitFlag(1);
    if (GetSubBlockIdx() == 1) DataCopy(ub, Gm(aiv.out), kCount);
    CrossCoreSetFlag<2, PIPE_MTE2>(0);
}

}  // namespace

TEST(sync_calls_lists_what_was_reached) {
    Aiv aiv;
    auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    std::set<SyncCall> calls;
    config.sync_calls = &calls;
    twin::Launch(config, [&] { Synchronised(aiv); });
    std::multiset<std::string> kinds;
    for (const SyncCall& call : calls) {
        kinds.insert(call.kind);
        CHECK(call.site.find("test_twin_sanitizer.cpp:") != std::string::npos);
        CHECK(call.after == "start" ||
              call.after.find("test_twin_sanitizer.cpp:") != std::string::npos);
    }
    // Both AIVs reach the last calls, each behind an instruction of its own.
    CHECK_EQ(kinds,
             (std::multiset<std::string>{"CrossCoreSetFlag<1, MTE3>", "CrossCoreSetFlag<1, MTE3>",
                                         "CrossCoreSetFlag<2, MTE2>", "CrossCoreSetFlag<2, MTE2>",
                                         "CrossCoreWaitFlag", "CrossCoreWaitFlag",
                                         "CrossCoreWaitFlag", "PipeBarrier<ALL>", "PipeBarrier<V>",
                                         "SetFlag<MTE2_V>", "WaitFlag<MTE2_V>"}));
    // A launch adds to the set, and lists without the sanitizer too.
    std::set<SyncCall> again;
    config.sync_calls = &again;
    config.sanitize = SanitizeMode::kOff;
    twin::Launch(config, [&] { Synchronised(aiv); });
    CHECK_EQ(again.size(), calls.size());
    CHECK(std::equal(again.begin(), again.end(), calls.begin(),
                     [](const auto& a, const auto& b) { return !(a < b) && !(b < a); }));
}

// Without any one of its calls the kernel is reported.
TEST(a_disabled_call_is_missed) {
    Aiv aiv;
    auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    std::set<SyncCall> calls;
    config.sync_calls = &calls;
    twin::Launch(config, [&] { Synchronised(aiv); });
    config.sync_calls = nullptr;
    for (const SyncCall& call : calls) {
        config.disabled = &call;
        const std::string code = CodeOf(config, [&] { Synchronised(aiv); });
        const auto is = [&](const char* kind) { return call.kind.find(kind) == 0; };
        const std::set<std::string> expected =
            is("PipeBarrier<V>")     ? std::set<std::string>{"missing-barrier"}
            : is("PipeBarrier<ALL>") ? std::set<std::string>{"pipe-race"}
            : is("SetFlag")          ? std::set<std::string>{"unpaired-event"}
            : is("WaitFlag")         ? std::set<std::string>{"pipe-race"}
            : is("CrossCoreSetFlag")
                ? std::set<std::string>{"deadlock"}
                : std::set<std::string>{"core-race", "unpaired-cross-core-flag"};
        check::Report(expected.count(code) == 1, __FILE__, __LINE__,
                      "without " + call.kind + " at " + call.site + ": \"" + code + "\"");
        CHECK(TwinWorks());
    }
}

// Two calls of one kind on one line are told apart by what comes before them; all others go on.
TEST(exactly_one_call_is_disabled) {
    Aiv aiv;
    auto config = aiv.Config();
    int first = 0;
    int second = 0;
    const auto barrier = [] { PipeBarrier<PIPE_V>(); };
    const auto kernel = [&] {
        TPipe pipe;
        const auto ub = Ub(pipe);
        first = __LINE__ + 1;
        Duplicate(ub, 1.0F, kCount);
        barrier();
        second = __LINE__ + 1;
        Muls(ub, ub, 2.0F, kCount);
        barrier();
        Muls(ub, ub, 3.0F, kCount);
    };
    std::set<SyncCall> calls;
    config.sync_calls = &calls;
    CHECK_EQ(CodeOf(config, kernel), std::string());
    CHECK_EQ(calls.size(), 2u);
    const auto after = [](int line) { return __FILE__ + (":" + std::to_string(line)); };
    for (const SyncCall& call : calls) {
        CHECK(call.after == after(first) || call.after == after(second));
        config.disabled = &call;
        try {
            twin::Launch(config, kernel);
            CHECK(false);
        } catch (const twin::Error& error) {
            CHECK_EQ(error.code, std::string("missing-barrier"));
            // The instruction behind the call that is missing.
            CHECK_EQ(error.line, call.after == after(first) ? second : second + 2);
        }
    }
    // One that no core reaches changes nothing.
    const SyncCall unknown{"PipeBarrier<V>", calls.begin()->site, "start"};
    config.disabled = &unknown;
    CHECK_EQ(CodeOf(config, kernel), std::string());
}
