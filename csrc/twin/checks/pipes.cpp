// Order between the pipes of a core, and between the instructions of one pipe.
// Pages: 同步控制/核内同步/{SetFlag-WaitFlag(ISASI), PipeBarrier(ISASI)},
//        矩阵计算（ISASI）/Mmad计算/Mmad.
#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::DataCopy;
using AscendC::Duplicate;
using AscendC::Fixpipe;
using AscendC::LoadData;
using AscendC::Mmad;
using AscendC::Muls;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;

namespace {

std::vector<Pair> RacesInUb() {
    return {
        {"pipe-race",
         "a vector instruction reads what a load may not have brought yet",
         {"Muls on V reads", "DataCopy on MTE2", "which writes them", "SetFlag<MTE2_V>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto to = Ub(pipe);
             DataCopy(ub, run.In<float>(), kCount);
             Sync<HardEvent::MTE2_V>(run.fixed());
             run.Next();
             Muls(to, ub, 2.0F, kCount);
         }},
        {"pipe-race",
         "a store reads what a vector instruction may not have written yet",
         {"DataCopy on MTE3 reads", "Duplicate on V", "SetFlag<V_MTE3>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             Duplicate(ub, 1.0F, kCount);
             Sync<HardEvent::V_MTE3>(run.fixed());
             run.Next();
             DataCopy(run.Out<float>(), ub, kCount);
         }},
        {"pipe-race",
         "the scalar unit reads what a vector instruction may not have written yet",
         {"GetValue on S reads", "SetFlag<V_S>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             Duplicate(ub, 1.0F, kCount);
             Sync<HardEvent::V_S>(run.fixed());
             run.Next();
             static_cast<void>(ub.GetValue(5));
         }},
        {"pipe-race",
         "a vector instruction reads what the scalar unit may not have written yet",
         {"Muls on V reads", "SetValue on S", "SetFlag<S_V>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             const auto to = Ub(pipe);
             ub.SetValue(5, 2.0F);
             Sync<HardEvent::S_V>(run.fixed());
             run.Next();
             Muls(to, ub, 2.0F, kCount);
         }},
        {"pipe-race",
         "a load overwrites what a vector instruction may still read",
         {"DataCopy on MTE2 writes", "which reads them", "SetFlag<V_MTE2>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             const auto to = Ub(pipe);
             Muls(to, ub, 2.0F, kCount);
             Sync<HardEvent::V_MTE2>(run.fixed());
             run.Next();
             DataCopy(ub, run.In<float>(), kCount);
         }},
        {"pipe-race",
         "a vector instruction overwrites what a store may still read",
         {"Duplicate on V writes", "which reads them", "SetFlag<MTE3_V>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             DataCopy(run.Out<float>(), ub, kCount);
             Sync<HardEvent::MTE3_V>(run.fixed());
             run.Next();
             Duplicate(ub, 2.0F, kCount);
         }},
        {"pipe-race",
         "a vector instruction overwrites what a load may still write",
         {"Duplicate on V writes", "which writes them"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             DataCopy(ub, run.In<float>(), kCount);
             Sync<HardEvent::MTE2_V>(run.fixed());
             run.Next();
             Duplicate(ub, 2.0F, kCount);
         }},
    };
}

/// A load and its use, which the broken form surrounds with calls that do not order the two.
template <typename Before, typename After>
void LoadAndUse(Run& run, const Before& before, const After& after) {
    TPipe pipe;
    const auto ub = Ub(pipe);
    const auto to = Ub(pipe);
    if (!run.fixed()) before();
    DataCopy(ub, run.In<float>(), kCount);
    Sync<HardEvent::MTE2_V>(run.fixed());
    if (!run.fixed()) after();
    run.Next();
    Muls(to, ub, 2.0F, kCount);
}

constexpr auto kNothing = [] {};

std::vector<Pair> WrongEvents() {
    return {
        {"pipe-race",
         "the event is set before the load that it is for",
         {"Muls on V", "SetFlag<MTE2_V>"},
         Aiv(),
         [](Run& run) {
             LoadAndUse(
                 run, [] { SetFlag<HardEvent::MTE2_V>(0); },
                 [] { WaitFlag<HardEvent::MTE2_V>(0); });
         }},
        {"pipe-race",
         "the event is one of other pipes",
         {"Muls on V", "SetFlag<MTE2_V>"},
         Aiv(),
         [](Run& run) { LoadAndUse(run, kNothing, [] { Sync<HardEvent::MTE2_MTE3>(); }); }},
        {"pipe-race",
         "the event is that of the other direction",
         {"Muls on V", "SetFlag<MTE2_V>"},
         Aiv(),
         [](Run& run) { LoadAndUse(run, kNothing, [] { Sync<HardEvent::V_MTE2>(); }); }},
        {"pipe-race",
         "a barrier of one pipe stands in for an event between two",
         {"Muls on V", "SetFlag<MTE2_V>"},
         Aiv(),
         [](Run& run) { LoadAndUse(run, kNothing, [] { PipeBarrier<PIPE_MTE2>(); }); }},
        {"pipe-race",
         "of two loads the event of the first is waited for, and the second used",
         {"Muls on V"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto first = Ub(pipe);
             const auto second = Ub(pipe);
             const auto to = Ub(pipe);
             DataCopy(first, run.In<float>(), kCount);
             SetFlag<HardEvent::MTE2_V>(0);
             DataCopy(second, run.In<float>(), kCount);
             SetFlag<HardEvent::MTE2_V>(1);
             WaitFlag<HardEvent::MTE2_V>(0);
             if (run.fixed()) WaitFlag<HardEvent::MTE2_V>(1);
             run.Next();
             Muls(to, second, 2.0F, kCount);
             if (!run.fixed()) WaitFlag<HardEvent::MTE2_V>(1);
         }},
        // Both forms have both events. In the wrong order, V signals MTE3 before it has itself
        // waited for the load.
        {"pipe-race",
         "two events that hand over through a third pipe stand in the wrong order",
         {"DataCopy on MTE3 reads", "DataCopy on MTE2"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             DataCopy(ub, run.In<float>(), kCount);
             Sync<HardEvent::V_MTE3>(!run.fixed());
             Sync<HardEvent::MTE2_V>();
             Sync<HardEvent::V_MTE3>(run.fixed());
             run.Next();
             DataCopy(run.Out<float>(), ub, kCount);
         }},
        {"pipe-race",
         "a loop over two buffers does not hand them back to the load",
         {"DataCopy on MTE2 writes", "V_MTE2"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const LocalTensor<float> in[] = {Ub(pipe), Ub(pipe)};
             const auto out = Ub(pipe);
             for (int i = 0; i < 6; ++i) {
                 const int id = i % 2;
                 if (run.fixed() && i >= 2) WaitFlag<HardEvent::V_MTE2>(id);
                 PipeBarrier<PIPE_MTE2>();
                 run.Next();
                 DataCopy(in[id], run.In<float>(), kCount);
                 Sync<HardEvent::MTE2_V>(true, id);
                 PipeBarrier<PIPE_V>();
                 Muls(out, in[id], 2.0F, kCount);
                 if (run.fixed() && i < 4) SetFlag<HardEvent::V_MTE2>(id);
             }
         }},
        // An instruction is ordered after whatever the scalar unit has waited for before it issues
        // the instruction. The scalar unit's own writes are another matter: they need S_V.
        {"pipe-race",
         "the scalar unit waits for a load after it has issued the use",
         {"Muls on V reads"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             const auto to = Ub(pipe);
             DataCopy(ub, run.In<float>(), kCount);
             SetFlag<HardEvent::MTE2_S>(0);
             if (run.fixed()) WaitFlag<HardEvent::MTE2_S>(0);
             run.Next();
             Muls(to, ub, 2.0F, kCount);
             if (!run.fixed()) WaitFlag<HardEvent::MTE2_S>(0);
         }},
    };
}

void StoreAndLoad(Run& run, const GlobalTensor<float>& from) {
    TPipe pipe;
    const auto ub = Ones(pipe);
    const auto other = Ub(pipe);
    DataCopy(run.Out<float>(), ub, kCount);
    Sync<HardEvent::MTE3_MTE2>(run.fixed());
    run.Next();
    DataCopy(other, from, kCount);
}

std::vector<Pair> RacesInGm() {
    return {
        {"pipe-race",
         "a load reads from GM what a store may not have written yet",
         {"DataCopy on MTE2 reads", "GM tensor 'out'", "SetFlag<MTE3_MTE2>"},
         Aiv(),
         [](Run& run) { StoreAndLoad(run, run.Out<float>()); }},
        {"pipe-race",
         "the same through two names of one memory",
         {"DataCopy on MTE2 reads"},
         {KernelKind::kAivOnly, 1, false, true},
         [](Run& run) { StoreAndLoad(run, run.In<float>()); }},
        {"pipe-race",
         "a store overwrites in GM what a load may still read",
         {"DataCopy on MTE3 writes", "GM tensor 'out'", "which reads them"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             const auto other = Ub(pipe);
             DataCopy(other, run.Out<float>(), kCount);
             Sync<HardEvent::MTE2_MTE3>(run.fixed());
             run.Next();
             DataCopy(run.Out<float>(), ub, kCount);
         }},
    };
}

/// The events of a matrix product, one of which the broken form leaves out in a loop of two turns.
enum class CubeEvent { kMte2Mte1, kMte1M, kMFix, kMte1Mte2, kMMte1, kFixM };

template <CubeEvent missing>
void ProductLoop(Run& run) {
    const auto has = [&](CubeEvent event) { return run.fixed() || event != missing; };
    Cube cube;
    for (int turn = 0; turn < 2; ++turn) {
        const bool again = turn == 1;
        Sync<HardEvent::MTE1_MTE2>(again && has(CubeEvent::kMte1Mte2));
        if (again) PipeBarrier<PIPE_MTE2>();
        run.Next();
        DataCopy(cube.l1, run.In<half>(), 256);
        Sync<HardEvent::MTE2_MTE1>(has(CubeEvent::kMte2Mte1));
        Sync<HardEvent::M_MTE1>(again && has(CubeEvent::kMMte1), 3);  // TPipe keeps 0 to 2
        if (again) PipeBarrier<PIPE_MTE1>();
        run.Next();
        LoadData(cube.l0a, cube.l1, Fractals());
        run.Next();
        LoadData(cube.l0b, cube.l1, Fractals());
        Sync<HardEvent::MTE1_M>(has(CubeEvent::kMte1M));
        Sync<HardEvent::FIX_M>(again && has(CubeEvent::kFixM));
        if (again) PipeBarrier<PIPE_M>();
        run.Next();
        Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16));
        Sync<HardEvent::M_FIX>(has(CubeEvent::kMFix));
        run.Next();
        Fixpipe(run.Out<float>()[turn * 256], cube.l0c, StoreRows(16));
    }
}

std::vector<Pair> RacesOfTheCube() {
    return {
        {"pipe-race",
         "fractals are taken from L1 that a load may not have brought yet",
         {"LoadData on MTE1 reads", "of L1", "SetFlag<MTE2_MTE1>"},
         Aic(),
         ProductLoop<CubeEvent::kMte2Mte1>},
        {"pipe-race",
         "a product reads L0A before its fractals are there",
         {"Mmad on M reads", "of L0A", "SetFlag<MTE1_M>"},
         Aic(),
         ProductLoop<CubeEvent::kMte1M>},
        {"pipe-race",
         "the fixpipe reads L0C before the product is complete",
         {"Fixpipe on FIX reads", "of L0C", "SetFlag<M_FIX>"},
         Aic(),
         ProductLoop<CubeEvent::kMFix>},
        {"pipe-race",
         "the next product overwrites L0C while the fixpipe may still read it",
         {"Mmad on M writes", "of L0C", "which reads them", "SetFlag<FIX_M>"},
         Aic(),
         ProductLoop<CubeEvent::kFixM>},
        {"pipe-race",
         "the next fractals overwrite L0A while the product may still read it",
         {"LoadData on MTE1 writes", "of L0A", "which reads them"},
         Aic(),
         ProductLoop<CubeEvent::kMMte1>},
        {"pipe-race",
         "the next load overwrites L1 while fractals may still be taken from it",
         {"DataCopy on MTE2 writes", "of L1", "which reads them"},
         Aic(),
         ProductLoop<CubeEvent::kMte1Mte2>},
    };
}

/// If m / 16 * n / 16 is below 10, a product that adds to the last one needs a barrier; from 10 on,
/// the cube itself orders them (Mmad, constraints).
template <uint16_t rows>
void Accumulate(Run& run) {
    Cube cube(rows);
    DataCopy(cube.l1, run.In<half>(), rows * 16u);
    All();
    LoadData(cube.l0a, cube.l1, Fractals(rows / 16u));
    LoadData(cube.l0b, cube.l1, Fractals());
    All();
    Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(rows, 16, 16));
    if (run.fixed()) PipeBarrier<PIPE_M>();
    run.Next();
    Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(rows, 16, 16, false));
}

std::vector<Pair> Barriers() {
    return {
        {"missing-barrier",
         "a vector instruction reads what the one before it may not have written yet",
         {"Muls on V reads", "which writes them", "PipeBarrier<PIPE_V>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto a = Ub(pipe);
             const auto b = Ub(pipe);
             Duplicate(a, 2.0F, kCount);
             if (run.fixed()) PipeBarrier<PIPE_V>();
             run.Next();
             Muls(b, a, 2.0F, kCount);
         }},
        {"missing-barrier",
         "a vector instruction overwrites what the one before it may still read",
         {"Duplicate on V writes", "which reads them"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto a = Ones(pipe);
             const auto b = Ub(pipe);
             Muls(b, a, 2.0F, kCount);
             if (run.fixed()) PipeBarrier<PIPE_V>();
             run.Next();
             Duplicate(a, 3.0F, kCount);
         }},
        {"missing-barrier",
         "two vector instructions write the same bytes",
         {"Duplicate on V writes", "which writes them"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             Duplicate(ub, 2.0F, kCount);
             if (run.fixed()) PipeBarrier<PIPE_V>();
             run.Next();
             Duplicate(ub, 3.0F, kCount);
         }},
        {"missing-barrier",
         "a load writes onto the one before it",
         {"DataCopy on MTE2 writes", "PipeBarrier<PIPE_MTE2>"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             DataCopy(ub, run.In<float>(), kCount);
             if (run.fixed()) PipeBarrier<PIPE_MTE2>();
             run.Next();
             DataCopy(ub, run.In<float>()[kCount], kCount);
         }},
        {"missing-barrier",
         "a store writes in GM onto the one before it",
         {"DataCopy on MTE3 writes", "GM tensor 'out'"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             DataCopy(run.Out<float>(), ub, kCount);
             if (run.fixed()) PipeBarrier<PIPE_MTE3>();
             run.Next();
             DataCopy(run.Out<float>()[8], ub, 8);
         }},
        {"missing-barrier",
         "fractals are loaded onto those before them",
         {"LoadData on MTE1 writes", "of L0A"},
         Aic(),
         [](Run& run) {
             Cube cube;
             DataCopy(cube.l1, run.In<half>(), 256);
             Sync<HardEvent::MTE2_MTE1>();
             LoadData(cube.l0a, cube.l1, Fractals());
             if (run.fixed()) PipeBarrier<PIPE_MTE1>();
             run.Next();
             LoadData(cube.l0a, cube.l1, Fractals());
         }},
        {"missing-barrier",
         "the fixpipe writes in GM onto its last store",
         {"Fixpipe on FIX writes", "GM tensor 'out'"},
         Aic(),
         [](Run& run) {
             Cube cube;
             FillL0c(cube, run.In<half>());
             Fixpipe(run.Out<float>(), cube.l0c, StoreRows(16));
             if (run.fixed()) PipeBarrier<PIPE_FIX>();
             run.Next();
             Fixpipe(run.Out<float>(), cube.l0c, StoreRows(16));
         }},
        {"missing-barrier",
         "a product of one fractal adds to the one before it",
         {"Mmad on M reads", "of L0C", "PipeBarrier<PIPE_M>"},
         Aic(),
         Accumulate<16>},
        {"missing-barrier",
         "a product of nine fractals adds to the one before it",
         {"Mmad on M reads", "of L0C", "PipeBarrier<PIPE_M>"},
         Aic(),
         Accumulate<144>},
    };
}

}  // namespace

std::vector<Pair> PipePairs() {
    std::vector<Pair> all;
    for (const auto& part : {RacesInUb(), WrongEvents(), RacesInGm(), RacesOfTheCube(), Barriers()})
        all.insert(all.end(), part.begin(), part.end());
    return all;
}

}  // namespace twin::checks
