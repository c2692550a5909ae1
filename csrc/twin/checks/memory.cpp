// Accesses to bytes that do not exist, or are not written, not writable or not aligned.
#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::DataCopy;
using AscendC::DataCopyPad;
using AscendC::Duplicate;
using AscendC::LoadData;
using AscendC::Mmad;
using AscendC::Muls;
using AscendC::PipeBarrier;

namespace {

/// Stores `count` elements to "out", from element `first` on.
void Store(Run& run, uint64_t first, uint32_t count) {
    TPipe pipe;
    const auto ones = Ones(pipe);
    run.Next();
    DataCopy(run.Out<float>()[first], ones, count);
}

/// A product of the contents of L0A and L0B, which is added to L0C unless `initialise`.
void Product(Run& run, Cube& cube, bool initialise = true) {
    Sync<HardEvent::MTE1_M>();
    run.Next();
    Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(16, 16, 16, initialise));
}

std::vector<Pair> Uninitialised() {
    return {
        {"uninitialised",
         "a vector instruction reads a tensor of UB that nothing has written",
         {"Muls on V", "bytes [0, ", "of UB", "AIV 0"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto from = Ub(pipe);
             const auto to = Ub(pipe);
             if (run.fixed()) Duplicate(from, 1.0F, kCount);
             PipeBarrier<PIPE_V>();
             run.Next();
             Muls(to, from, 2.0F, kCount);
         }},
        {"uninitialised",
         "a vector instruction reads lanes that a mask has left out",
         {"Muls on V", "bytes [128, "},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto from = Ub(pipe);
             const auto to = Ub(pipe);
             Duplicate(from, 1.0F, uint64_t{32}, 1, 1, 8);
             PipeBarrier<PIPE_V>();
             const uint64_t mask = run.fixed() ? 32 : 64;
             run.Next();
             Muls(to, from, 2.0F, mask, 1, {1, 1, 8, 8});
         }},
        {"uninitialised",
         "a store takes more of UB than was computed",
         {"DataCopy on MTE3", "bytes [224, 256) of UB"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             Duplicate(ub, 1.0F, run.fixed() ? 64 : 56);
             Sync<HardEvent::V_MTE3>();
             run.Next();
             DataCopy(run.Out<float>(), ub, kCount);
         }},
        {"uninitialised",
         "the scalar unit reads what nothing has written",
         {"GetValue on S", "bytes [4, 8) of UB"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             ub.SetValue(0, 1.0F);
             if (run.fixed()) ub.SetValue(1, 1.0F);
             run.Next();
             static_cast<void>(ub.GetValue(1));
         }},
        // "isPad为false": in that case the padding holds random values (DataCopyPad).
        {"uninitialised",
         "a vector instruction reads the padding of a load without a padding value",
         {"Muls on V", "bytes [4, 32) of UB"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Allocate<kUb, float>(pipe, 8);
             const auto to = Allocate<kUb, float>(pipe, 8);
             DataCopyPad(ub, run.In<float>(), {1, 4, 0, 0, 0}, {run.fixed(), 0, 1, 0.0F});
             Sync<HardEvent::MTE2_V>();
             run.Next();
             Muls(to, ub, 2.0F, 8);
         }},
        {"uninitialised",
         "a copy inside of UB takes what nothing has written along",
         {"Muls on V"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto from = Ub(pipe);
             const auto to = Ones(pipe);
             if (run.fixed()) Duplicate(from, 1.0F, kCount);
             PipeBarrier<PIPE_V>();
             DataCopy(to, from, kCount);
             PipeBarrier<PIPE_V>();
             run.Next();
             Muls(to, to, 2.0F, kCount);
         }},
        {"uninitialised",
         "a buffer is read that was written before it was handed out anew",
         {"Muls on V"},
         Aiv(),
         [](Run& run) {
             {
                 TPipe pipe;
                 Duplicate(Ub(pipe), 1.0F, kCount);
             }
             PipeBarrier<PIPE_V>();
             TPipe pipe;
             const auto ub = Ub(pipe);
             if (run.fixed()) Duplicate(ub, 1.0F, kCount);
             PipeBarrier<PIPE_V>();
             run.Next();
             Muls(ub, ub, 2.0F, kCount);
         }},
        // LoadData moves unwritten bytes without using them; the product uses them.
        {"uninitialised",
         "a product uses fractals of L1 that nothing has written",
         {"Mmad on M", "of L0A", "AIC 0"},
         Aic(),
         [](Run& run) {
             Cube cube;
             const auto other = Allocate<kL1, half>(cube.pipe, 256);
             DataCopy(cube.l1, run.In<half>(), 256);
             All();
             LoadData(cube.l0a, run.fixed() ? cube.l1 : other, Fractals());
             LoadData(cube.l0b, cube.l1, Fractals());
             Product(run, cube);
         }},
        {"uninitialised",
         "a product runs before its right matrix was loaded",
         {"Mmad on M", "of L0B"},
         Aic(),
         [](Run& run) {
             Cube cube;
             DataCopy(cube.l1, run.In<half>(), 256);
             All();
             LoadData(cube.l0a, cube.l1, Fractals());
             if (run.fixed()) LoadData(cube.l0b, cube.l1, Fractals());
             Product(run, cube);
         }},
        {"uninitialised",
         "the first product of a sum adds to L0C",
         {"Mmad on M", "of L0C"},
         Aic(),
         [](Run& run) {
             Cube cube;
             DataCopy(cube.l1, run.In<half>(), 256);
             All();
             LoadData(cube.l0a, cube.l1, Fractals());
             LoadData(cube.l0b, cube.l1, Fractals());
             Product(run, cube, run.fixed());
         }},
        {"uninitialised",
         "a load reads bytes of a fresh GM tensor before they are stored",
         {"DataCopy on MTE2", "bytes [32, 64) of GM tensor 'out'"},
         {KernelKind::kAivOnly, 1, true},
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             DataCopy(run.Out<float>(), ub, run.fixed() ? 16 : 8);
             Sync<HardEvent::MTE3_MTE2>();
             run.Next();
             DataCopy(ub, run.Out<float>(), 16);
         }},
    };
}

std::vector<Pair> Places() {
    return {
        {"out-of-bounds",
         "a store runs past the end of a GM tensor",
         {"bytes [8160, 8224) of GM tensor 'out', which has 8192"},
         Aiv(),
         [](Run& run) { Store(run, kGmBytes / 4 - 8, run.fixed() ? 8 : 16); }},
        {"out-of-bounds",
         "a load starts outside of every GM tensor",
         {"outside of every tensor"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             float mine[kCount] = {};
             GlobalTensor<float> stray;
             stray.SetGlobalBuffer(mine);
             run.Next();
             DataCopy(Ub(pipe), run.fixed() ? run.In<float>() : stray, kCount);
         }},
        {"out-of-bounds",
         "a load runs past the end of its tensor in UB",
         {"bytes [0, 288) of UB, its allocation is [0, 256)"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             run.Next();
             DataCopy(ub, run.In<float>(), run.fixed() ? 64 : 72);
         }},
        {"out-of-bounds",
         "a product is larger than its tensor in L0A",
         {"L0A"},
         Aic(),
         [](Run& run) {
             Cube cube;
             const auto l0c = Allocate<kL0c, float>(cube.pipe, 512);
             FillL0c(cube, run.In<half>());
             const uint16_t rows = run.fixed() ? 16 : 17;
             run.Next();
             Mmad(l0c, cube.l0a, cube.l0b, Shape(rows, 16, 16));
         }},
        {"write-to-input",
         "a store writes a GM tensor that the launch has as input",
         {"GM tensor 'in'"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             run.Next();
             DataCopy(run.fixed() ? run.Out<float>() : run.In<float>(), ub, kCount);
         }},
        {"misaligned",
         "a tensor in UB starts between two blocks of 32 bytes",
         {"byte 16 of UB, must be a multiple of 32"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             const auto to = Ub(pipe);
             run.Next();
             Muls(to, ub[run.fixed() ? 8 : 4], 2.0F, 8);
         }},
        // The quantisation once did this: it kept the maximum magnitudes of the pieces of a row
        // side by side.
        {"misaligned",
         "a maximum alone is written between two pairs of floats",
         {"WholeReduceMax: dst starts at byte ", "must be a multiple of 8"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto from = Ones(pipe);
             const auto to = Ub(pipe);
             run.Next();
             AscendC::WholeReduceMax(to[run.fixed() ? 2 : 1], from, 64, 1, 1, 1, 8,
                                     AscendC::ReduceOrder::ORDER_ONLY_VALUE);
         }},
        // The second of two slots for sums, if each slot is taken to be half a tile.
        {"misaligned",
         "a product is written between two blocks of 1,024 bytes of L0C",
         {"Mmad", "of L0C", "must be a multiple of 1024"},
         Aic(),
         [](Run& run) {
             Cube cube;
             const auto sums = Allocate<kL0c, float>(cube.pipe, 1024);
             FillL0c(cube, run.In<half>());
             const auto slot = sums[run.fixed() ? 256 : 128];
             run.Next();
             Mmad(slot, cube.l0a, cube.l0b, Shape(16, 16, 16));
         }},
        {"misaligned",
         "a matrix in L0A starts between two fractals of 512 bytes",
         {"L0A", "512"},
         Aic(),
         [](Run& run) {
             Cube cube(32);
             DataCopy(cube.l1, run.In<half>(), 512);
             All();
             run.Next();
             LoadData(cube.l0a[run.fixed() ? 256 : 128], cube.l1, Fractals());
         }},
        {"capacity",
         "buffers are larger than UB",
         {"UB", "of 188160 bytes are taken"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             AscendC::TBuf<> first;
             AscendC::TBuf<> second;
             pipe.InitBuffer(first, 128 * 1024);
             const uint32_t left = arch::DavC220::kUsableUbBytes - 128 * 1024;
             run.Next();
             pipe.InitBuffer(second, run.fixed() ? left : left + 32);
         }},
        {"capacity",
         "a kernel has more than 64 buffers",
         {"buffer 65", "at most 64"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             for (int i = 0; i < (run.fixed() ? 64 : 65); ++i) {
                 AscendC::TBuf<> buffer;
                 run.Next();
                 pipe.InitBuffer(buffer, 32);
             }
         }},
        {"overlap",
         "a vector instruction reads what it has shifted by a block",
         {"Muls"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             run.Next();
             Muls(ub[run.fixed() ? 16 : 8], ub, 2.0F, 16);
         }},
        {"overlap",
         "a load to fractals lays column blocks over each other",
         {"DataCopy (ND2NZ)", "dstNzC0Stride is 15"},
         Aic(),
         [](Run& run) {
             Cube cube(32);
             AscendC::Nd2NzParams params;
             params.ndNum = 1;
             params.nValue = 16;
             params.dValue = 32;
             params.srcDValue = 32;
             params.dstNzC0Stride = run.fixed() ? 16 : 15;
             params.dstNzNStride = 1;
             run.Next();
             DataCopy(cube.l1, run.In<half>(), params);
         }},
        {"overlap",
         "a conversion in place to elements of another size",
         {"Cast", "size"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             const auto other = Ub(pipe).ReinterpretCast<half>();
             const auto to = run.fixed() ? other : ub.ReinterpretCast<half>();
             run.Next();
             AscendC::Cast(to, ub, AscendC::RoundMode::CAST_RINT, kCount);
         }},
    };
}

}  // namespace

std::vector<Pair> MemoryPairs() {
    std::vector<Pair> pairs = Uninitialised();
    const std::vector<Pair> places = Places();
    pairs.insert(pairs.end(), places.begin(), places.end());
    return pairs;
}

}  // namespace twin::checks
