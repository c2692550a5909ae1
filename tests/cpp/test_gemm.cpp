// The GEMM block against float64 (bf16) and exact integers (int8), over layouts, tails and core
// counts.
#include <cmath>
#include <random>
#include <vector>

#include "bf16.h"
#include "check.h"
#include "kernel_operator.h"
#include "kernels/gemm.h"
#include "plan/plan_gemm.h"
#include "twin/launch.h"

namespace {

template <typename T>
void RunGemm(const GemmPlan& plan, const GemmBuffers& buffers, GM_ADDR a, GM_ADDR b, GM_ADDR c) {
    AscendC::TPipe pipe;
    kernels::WeightStream<1> stream;
    kernels::Gemm gemm;
    stream.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    gemm.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    stream.AddPhase(plan, b);
    stream.Start();
    gemm.Run<T>(plan, a, c, stream);
    gemm.Close(&pipe);
    stream.Close(&pipe);
}

struct Shape {
    uint32_t m, n, k, batches;
    plan::WeightLayout layout;
    uint32_t stored_n = 0;  // columns of the weight of which B is the first n; 0: n
    uint32_t row_gap = 16;  // elements between rows of A
    uint32_t row_shares = 1;
    uint32_t depth_shares = 1;
};

// How the test makes, reads and adds elements of a type.
struct Bf16 {
    using Storage = uint16_t;
    using Sum = float;
    using Kernel = bfloat16_t;
    static constexpr uint32_t kC0 = 16;
    static Storage Random(std::mt19937& random) {
        return ToBf16(std::normal_distribution<float>()(random));
    }
    static double Value(Storage value) { return FromBf16(value); }
};

struct Int8 {
    using Storage = int8_t;
    using Sum = int32_t;
    using Kernel = int8_t;
    static constexpr uint32_t kC0 = 32;
    static Storage Random(std::mt19937& random) {
        return static_cast<Storage>(std::uniform_int_distribution<int>(-128, 127)(random));
    }
    static double Value(Storage value) { return value; }
};

/// Index of B[k][n] in a weight with `columns` columns.
size_t WeightIndex(plan::WeightLayout layout, size_t n, size_t k, size_t columns, size_t depth,
                   size_t c0) {
    switch (layout) {
        case plan::WeightLayout::kOutIn:
            return n * depth + k;
        case plan::WeightLayout::kOutInNz:
            return (k / c0 * columns + n) * c0 + k % c0;
        case plan::WeightLayout::kInOut:
            return k * columns + n;
        case plan::WeightLayout::kInOutNz:
            return (n / c0 * depth + k) * c0 + n % c0;
    }
    return 0;
}

/// Largest error of C relative to the norm of its row, against double arithmetic.
template <typename Type>
double GemmError(const Shape& shape, const char* soc) {
    using Storage = typename Type::Storage;
    using Sum = typename Type::Sum;
    std::mt19937 random(shape.m * 31 + shape.n * 7 + shape.k);
    const uint32_t a_stride = shape.k * shape.batches + shape.row_gap;
    const uint32_t c_stride = shape.n * shape.batches;
    const uint32_t stored_n = shape.stored_n == 0 ? shape.n : shape.stored_n;
    std::vector<Storage> a(size_t{shape.m} * a_stride);
    std::vector<Storage> b(size_t{shape.batches} * stored_n * shape.k);
    for (auto& value : a) value = Type::Random(random);
    for (auto& value : b) value = Type::Random(random);
    const size_t sums = size_t{shape.m} * c_stride;
    std::vector<Sum> c(sums * shape.depth_shares, static_cast<Sum>(-77777777));

    plan::GemmProblem problem;
    problem.name = "gemm";
    problem.m = shape.m;
    problem.n = shape.n;
    problem.k = shape.k;
    problem.batches = shape.batches;
    problem.int8 = std::is_same_v<Type, Int8>;
    problem.c_sums = true;
    problem.cores = arch::FindChip(soc).aic_count;
    problem.a_row_stride = a_stride;
    problem.a_batch_stride = shape.k;
    problem.c_row_stride = c_stride;
    problem.c_batch_stride = shape.n;
    problem.layout = shape.layout;
    problem.stored_n = shape.stored_n;
    problem.row_shares = shape.row_shares;
    problem.depth_shares = shape.depth_shares;
    problem.c_share_stride = static_cast<uint32_t>(sums);
    const GemmPlan plan = plan::PlanGemm(problem);
    const GemmBuffers buffers = plan::PlanGemmBuffers({plan});

    twin::LaunchConfig config;
    config.name = "gemm";
    config.chip = &arch::FindChip(soc);
    config.kind = twin::KernelKind::kAicOnly;
    config.tensors = {{"a", a.data(), a.size() * sizeof(Storage), false},
                      {"b", b.data(), b.size() * sizeof(Storage), false},
                      {"c", c.data(), c.size() * sizeof(Sum), true}};
    twin::Launch(config, [&] {
        RunGemm<typename Type::Kernel>(plan, buffers, reinterpret_cast<GM_ADDR>(a.data()),
                                       reinterpret_cast<GM_ADDR>(b.data()),
                                       reinterpret_cast<GM_ADDR>(c.data()));
    });

    double worst = 0;
    for (uint32_t m = 0; m < shape.m; ++m) {
        double error = 0;
        double norm = 0;
        for (uint32_t batch = 0; batch < shape.batches; ++batch) {
            for (uint32_t n = 0; n < shape.n; ++n) {
                double sum = 0;
                for (uint32_t k = 0; k < shape.k; ++k) {
                    const size_t at = WeightIndex(shape.layout, n, k, stored_n, shape.k, Type::kC0);
                    sum += Type::Value(a[size_t{m} * a_stride + batch * shape.k + k]) *
                           Type::Value(b[size_t{batch} * stored_n * shape.k + at]);
                }
                double result = 0;
                for (uint32_t share = 0; share < shape.depth_shares; ++share) {
                    result += c[sums * share + size_t{m} * c_stride + batch * shape.n + n];
                }
                const double difference = result - sum;
                error += std::isnan(difference) ? INFINITY : difference * difference;
                norm += sum * sum;
            }
        }
        worst = std::max(worst, std::sqrt(error / norm));
    }
    return worst;
}

// Sums of fp32 products of bf16 numbers: rounding of the sums only.
constexpr double kFp32Sums = 1e-5;

}  // namespace

TEST(gemm_out_in) {
    for (const uint32_t m : {1u, 2u, 15u, 16u, 17u, 100u, 128u, 129u, 200u}) {
        CHECK(GemmError<Bf16>({m, 16 * 29, 16 * 21, 1, plan::WeightLayout::kOutIn},
                              "Ascend910_9391") < kFp32Sums);
    }
}

TEST(gemm_out_in_nz) {
    for (const uint32_t m : {1u, 16u, 33u, 130u}) {
        CHECK(GemmError<Bf16>({m, 16 * 50, 16 * 17, 1, plan::WeightLayout::kOutInNz},
                              "Ascend910B3") < kFp32Sums);
    }
}

TEST(gemm_in_out_per_head) {
    for (const uint32_t m : {1u, 3u, 64u, 65u, 140u}) {
        CHECK(GemmError<Bf16>({m, 512, 192, 5, plan::WeightLayout::kInOut}, "Ascend910_9391") <
              kFp32Sums);
        CHECK(GemmError<Bf16>({m, 512, 128, 3, plan::WeightLayout::kInOutNz}, "Ascend910B3") <
              kFp32Sums);
    }
}

TEST(gemm_with_fewer_strips_than_cores) {
    CHECK(GemmError<Bf16>({5, 16 * 3, 16, 1, plan::WeightLayout::kOutIn}, "Ascend910_9391") <
          kFp32Sums);
}

TEST(gemm_with_a_part_of_a_fused_weight) {
    for (const plan::WeightLayout layout :
         {plan::WeightLayout::kOutIn, plan::WeightLayout::kOutInNz}) {
        CHECK(GemmError<Bf16>({9, 128, 336, 1, layout, 192}, "Ascend910_9391") < kFp32Sums);
    }
}

// Rows dealt out to groups of cores, some of which get none; and more of them than a block has.
TEST(gemm_with_rows_dealt_out) {
    for (const uint32_t shares : {2u, 3u, 4u, 6u, 24u}) {
        for (const uint32_t m : {5u, 128u, 300u, 1100u}) {
            CHECK(GemmError<Bf16>({m, 16 * 17, 32, 1, plan::WeightLayout::kOutIn, 0, 16, shares},
                                  "Ascend910_9391") < kFp32Sums);
        }
    }
    CHECK(GemmError<Bf16>({2200, 16 * 3, 48, 1, plan::WeightLayout::kOutInNz}, "Ascend910_9391") <
          kFp32Sums);
}

// Depth dealt out, too; the shares of it need not be equal.
TEST(gemm_with_depth_dealt_out) {
    for (const uint32_t shares : {2u, 3u, 4u}) {
        for (const uint32_t m : {1u, 16u, 100u}) {
            CHECK(GemmError<Bf16>(
                      {m, 16 * 17, 16 * 100, 1, plan::WeightLayout::kOutIn, 0, 16, 1, shares},
                      "Ascend910_9391") < kFp32Sums);
        }
    }
    CHECK(GemmError<Bf16>({130, 16 * 5, 16 * 40, 1, plan::WeightLayout::kOutInNz, 0, 16, 2, 2},
                          "Ascend910B3") < kFp32Sums);
}

// A of a tile of rows takes more than one slot, more than two, or shares one with other heads.
TEST(gemm_with_pieces_of_a) {
    CHECK(GemmError<Bf16>({16, 16 * 9, 16 * 300, 1, plan::WeightLayout::kOutIn}, "Ascend910_9391") <
          kFp32Sums);
    CHECK(GemmError<Bf16>({16, 16 * 30, 16 * 700, 1, plan::WeightLayout::kOutInNz},
                          "Ascend910_9391") < kFp32Sums);
    CHECK(GemmError<Bf16>({130, 16 * 2, 16 * 60, 1, plan::WeightLayout::kOutIn}, "Ascend910_9391") <
          kFp32Sums);
    CHECK(GemmError<Bf16>({7, 64, 64, 250, plan::WeightLayout::kInOut}, "Ascend910_9391") <
          kFp32Sums);
}

// Tiles of sums that take all of L0C, of more columns on some cores than on others.
TEST(gemm_with_large_tiles) {
    for (const uint32_t m : {65u, 128u, 150u}) {
        CHECK(GemmError<Bf16>({m, 16 * 24 * 10 + 32, 16 * 64, 1, plan::WeightLayout::kOutIn},
                              "Ascend910_9391") < kFp32Sums);
        CHECK(GemmError<Bf16>({m, 16 * 20 * 9, 16 * 66, 1, plan::WeightLayout::kOutInNz},
                              "Ascend910B3") < kFp32Sums);
    }
}

// Two tiles of sums in turns, the second narrower, of one core in three or alone; of heads that end
// within a core's share; with rows dealt out; and in both ways of storing int8.
TEST(gemm_with_tiles_in_turns) {
    for (const uint32_t m : {129u, 300u}) {
        CHECK(GemmError<Bf16>({m, 16 * 24 * 11 + 48, 16 * 33, 1, plan::WeightLayout::kOutIn},
                              "Ascend910_9391") < kFp32Sums);
        CHECK(GemmError<Bf16>({m, 512, 32, 7, plan::WeightLayout::kInOut}, "Ascend910_9391") <
              kFp32Sums);
    }
    CHECK(GemmError<Bf16>({140, 16 * 20 * 17, 80, 1, plan::WeightLayout::kOutInNz}, "Ascend910B3") <
          kFp32Sums);
    CHECK(GemmError<Bf16>({1200, 16 * 6 * 19, 32, 1, plan::WeightLayout::kInOut, 0, 16, 4},
                          "Ascend910_9391") < kFp32Sums);
    for (const plan::WeightLayout layout :
         {plan::WeightLayout::kInOut, plan::WeightLayout::kInOutNz}) {
        CHECK_EQ(GemmError<Int8>({150, 32 * 24 * 5 + 64, 32 * 35, 1, layout}, "Ascend910_9391"),
                 0.0);
    }
}

// 132 strips of fused_qkv_a are 5.5 for each of 24 cores.
TEST(depth_is_dealt_out_where_columns_do_not_go_round) {
    const auto shares = [](uint32_t m, uint32_t n, uint32_t cores, uint32_t most) {
        plan::GemmProblem problem;
        problem.name = "gemm";
        problem.m = m;
        problem.n = n;
        problem.k = 7168;
        problem.cores = cores;
        problem.a_row_stride = problem.k;
        problem.c_row_stride = n;
        return plan::BestDepthShares(problem, most);
    };
    CHECK_EQ(shares(16, 2112, 24, 4), 2U);
    CHECK_EQ(shares(16, 2112, 24, 1), 1U);
    CHECK_EQ(shares(16, 24 * 64, 24, 4), 1U);
    CHECK_EQ(shares(129, 2112, 24, 4), 1U);
}

TEST(rows_are_dealt_out_where_it_pays) {
    const auto shares = [](uint32_t m, uint32_t n, uint32_t k) {
        plan::GemmProblem problem;
        problem.name = "gemm";
        problem.m = m;
        problem.n = n;
        problem.k = k;
        problem.cores = 20;
        problem.a_row_stride = k;
        problem.c_row_stride = n;
        return plan::BestRowShares(problem);
    };
    CHECK_EQ(shares(16, 17408, 5120), 1U);
    CHECK_EQ(shares(128, 576, 6144), 1U);
    CHECK(shares(1024, 576, 6144) > 1);
}

// [T, 128, 512]: a row of 65,536 elements, one more than a 16-bit stride can say.
TEST(gemm_with_long_rows_on_the_left) {
    CHECK(GemmError<Bf16>({3, 128, 512, 2, plan::WeightLayout::kInOut, 0, 65536 - 1024},
                          "Ascend910_9391") < kFp32Sums);
}

// Integer sums are exact, whatever the order.
TEST(gemm_int8_in_out) {
    for (const uint32_t m : {1u, 2u, 16u, 17u, 128u, 130u}) {
        CHECK_EQ(
            GemmError<Int8>({m, 32 * 29, 32 * 21, 1, plan::WeightLayout::kInOut}, "Ascend910_9391"),
            0.0);
    }
    CHECK_EQ(GemmError<Int8>({3, 32 * 3, 32, 1, plan::WeightLayout::kInOut}, "Ascend910B3"), 0.0);
}

TEST(gemm_int8_in_out_nz) {
    for (const uint32_t m : {1u, 15u, 64u, 65u, 200u}) {
        CHECK_EQ(
            GemmError<Int8>({m, 32 * 50, 32 * 67, 1, plan::WeightLayout::kInOutNz}, "Ascend910B3"),
            0.0);
    }
}

TEST(plan_gemm_refuses_what_the_fields_cannot_hold) {
    plan::GemmProblem problem;
    problem.name = "w";
    problem.m = 4;
    problem.n = 64;
    problem.k = 64;
    problem.a_row_stride = 131072;
    CHECK_THROWS_WITH(plan::PlanGemm(problem), std::invalid_argument,
                      "at most 262140 bytes, got 262144");
    problem.a_row_stride = 64;
    problem.n = 40;
    CHECK_THROWS_WITH(plan::PlanGemm(problem), std::invalid_argument, "multiple of 16, got 40");
    problem.n = 48;
    problem.int8 = true;
    problem.layout = plan::WeightLayout::kInOut;
    CHECK_THROWS_WITH(plan::PlanGemm(problem), std::invalid_argument, "multiple of 32, got 48");
}
