// The instructions of the cube core together: GM -> L1 -> L0 -> L0C; and on the wrong core.
#include <cstdint>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::Fixpipe;
using AscendC::LoadData;
using AscendC::Mmad;
using AscendC::PipeBarrier;

// ---- GM -> L1 -> L0 -> L0C, both layouts of B ----

namespace {

/// A [20, 40] x B [40, 24]: A[i][k] = 1 where k = i + 13, so that C[i][n] = B[i + 13][n] = 24 (i +
/// 13) + n. `b` holds B as [40, 24] when `b_has_k_rows`, else as [24, 40].
void CheckMatmul(bool b_has_k_rows) {
    std::vector<half> a(20 * 40);
    std::vector<half> b(40 * 24);
    std::vector<float> c(20 * 32, -1);
    for (size_t i = 0; i < 20; ++i) a[i * 40 + i + 13] = half{0x3C00};
    for (size_t k = 0; k < 40; ++k) {
        for (size_t n = 0; n < 24; ++n)
            b[b_has_k_rows ? k * 24 + n : n * 40 + k] = Half(float(24 * k + n));
    }
    OnAic({Input("a", a), Input("b", b), Output("c", c)}, [&] {
        TPipe pipe;
        const auto a1 = Allocate<kL1, half>(pipe, 2 * 3 * 256, 0xFF);
        const auto b1 = Allocate<TPosition::B1, half>(pipe, 3 * 2 * 256, 0xFF);
        const auto a2 = Allocate<kL0a, half>(pipe, 2 * 3 * 256, 0xFF);
        const auto b2 = Allocate<kL0b, half>(pipe, 3 * 2 * 256, 0xFF);
        const auto l0c = Allocate<kL0c, float>(pipe, 2 * 2 * 256, 0xFF);
        DataCopy(a1, Gm(a), WholeMatrix(20, 40));
        if (b_has_k_rows) {
            DataCopy(b1, Gm(b), WholeMatrix(40, 24));
        } else {
            DataCopy(b1, Gm(b), WholeMatrix(24, 40));
        }
        PipeBarrier<PIPE_ALL>();
        for (uint32_t m = 0; m < 2; ++m) LoadData(a2[m * 3 * 256], a1[m * 256], Load(0, 3, 2, 0));
        if (b_has_k_rows) {
            // L1: 3 x 2 fractals column by column, rows of k. L0B: row by row, rows of n.
            for (uint32_t k = 0; k < 3; ++k) {
                LoadData(b2[k * 2 * 256], b1[k * 256], Load(0, 2, 3, 0, true));
            }
        } else {
            // Nz of [24, 40] is Zn of [40, 24]: 6 fractals as they are.
            LoadData(b2, b1, Load(0, 6, 1, 0));
        }
        PipeBarrier<PIPE_ALL>();
        Mmad(l0c, a2, b2, Shape(20, 24, 40));
        PipeBarrier<PIPE_ALL>();
        Fixpipe(Gm(c), l0c, Store(32, 20, 32, 32));
    });
    for (size_t i = 0; i < 20; ++i) {
        CHECK_EQ(Values(c, i * 32, 24), Ramp<float>(24, static_cast<int>(24 * (i + 13))));
    }
}

}  // namespace

// 矩阵计算输入搬运约束, table 5: B as [n, k] goes to L0B as it is, B as [k, n] transposed fractal
// by fractal.
TEST(matmul_with_b_in_rows_of_k) { CheckMatmul(false); }
TEST(matmul_with_b_in_rows_of_n) { CheckMatmul(true); }

// The AIV has neither these buffers nor these pipes (硬件流水类型, table 3 of 核内同步能力概述).
TEST(cube_instructions_are_refused_on_an_aiv) {
    AivBreaks("wrong-core", {"AIV 0"}, {}, [&] {
        TPipe pipe;
        LoadData(Allocate<kL0a, uint16_t>(pipe, 256), Numbered<kL1, uint16_t>(pipe, 256),
                 Load(0, 1, 1, 0));
    });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [&] {
        TPipe pipe;
        Mmad(Allocate<kL0c, float>(pipe, 256), Allocate<kL0a, half>(pipe, 256),
             Allocate<kL0b, half>(pipe, 256), Shape(16, 16, 16));
    });
    std::vector<float> out(256);
    AivBreaks("wrong-core", {"AIV 0"}, {Output("out", out)}, [&] {
        TPipe pipe;
        Fixpipe(Gm(out), Allocate<kL0c, float>(pipe, 256), Store(16, 16, 16, 16));
    });
}
