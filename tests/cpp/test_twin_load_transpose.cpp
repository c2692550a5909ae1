// Golden vectors of LoadDataWithTranspose. Squares, units and figures are those of the page
// 矩阵计算（ISASI）/矩阵计算的搬入/LoadDataWithTranspose; which element goes where follows the
// pseudocode it names.
#include <cstdint>
#include <set>
#include <vector>

#include "twin_cube_fixture.h"

using namespace fixture;
using AscendC::DataCopy;
using AscendC::LoadData2dTransposeParams;
using AscendC::LoadDataWithTranspose;
using AscendC::PipeBarrier;

namespace {

LoadData2dTransposeParams Squares(uint16_t start, uint8_t repeats, uint16_t source_stride,
                                  uint16_t destination_gap, uint16_t fractal_gap,
                                  uint8_t mode = 0) {
    return {start, repeats, source_stride, destination_gap, fractal_gap, mode};
}

/// Rows and columns of a square, and the fractals it makes.
template <typename T>
constexpr size_t kSide = sizeof(T) == 1 ? 32 : 16;
template <typename T>
constexpr size_t kFractals = sizeof(T) == 2 ? 1 : 2;
template <typename T>
constexpr size_t kPerFractal = 512 / sizeof(T);

/// Row r, column c of a square that lies in memory as its fractals: 32 rows of 32 bytes, 16 rows of
/// 16 halves, or two fractals of 16 rows of 8 side by side.
template <typename T>
size_t InSquare(size_t row, size_t column) {
    if (sizeof(T) == 4) return column / 8 * 128 + row * 8 + column % 8;
    return row * kSide<T> + column;
}

/// Element i of the source is different from those around it, whatever the type.
template <typename T>
T Number(size_t i) {
    if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bfloat16_t>) {
        return T{static_cast<uint16_t>(i + 1)};
    } else if constexpr (sizeof(T) == 1) {
        return static_cast<T>(i * 31 + i / 256 * 7 + i / 1024);
    } else {
        return static_cast<T>(i + 1);
    }
}

template <typename T>
bool Same(T a, T b) {
    return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <typename T>
LocalTensor<T> NumberedSquares(TPipe& pipe, size_t count) {
    const size_t size = count * kSide<T> * kSide<T>;
    const auto l1 = Allocate<kL1, T>(pipe, static_cast<uint32_t>(size));
    for (size_t i = 0; i < size; ++i) Poke(l1, i, Number<T>(i));
    return l1;
}

struct Placement {
    size_t square;  ///< of the source
    std::vector<size_t> fractals;
};

/// `sources` squares, `params`: of `targets` fractals of the destination exactly those of
/// `expected` are written, each square as its transpose.
template <typename T, TPosition position = kL0b>
void CheckSquares(size_t sources, const LoadData2dTransposeParams& params, size_t targets,
                  const std::vector<Placement>& expected) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = NumberedSquares<T>(pipe, sources);
        const auto l0 =
            Allocate<position, T>(pipe, static_cast<uint32_t>(targets * kPerFractal<T>), 0xAA);
        LoadDataWithTranspose(l0, l1, params);
        std::set<size_t> written;
        size_t wrong = 0;
        for (const Placement& placement : expected) {
            for (size_t row = 0; row < kSide<T>; ++row) {
                for (size_t column = 0; column < kSide<T>; ++column) {
                    const size_t in_fractals = InSquare<T>(row, column);
                    const size_t fractal = placement.fractals[in_fractals / kPerFractal<T>];
                    const size_t source =
                        placement.square * kSide<T> * kSide<T> + InSquare<T>(column, row);
                    const size_t place = fractal * kPerFractal<T> + in_fractals % kPerFractal<T>;
                    wrong += !Same(Peek(l0, place), Number<T>(source));
                    written.insert(fractal);
                }
            }
        }
        CHECK_EQ(wrong, 0u);
        for (size_t fractal = 0; fractal < targets; ++fractal) {
            if (written.count(fractal) != 0) continue;
            CHECK_EQ(Values(l0.template ReinterpretCast<uint8_t>(), fractal * 512, 512),
                     std::vector<uint8_t>(512, 0xAA));
        }
    });
}

}  // namespace

// 表3: the defaults, which both toolkits share.
TEST(transpose_params_default_to_nothing) {
    const LoadData2dTransposeParams params;
    CHECK_EQ(params.startIndex, 0);
    CHECK_EQ(params.repeatTimes, 0);
    CHECK_EQ(params.srcStride, 0);
    CHECK_EQ(params.dstGap, 0);
    CHECK_EQ(params.dstFracGap, 0);
    CHECK_EQ(params.addrMode, 0);
    CHECK_EQ(sizeof(params.srcStride) + sizeof(params.dstGap) + sizeof(params.dstFracGap), 6u);
    const LoadData2dTransposeParams five(1, 2, 3, 4, 5);
    CHECK_EQ(five.startIndex * 10000 + five.repeatTimes * 1000 + five.srcStride * 100 +
                 five.dstGap * 10 + five.dstFracGap,
             12345);
    CHECK_EQ(five.addrMode, 0);
}

// One square, by hand: row 0 of the result is column 0 of the source, whose rows are 32 bytes
// apart; the second fractal starts with column 16.
TEST(transpose_of_one_square_of_bytes) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l1 = Allocate<kL1, uint8_t>(pipe, 1024);
        for (uint32_t i = 0; i < 1024; ++i) {
            Poke(l1, i, static_cast<uint8_t>(i % 32 + i / 32 % 8 * 32));  // column + 32 (row mod 8)
        }
        const auto l0 = Allocate<kL0b, uint8_t>(pipe, 1024, 0xAA);
        LoadDataWithTranspose(l0, l1, Squares(0, 1, 1, 0, 0));
        CHECK_EQ(Values(l0, 0, 9), Of<uint8_t>(0, 32, 64, 96, 128, 160, 192, 224, 0));
        CHECK_EQ(Values(l0, 32, 3), Of<uint8_t>(1, 33, 65));
        CHECK_EQ(Values(l0, 512, 3), Of<uint8_t>(16, 48, 80));
        CHECK_EQ(Peek(l0, 1023), 31 + 7 * 32);
    });
}

// 功能和参数讲解, b8: 3 iterations, srcStride 1, first with dstGap 1, then with dstFracGap 2.
TEST(transpose_of_bytes_as_in_the_figures) {
    CheckSquares<int8_t>(3, Squares(0, 3, 1, 1, 0), 8, {{0, {0, 1}}, {1, {2, 3}}, {2, {4, 5}}});
    CheckSquares<int8_t>(3, Squares(0, 3, 1, 0, 2), 8, {{0, {0, 3}}, {1, {1, 4}}, {2, {2, 5}}});
    CheckSquares<uint8_t, kL0a>(3, Squares(0, 3, 1, 0, 2), 6,
                                {{0, {0, 3}}, {1, {1, 4}}, {2, {2, 5}}});
}

// 功能和参数讲解, b16: a fractal is a square; dstFracGap has no effect.
TEST(transpose_of_16_bit_elements) {
    CheckSquares<half>(3, Squares(0, 3, 1, 0, 0), 4, {{0, {0}}, {1, {1}}, {2, {2}}});
    CheckSquares<bfloat16_t, kL0a>(6, Squares(1, 3, 2, 1, 7), 6, {{1, {0}}, {3, {2}}, {5, {4}}});
}

// 功能和参数讲解, b32: two fractals of 16 x 8 side by side make a square.
TEST(transpose_of_32_bit_elements) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0a, float>(pipe, 256, 0xAA);
        LoadDataWithTranspose(l0, NumberedSquares<float>(pipe, 1), Squares(0, 1, 1, 0, 0));
        // The source's row r is 8 r + 1 ... and 128 + 8 r + 1 ...; row 0 of the result is its
        // column 0, row 8 its column 8.
        CHECK_EQ(Values(l0, 0, 8), Of<float>(1, 9, 17, 25, 33, 41, 49, 57));
        CHECK_EQ(Values(l0, 128, 8), Of<float>(65, 73, 81, 89, 97, 105, 113, 121));
        CHECK_EQ(Values(l0, 64, 8), Of<float>(129, 137, 145, 153, 161, 169, 177, 185));
    });
    CheckSquares<float>(3, Squares(0, 3, 1, 1, 0), 7, {{0, {0, 1}}, {1, {2, 3}}, {2, {4, 5}}});
    CheckSquares<int32_t>(3, Squares(0, 3, 1, 0, 2), 7, {{0, {0, 3}}, {1, {1, 4}}, {2, {2, 5}}});
    CheckSquares<uint32_t, kL0a>(3, Squares(0, 3, 1, 0, 2), 6,
                                 {{0, {0, 3}}, {1, {1, 4}}, {2, {2, 5}}});
}

// 设置搬运起始位置: startIndex counts squares. 非连续搬入: srcStride 2, dstGap 2, dstFracGap 1.
TEST(transpose_start_stride_and_gaps) {
    CheckSquares<int8_t, kL0a>(3, Squares(1, 2, 1, 1, 0), 4, {{1, {0, 1}}, {2, {2, 3}}});
    CheckSquares<int8_t, kL0a>(3, Squares(0, 2, 2, 2, 1), 7, {{0, {0, 2}}, {2, {3, 5}}});
}

// 控制地址更新方式: addrMode 1 counts down from startIndex.
TEST(transpose_counts_down) {
    CheckSquares<int8_t, kL0a>(3, Squares(2, 3, 1, 1, 0, 1), 6,
                               {{2, {0, 1}}, {1, {2, 3}}, {0, {4, 5}}});
    AicBreaks("out-of-bounds", {"L1", "src"}, {}, [&] {
        TPipe pipe;
        static_cast<void>(Allocate<kL1, int8_t>(pipe, 1024));
        const auto l1 = NumberedSquares<int8_t>(pipe, 3);
        LoadDataWithTranspose(Allocate<kL0a, int8_t>(pipe, 4096), l1, Squares(1, 3, 1, 1, 0, 1));
    });
    AicBreaks("parameter-range", {"addrMode", "2"}, {}, [&] {
        TPipe pipe;
        LoadDataWithTranspose(Allocate<kL0a, int8_t>(pipe, 1024), NumberedSquares<int8_t>(pipe, 1),
                              Squares(0, 1, 1, 1, 0, 2));
    });
}

// "srcStride = 0表示在连续的重复执行周期之间，重复获取相同的分形矩阵", "repeatTimes =
// 0表示不执行搬运".
TEST(transpose_repeats_a_square_or_does_nothing) {
    CheckSquares<int8_t>(2, Squares(1, 2, 0, 1, 0), 4, {{1, {0, 1}}, {1, {2, 3}}});
    CheckSquares<int8_t>(1, Squares(0, 0, 1, 1, 0), 2, {});
}

// "开发者需要保证目的操作数转置后的分形没有重叠".
TEST(transpose_refuses_fractals_on_top_of_each_other) {
    const auto kernel = [](const LoadData2dTransposeParams& params) {
        TPipe pipe;
        LoadDataWithTranspose(Allocate<kL0b, int8_t>(pipe, 8192), NumberedSquares<int8_t>(pipe, 4),
                              params);
    };
    AicBreaks("overlap", {"dstGap", "dstFracGap"}, {}, [&] { kernel(Squares(0, 2, 1, 0, 0)); });
    AicBreaks("overlap", {}, {}, [&] { kernel(Squares(0, 4, 1, 0, 2)); });
    AicBreaks("overlap", {}, {}, [&] { kernel(Squares(0, 3, 1, 1, 3)); });
    OnAic({}, [&] {
        kernel(Squares(0, 1, 1, 0, 0));
        kernel(Squares(0, 3, 1, 0, 2));
        kernel(Squares(0, 4, 1, 1, 0));
        CHECK(true);
    });
}

// 矩阵计算输入搬运约束, 对齐约束: 512 bytes in L0A and L0B, 32 in L1.
TEST(transpose_alignment) {
    OnAic({}, [&] {
        TPipe pipe;
        const auto l0 = Allocate<kL0b, int8_t>(pipe, 2048);
        LoadDataWithTranspose(l0[512], NumberedSquares<int8_t>(pipe, 2)[32],
                              Squares(0, 1, 1, 0, 0));
        CHECK_EQ(Peek(l0, 512), Number<int8_t>(32));
        CHECK_EQ(Peek(l0, 513), Number<int8_t>(64));
    });
    AicBreaks("misaligned", {"512"}, {}, [&] {
        TPipe pipe;
        LoadDataWithTranspose(Allocate<kL0b, int8_t>(pipe, 2048)[256],
                              NumberedSquares<int8_t>(pipe, 1), Squares(0, 1, 1, 0, 0));
    });
    AicBreaks("misaligned", {"32"}, {}, [&] {
        TPipe pipe;
        LoadDataWithTranspose(Allocate<kL0b, int8_t>(pipe, 1024),
                              NumberedSquares<int8_t>(pipe, 2)[16], Squares(0, 1, 1, 0, 0));
    });
}

TEST(transpose_stays_inside_both_allocations) {
    const auto kernel = [](size_t sources, uint32_t bytes,
                           const LoadData2dTransposeParams& params) {
        TPipe pipe;
        const auto l1 = NumberedSquares<int8_t>(pipe, sources);
        static_cast<void>(Allocate<kL1, int8_t>(pipe, 4096));
        const auto l0 = Allocate<kL0b, int8_t>(pipe, bytes);
        static_cast<void>(Allocate<kL0b, int8_t>(pipe, 4096));
        LoadDataWithTranspose(l0, l1, params);
    };
    // Sources 1 and 3, fractals 0, 2, 3, 5.
    OnAic({}, [&] {
        kernel(4, 3072, Squares(1, 2, 2, 2, 1));
        CHECK(true);
    });
    AicBreaks("out-of-bounds", {"L1"}, {}, [&] { kernel(3, 3072, Squares(1, 2, 2, 2, 1)); });
    AicBreaks("out-of-bounds", {"L0B"}, {}, [&] { kernel(4, 3040, Squares(1, 2, 2, 2, 1)); });
}

TEST(transpose_goes_from_l1_to_l0a_or_l0b_on_a_cube_core) {
    AicBreaks("wrong-buffer", {"dst"}, {}, [&] {
        TPipe pipe;
        LoadDataWithTranspose(Allocate<kL0c, int32_t>(pipe, 512), NumberedSquares<int32_t>(pipe, 1),
                              Squares(0, 1, 1, 0, 0));
    });
    AicBreaks("wrong-buffer", {"src"}, {}, [&] {
        TPipe pipe;
        LoadDataWithTranspose(Allocate<kL0a, int8_t>(pipe, 1024),
                              Allocate<kL0b, int8_t>(pipe, 1024), Squares(0, 1, 1, 0, 0));
    });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [&] {
        TPipe pipe;
        const auto ub = Allocate<TPosition::VECCALC, int8_t>(pipe, 1024);
        LoadDataWithTranspose(ub, ub, Squares(0, 1, 1, 0, 0));
    });
}

// MTE1, as LoadData; six fractals between byte 0 and 3072 of L0B.
TEST(transpose_in_the_trace) {
    twin::Trace trace;
    twin::LaunchConfig config = Config(KernelKind::kAicOnly, {});
    config.trace = &trace;
    twin::Launch(config, [] {
        TPipe pipe;
        const auto l0 = Allocate<kL0b, int8_t>(pipe, 4096);
        LoadDataWithTranspose(l0, NumberedSquares<int8_t>(pipe, 3), Squares(0, 3, 1, 0, 2));
    });
    const twin::TraceRecord& record = trace.cores[0][0];
    CHECK_EQ(record.op, twin::TraceOp::kMove);
    CHECK_EQ(record.pipe, twin::TracePipe::kMte1);
    CHECK_EQ(record.buffer, twin::TraceBuffer::kL0b);
    CHECK_EQ(record.local_offset, 0u);
    CHECK_EQ(record.local_bytes, 3072u);
    CHECK_EQ(record.args[0], 6u);
    CHECK_EQ(record.args[1], 1u);
}

// ---- 调用示例: A [40, 70] and B [70, 50] come transposed, as [k, m] and [k, n] ----

namespace {

/// int8_t数据类型，A、B矩阵需要转置的场景示例, from GM: L0A is the Zz of A, L0B the Zn of B. Both
/// are aligned to squares: 64 rows of A, 64 columns of B, the depth to 96.
template <typename T>
void CheckOperands(uint16_t m, uint16_t k, uint16_t n) {
    constexpr size_t kSquare = kSide<T>;
    constexpr size_t c0 = 32 / sizeof(T);
    std::vector<T> a(size_t{k} * m);
    std::vector<T> b(size_t{k} * n);
    for (size_t i = 0; i < a.size(); ++i) a[i] = Number<T>(i * 3);
    for (size_t i = 0; i < b.size(); ++i) b[i] = Number<T>(i * 5 + 1);
    const size_t k_squares = Blocks(k, kSquare);
    const size_t m_squares = Blocks(m, kSquare);
    const size_t n_squares = Blocks(n, kSquare);
    const size_t per_square = kSquare * kSquare;
    OnAic({Input("a", a), Input("b", b)}, [&] {
        TPipe pipe;
        const auto size = [&](size_t squares) {
            return static_cast<uint32_t>(squares * per_square);
        };
        const auto a1 = Allocate<kL1, T>(pipe, size(k_squares * m_squares), 0xFF);
        const auto b1 = Allocate<TPosition::B1, T>(pipe, size(k_squares * n_squares), 0xFF);
        const auto a2 = Allocate<kL0a, T>(pipe, size(k_squares * m_squares), 0xAA);
        const auto b2 = Allocate<kL0b, T>(pipe, size(k_squares * n_squares), 0xAA);
        AscendC::Nd2NzParams nz = WholeMatrix(k, m);
        nz.dstNzC0Stride = static_cast<uint16_t>(k_squares * kSquare);
        DataCopy(a1, Gm(a), nz);
        nz = WholeMatrix(k, n);
        nz.dstNzC0Stride = static_cast<uint16_t>(k_squares * kSquare);
        DataCopy(b1, Gm(b), nz);
        PipeBarrier<PIPE_ALL>();
        for (size_t i = 0; i < m_squares; ++i) {
            const auto at = static_cast<uint32_t>(i * k_squares * per_square);
            LoadDataWithTranspose(a2[at], a1[at],
                                  Squares(0, static_cast<uint8_t>(k_squares), 1, 0,
                                          static_cast<uint16_t>(Blocks(k, c0) - 1)));
        }
        for (size_t i = 0; i < k_squares; ++i) {
            LoadDataWithTranspose(
                b2[static_cast<uint32_t>(i * n_squares * per_square)],
                b1[static_cast<uint32_t>(i * per_square)],
                Squares(0, static_cast<uint8_t>(n_squares), static_cast<uint16_t>(k_squares),
                        static_cast<uint16_t>(kFractals<T> - 1), 0));
        }
        size_t wrong = 0;
        for (size_t row = 0; row < m; ++row) {
            for (size_t i = 0; i < k; ++i)
                wrong += !Same(Peek(a2, ZzIndex(row, i, k, c0)), a[i * m + row]);
        }
        for (size_t i = 0; i < k; ++i) {
            for (size_t column = 0; column < n; ++column) {
                wrong +=
                    !Same(Peek(b2, ZnIndex(i, column, n_squares * kSquare, c0)), b[i * n + column]);
            }
        }
        CHECK_EQ(wrong, 0u);
    });
}

}  // namespace

TEST(transposed_operands_of_int8) {
    CheckOperands<int8_t>(40, 70, 50);
    CheckOperands<int8_t>(64, 32, 32);
    CheckOperands<int8_t>(17, 129, 97);
}

TEST(transposed_operands_of_half) {
    CheckOperands<half>(40, 70, 50);
    CheckOperands<half>(16, 48, 17);
}
