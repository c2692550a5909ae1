// SetAtomicAdd, SetAtomicMax, SetAtomicMin and SetAtomicNone.
// Pages: 原子操作/{SetAtomicAdd, SetAtomicMax(ISASI), SetAtomicMin(ISASI), 关键特性说明}.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

using namespace fixture;
using AscendC::SetAtomicAdd;
using AscendC::SetAtomicMax;
using AscendC::SetAtomicMin;
using AscendC::SetAtomicNone;

namespace {

/// `added` onto `there`, which has 32 bytes, by a DataCopy after `set`.
template <typename T, typename Set>
std::vector<T> After(std::vector<T> there, std::vector<T> added, const Set& set) {
    OnAiv({Input("added", added), Output("there", there)}, [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, T>(pipe, 32 / sizeof(T));
        DataCopy(ub, Gm(added), 32 / sizeof(T));
        All();
        set();
        DataCopy(Gm(there), ub, 32 / sizeof(T));
    });
    return there;
}

/// The first element of that, all elements being alike.
template <typename T, typename Set>
T One(T there, T added, const Set& set) {
    constexpr size_t kElements = 32 / sizeof(T);
    const auto all = After(std::vector<T>(kElements, there), std::vector<T>(kElements, added), set);
    for (const T& value : all) CHECK_EQ(std::memcmp(&value, &all[0], sizeof(T)), 0);
    return all[0];
}

template <typename T>
void Integers(T there, T added, T sum) {
    CHECK_EQ(int{One<T>(there, added, [] { SetAtomicAdd<T>(); })}, int{sum});
    CHECK_EQ(int{One<T>(there, added, [] { SetAtomicMax<T>(); })}, int{std::max(there, added)});
    CHECK_EQ(int{One<T>(there, added, [] { SetAtomicMin<T>(); })}, int{std::min(there, added)});
    CHECK_EQ(int{One<T>(there, added, [] {})}, int{added});
}

template <typename T>
uint32_t Bits(T value) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <typename T>
void Floats(T there, T added, T sum, T most, T least) {
    CHECK_EQ(Bits(One<T>(there, added, [] { SetAtomicAdd<T>(); })), Bits(sum));
    CHECK_EQ(Bits(One<T>(there, added, [] { SetAtomicMax<T>(); })), Bits(most));
    CHECK_EQ(Bits(One<T>(there, added, [] { SetAtomicMin<T>(); })), Bits(least));
}

}  // namespace

TEST(atomics_of_every_type) {
    Integers<int8_t>(100, 27, 127);
    Integers<int8_t>(-100, -28, -128);
    Integers<int16_t>(-5, 32000, 31995);
    Integers<int32_t>(2000000000, -7, 1999999993);
    Floats(1.5F, -2.25F, -0.75F, 1.5F, -2.25F);
    Floats(Half(1.5F), Half(-2.25F), Half(-0.75F), Half(1.5F), Half(-2.25F));
    Floats(Bf16(1.5F), Bf16(-2.25F), Bf16(-0.75F), Bf16(1.5F), Bf16(-2.25F));
    // Half way between two neighbours: 2049 to 2048, 2051 to 2052; 257 to 256, 259 to 260.
    Floats(Half(2048), Half(1), Half(2048), Half(2048), Half(1));
    Floats(Half(2050), Half(1), Half(2052), Half(2050), Half(1));
    Floats(Bf16(256), Bf16(1), Bf16(256), Bf16(256), Bf16(1));
    Floats(Bf16(258), Bf16(1), Bf16(260), Bf16(258), Bf16(1));
    Floats(16777216.0F, 1.0F, 16777216.0F, 16777216.0F, 1.0F);
}

TEST(elements_are_updated_one_by_one) {
    const auto sums = After<int32_t>({1, 2, 3, 4, 5, 6, 7, 8}, {10, 20, 30, 40, 50, 60, 70, 80},
                                     [] { SetAtomicAdd<int32_t>(); });
    CHECK_EQ(sums, (std::vector<int32_t>{11, 22, 33, 44, 55, 66, 77, 88}));
}

// Nothing says whether a sum beyond the type wraps or saturates.
TEST(sums_beyond_their_type_are_reported) {
    Breaks("integer-overflow", {"SetAtomicAdd<int8_t>", "100 + 28"},
           [] { One<int8_t>(100, 28, [] { SetAtomicAdd<int8_t>(); }); });
    Breaks("integer-overflow", {"-32768 + -1"},
           [] { One<int16_t>(-32768, -1, [] { SetAtomicAdd<int16_t>(); }); });
}

// The last one holds; each core has its own.
TEST(an_atomic_holds_until_the_next) {
    CHECK_EQ(One<int32_t>(5, 3,
                          [] {
                              SetAtomicAdd<int32_t>();
                              SetAtomicMax<int32_t>();
                          }),
             5);
    CHECK_EQ(One<int32_t>(5, 3,
                          [] {
                              SetAtomicAdd<int32_t>();
                              SetAtomicNone();
                          }),
             3);
    std::vector<int32_t> out(16, 1);
    twin::Launch(Config(KernelKind::kAivOnly, {Output("out", out)}, 2), [&] {
        TPipe pipe;
        const auto ub = Allocate<kUb, int32_t>(pipe, 8);
        Duplicate(ub, int32_t{4}, 8);
        All();
        if (GetBlockIdx() == 0) SetAtomicAdd<int32_t>();
        for (int i = 0; i < 2; ++i) {
            DataCopy(Gm(out)[GetBlockIdx() * 8], ub, 8);
            PipeBarrier<PIPE_MTE3>();
        }
    });
    CHECK_EQ(out[0], 9);
    CHECK_EQ(out[8], 4);
}

// DataCopyPad stores the bytes that it names, and the fixpipe what it has converted.
TEST(every_way_to_gm_is_atomic) {
    Aiv aiv;
    std::vector<float> out(8, 1.0F);
    OnAiv({Output("out", out)}, [&] {
        TPipe pipe;
        const auto ub = Ones(pipe);
        SetAtomicAdd<float>();
        DataCopyPad(Gm(out), ub, {1, 12, 0, 0, 0});
    });
    CHECK_EQ(out, (std::vector<float>{2, 2, 2, 1, 1, 1, 1, 1}));

    Aic aic;
    std::vector<float> products(512, 3.0F);
    OnAic({Input("in", aic.in), Output("products", products)}, [&] {
        Cube cube;
        FillL0c(cube, aic.in);
        SetAtomicAdd<float>();
        Fixpipe(Gm(products), cube.l0c, StoreRows(16));
        SetAtomicMax<float>();
        Fixpipe(Gm(products)[256], cube.l0c, StoreRows(16));
    });
    CHECK_EQ(products[0], 19.0F);
    CHECK_EQ(products[255], 19.0F);
    CHECK_EQ(products[256], 16.0F);
}

TEST(an_atomic_has_the_type_of_what_is_stored) {
    Aiv aiv;
    Pair("parameter-range", {"stores float", "int32_t"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             SetAtomicAdd<int32_t>();
             if (mended) SetAtomicAdd<float>();
             mark.Next();
             DataCopy(Gm(aiv.out), ub, kCount);
         });
}

// Updates of one kind and type come in any order; everything else takes a flag.
TEST(updates_race_with_all_but_their_like) {
    enum class Second { kAdd, kMax, kOtherType, kStore, kLoad };
    for (const Second second :
         {Second::kAdd, Second::kMax, Second::kOtherType, Second::kStore, Second::kLoad}) {
        for (const bool flag : {false, true}) {
            Aiv aiv;
            const auto config = Full(KernelKind::kMixAiv1Aic0, {Output("out", aiv.out)}, 3);
            const std::string code = CodeOf(config, [&] {
                TPipe pipe;
                const auto ub = Ones(pipe);
                const auto ints = Allocate<kUb, int32_t>(pipe, kCount);
                Duplicate(ints, int32_t{1}, kCount);
                All();
                SetAtomicAdd<float>();
                const bool last = GetBlockIdx() == 2;
                if (!last) DataCopy(Gm(aiv.out), ub, kCount);
                if (flag) {
                    CrossCoreSetFlag<0, PIPE_MTE3>(0);
                    CrossCoreWaitFlag(0);
                }
                if (!last) return;
                if (second == Second::kMax) SetAtomicMax<float>();
                if (second == Second::kStore) SetAtomicNone();
                if (second == Second::kLoad) {
                    DataCopy(ub, Gm(aiv.out), kCount);
                } else if (second == Second::kOtherType) {
                    SetAtomicAdd<int32_t>();
                    DataCopy(GmAt<int32_t>(aiv.out, 0), ints, kCount);
                } else {
                    DataCopy(Gm(aiv.out), ub, kCount);
                }
            });
            CHECK_EQ(code, std::string(flag || second == Second::kAdd ? "" : "core-race"));
        }
    }
}

// Of several updates who comes later has to be ordered after each: flag 0 says that of AIV 1 is
// complete, and nothing about that of AIV 0.
TEST(an_update_does_not_stand_in_for_an_earlier_one) {
    Aiv aiv;
    Pair("core-race", {"DataCopy on MTE2 reads", "on MTE3 of AIV 0"},
         Full(KernelKind::kMixAic1Aiv2, {Output("out", aiv.out)}), [&](bool mended, Mark& mark) {
             TPipe pipe;
             if ASCEND_IS_AIC {
                 CrossCoreWaitFlag(0);
                 if (mended) CrossCoreWaitFlag(1);
                 const auto l1 = Allocate<kL1, float>(pipe, kCount);
                 mark.Next();
                 DataCopy(l1, Gm(aiv.out), kCount);
                 if (!mended) CrossCoreWaitFlag(1);
                 return;
             }
             const auto ub = Ones(pipe);
             const bool first = GetSubBlockIdx() == 0;
             SetAtomicAdd<float>();
             if (first) CrossCoreSetFlag<2, PIPE_MTE3>(0);
             DataCopy(Gm(aiv.out), ub, kCount);
             if (!first) CrossCoreSetFlag<2, PIPE_MTE3>(0);
             CrossCoreSetFlag<2, PIPE_MTE3>(1);
         });
}

// Nor for what was there before it: AIV 0 reads and then updates, AIV 1 updates what it reads.
TEST(an_update_does_not_stand_in_for_an_earlier_read) {
    Aiv aiv;
    Pair("core-race", {"DataCopy on MTE3 writes", "on MTE2 of AIV 0", "which reads them"},
         Full(KernelKind::kMixAic1Aiv2, {Output("out", aiv.out)}), [&](bool mended, Mark& mark) {
             if ASCEND_IS_AIC
                 return;
             TPipe pipe;
             const auto ub = Ones(pipe);
             SetAtomicAdd<float>();
             if (GetSubBlockIdx() == 0) {
                 DataCopy(Ub(pipe), Gm(aiv.out), kCount);
                 Sync<HardEvent::MTE2_MTE3>();
             }
             if (mended) {
                 CrossCoreSetFlag<1, PIPE_MTE3>(0);
                 CrossCoreWaitFlag(0);
             }
             mark.Next();
             DataCopy(Gm(aiv.out), ub, kCount);
         });
}

TEST(an_update_uses_what_is_there) {
    Aiv aiv;
    auto config = aiv.Config();
    config.tensors[1].initialised = false;
    Pair("uninitialised", {"DataCopy on MTE3", "GM tensor 'out'"}, config,
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             if (mended) DataCopy(Gm(aiv.out), ub, kCount);
             if (mended) PipeBarrier<PIPE_MTE3>();
             SetAtomicAdd<float>();
             mark.Next();
             DataCopy(Gm(aiv.out), ub, kCount);
         });
}

// "开启原子累加前的搬运指令与开启原子操作的指令之间插入同步".
TEST(a_store_before_an_update_takes_a_barrier) {
    Aiv aiv;
    Pair("missing-barrier", {"DataCopy on MTE3 writes"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             DataCopy(Gm(aiv.out), ub, kCount);
             if (mended) PipeBarrier<PIPE_MTE3>();
             SetAtomicAdd<float>();
             mark.Next();
             DataCopy(Gm(aiv.out), ub, kCount);
             DataCopy(Gm(aiv.out), ub, kCount);
         });
}

TEST(a_trace_marks_updates) {
    Aiv aiv;
    twin::Trace trace;
    auto config = Config(KernelKind::kAivOnly, {Output("out", aiv.out)});
    config.trace = &trace;
    twin::Launch(config, [&] {
        TPipe pipe;
        const auto ub = Ones(pipe);
        DataCopy(Gm(aiv.out), ub, kCount);
        SetAtomicAdd<float>();
        DataCopy(Gm(aiv.out), ub, kCount);
        SetAtomicMax<float>();
        DataCopy(Gm(aiv.out), ub, kCount);
        SetAtomicMin<float>();
        DataCopy(Gm(aiv.out), ub, kCount);
    });
    std::vector<uint32_t> kinds;
    for (const auto& record : trace.cores[0]) {
        if (record.op == twin::TraceOp::kStore) kinds.push_back(record.args[0]);
    }
    CHECK_EQ(kinds, (std::vector<uint32_t>{0, 1, 2, 3}));
}
