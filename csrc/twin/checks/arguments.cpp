// Arguments and values that an instruction does not take.
#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::Cast;
using AscendC::DataCopy;
using AscendC::Duplicate;
using AscendC::LoadData;
using AscendC::Mmad;
using AscendC::RoundMode;

std::vector<Pair> ArgumentPairs() {
    return {
        {"parameter-range",
         "a cross-core flag beyond 15",
         {"flagId is 16", "0 to 15"},
         Groups(),
         [](Run& run) {
             const uint16_t flag = run.fixed() ? 15 : 16;
             if ASCEND_IS_AIV {
                 AscendC::CrossCoreWaitFlag(flag);
                 return;
             }
             run.Next();
             AscendC::CrossCoreSetFlag<2, PIPE_FIX>(flag);
         }},
        {"parameter-range",
         "a transposed load of fractals of 8-bit elements",
         {"ifTranspose", "int8_t"},
         Aic(),
         [](Run& run) {
             Cube cube;
             DataCopy(cube.l1, run.In<half>(), 256);
             All();
             auto params = Fractals();
             params.ifTranspose = !run.fixed();
             const auto from = cube.l1.ReinterpretCast<int8_t>();
             const auto to = cube.l0a.ReinterpretCast<int8_t>();
             run.Next();
             LoadData(to, from, params);
         }},
        // 65536 is the row stride of a tensor of [tokens, 128, 512], and the hardware reads it as
        // 0.
        {"field-overflow",
         "the row stride of a load to fractals needs 17 bits",
         {"srcDValue is 65536", "0 to 65535"},
         Aic(),
         [](Run& run) {
             Cube cube;
             const uint32_t stride = run.fixed() ? 16 : 65536;
             AscendC::Nd2NzParams params;
             params.ndNum = 1;
             params.nValue = 16;
             params.dValue = 16;
             params.dstNzC0Stride = 16;
             params.dstNzNStride = 1;
             run.Next();
             params.srcDValue = stride;
             DataCopy(cube.l1, run.In<half>(), params);
         }},
        {"field-overflow",
         "a vector instruction of 256 repeats",
         {"Muls", "is 256", "0 to 255"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Allocate<kUb, float>(pipe, 256 * kCount);
             Duplicate(ub, 1.0F, 256 * kCount);
             All();
             const int repeats = run.fixed() ? 255 : 256;
             run.Next();
             AscendC::Muls(ub, ub, 2.0F, uint64_t{64}, repeats, {1, 1, 8, 8});
         }},
        {"round-mode",
         "a conversion that rounds is given no rounding mode",
         {"Cast", "float -> bfloat16_t"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto to = Allocate<kUb, bfloat16_t>(pipe, kCount);
             const auto from = Ones(pipe);
             const auto mode = run.fixed() ? RoundMode::CAST_RINT : RoundMode::CAST_NONE;
             run.Next();
             Cast(to, from, mode, kCount);
         }},
        {"integer-overflow",
         "a sum of integers that int32_t does not hold",
         {"Adds", "2147483648", "int32_t"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Allocate<kUb, int32_t>(pipe, kCount);
             const int32_t largest = 2147483647;
             Duplicate(ub, run.fixed() ? largest - 1 : largest, kCount);
             All();
             run.Next();
             AscendC::Adds(ub, ub, 1, kCount);
         }},
        {"negative-to-unsigned",
         "a negative number is converted to uint8_t",
         {"half -> uint8_t", "-1"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto to = Allocate<kUb, uint8_t>(pipe, kCount);
             const auto from = Allocate<kUb, half>(pipe, kCount);
             Duplicate(from, run.fixed() ? kHalfOne : half{0xBC00}, kCount);
             All();
             run.Next();
             Cast(to, from, RoundMode::CAST_RINT, kCount);
         }},
        {"not-positive",
         "the root of a row of zeros",
         {"Sqrt", "an element is 0"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto ub = Ub(pipe);
             Duplicate(ub, run.fixed() ? 1.0F : 0.0F, kCount);
             All();
             run.Next();
             AscendC::Sqrt(ub, ub, kCount);
         }},
        {"unsupported",
         "a product uses the unit flag, which the twin does not have",
         {"unitFlag"},
         Aic(),
         [](Run& run) {
             Cube cube;
             FillL0c(cube, run.In<half>());
             auto shape = Shape(16, 16, 16);
             shape.unitFlag = run.fixed() ? 0 : 3;
             run.Next();
             Mmad(cube.l0c, cube.l0a, cube.l0b, shape);
         }},
        {"wrong-buffer",
         "a product takes its right matrix from L0A",
         {"Mmad", "L0B", "is in L0A"},
         Aic(),
         [](Run& run) {
             Cube cube;
             FillL0c(cube, run.In<half>());
             run.Next();
             Mmad(cube.l0c, cube.l0a, run.fixed() ? cube.l0b : cube.l0a, Shape(16, 16, 16));
         }},
        {"wrong-core",
         "an AIC waits for its vector pipe",
         {"PipeBarrier", "pipe V", "AIC 0"},
         Groups(),
         [](Run& run) {
             if ASCEND_IS_AIV
                 return;
             if (run.fixed()) {
                 AscendC::PipeBarrier<PIPE_M>();
             } else {
                 run.Next();
                 AscendC::PipeBarrier<PIPE_V>();
             }
         }},
    };
}

}  // namespace twin::checks
