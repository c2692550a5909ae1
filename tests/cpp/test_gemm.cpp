// The GEMM block against float64, over layouts, types, tails and core counts.
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "kernel_operator.h"
#include "kernels/gemm.h"
#include "plan/plan_gemm.h"
#include "twin/launch.h"

namespace {

uint16_t ToBf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float FromBf16(uint16_t value) {
    const uint32_t bits = static_cast<uint32_t>(value) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof(result));
    return result;
}

void RunGemm(const GemmPlan& plan, const GemmBuffers& buffers, GM_ADDR a, GM_ADDR b, GM_ADDR c) {
    AscendC::TPipe pipe;
    kernels::WeightStream<bfloat16_t, 1> stream;
    kernels::Gemm<bfloat16_t> gemm;
    stream.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    gemm.Open(&pipe, buffers, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
    stream.AddPhase(plan, b);
    stream.Start();
    gemm.Run<float>(plan, a, c, stream);
    gemm.Close(&pipe);
    stream.Close(&pipe);
}

struct Shape {
    uint32_t m, n, k, batches;
    plan::WeightLayout layout;
};

/// Largest error of C relative to the norm of its row, against double arithmetic.
double GemmError(const Shape& shape, const char* soc) {
    std::mt19937 random(shape.m * 31 + shape.n * 7 + shape.k);
    std::normal_distribution<float> normal;
    const uint32_t a_stride = shape.k * shape.batches + 16;
    const uint32_t c_stride = shape.n * shape.batches;
    std::vector<uint16_t> a(size_t{shape.m} * a_stride);
    std::vector<uint16_t> logical(size_t{shape.batches} * shape.n * shape.k);  // [batch, n, k]
    for (auto& value : a) value = ToBf16(normal(random));
    for (auto& value : logical) value = ToBf16(normal(random));

    std::vector<uint16_t> b(logical.size());
    for (uint32_t batch = 0; batch < shape.batches; ++batch) {
        for (uint32_t n = 0; n < shape.n; ++n) {
            for (uint32_t k = 0; k < shape.k; ++k) {
                size_t at = 0;
                switch (shape.layout) {
                    case plan::WeightLayout::kOutIn:
                        at = size_t{n} * shape.k + k;
                        break;
                    case plan::WeightLayout::kOutInNz:
                        at = (size_t{k / 16} * shape.n + n) * 16 + k % 16;
                        break;
                    case plan::WeightLayout::kInOut:
                        at = size_t{k} * shape.n + n;
                        break;
                    case plan::WeightLayout::kInOutNz:
                        at = (size_t{n / 16} * shape.k + k) * 16 + n % 16;
                        break;
                }
                const size_t first = size_t{batch} * shape.n * shape.k;
                b[first + at] = logical[first + size_t{n} * shape.k + k];
            }
        }
    }
    std::vector<float> c(size_t{shape.m} * c_stride, std::nanf(""));

    plan::GemmProblem problem;
    problem.name = "gemm";
    problem.m = shape.m;
    problem.n = shape.n;
    problem.k = shape.k;
    problem.batches = shape.batches;
    problem.a_row_stride = a_stride;
    problem.a_batch_stride = shape.k;
    problem.c_row_stride = c_stride;
    problem.c_batch_stride = shape.n;
    problem.layout = shape.layout;
    const GemmPlan plan = plan::PlanGemm(problem);
    const GemmBuffers buffers = plan::PlanGemmBuffers(&plan, 1);

    twin::LaunchConfig config;
    config.name = "gemm";
    config.chip = &arch::FindChip(soc);
    config.kind = twin::KernelKind::kAicOnly;
    config.tensors = {{"a", a.data(), a.size() * 2, false},
                      {"b", b.data(), b.size() * 2, false},
                      {"c", c.data(), c.size() * 4, true}};
    twin::Launch(config, [&] {
        RunGemm(plan, buffers, reinterpret_cast<GM_ADDR>(a.data()),
                reinterpret_cast<GM_ADDR>(b.data()), reinterpret_cast<GM_ADDR>(c.data()));
    });

    double worst = 0;
    for (uint32_t m = 0; m < shape.m; ++m) {
        double error = 0;
        double norm = 0;
        for (uint32_t batch = 0; batch < shape.batches; ++batch) {
            for (uint32_t n = 0; n < shape.n; ++n) {
                double sum = 0;
                for (uint32_t k = 0; k < shape.k; ++k) {
                    sum += static_cast<double>(
                               FromBf16(a[size_t{m} * a_stride + batch * shape.k + k])) *
                           FromBf16(logical[(size_t{batch} * shape.n + n) * shape.k + k]);
                }
                const double difference = c[size_t{m} * c_stride + batch * shape.n + n] - sum;
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
        CHECK(GemmError({m, 16 * 29, 16 * 21, 1, plan::WeightLayout::kOutIn}, "Ascend910_9391") <
              kFp32Sums);
    }
}

TEST(gemm_out_in_nz) {
    for (const uint32_t m : {1u, 16u, 33u, 130u}) {
        CHECK(GemmError({m, 16 * 50, 16 * 17, 1, plan::WeightLayout::kOutInNz}, "Ascend910B3") <
              kFp32Sums);
    }
}

TEST(gemm_in_out_per_head) {
    for (const uint32_t m : {1u, 3u, 64u, 65u, 140u}) {
        CHECK(GemmError({m, 512, 192, 5, plan::WeightLayout::kInOut}, "Ascend910_9391") <
              kFp32Sums);
        CHECK(GemmError({m, 512, 128, 3, plan::WeightLayout::kInOutNz}, "Ascend910B3") < kFp32Sums);
    }
}

TEST(gemm_with_fewer_strips_than_cores) {
    CHECK(GemmError({5, 16 * 3, 16, 1, plan::WeightLayout::kOutIn}, "Ascend910_9391") < kFp32Sums);
}

TEST(plan_gemm_refuses_what_the_fields_cannot_hold) {
    plan::GemmProblem problem;
    problem.name = "w";
    problem.m = 4;
    problem.n = 64;
    problem.k = 64;
    problem.a_row_stride = 65536;
    CHECK_THROWS_WITH(plan::PlanGemm(problem), std::invalid_argument, "at most 65535, got 65536");
    problem.a_row_stride = 64;
    problem.n = 40;
    CHECK_THROWS_WITH(plan::PlanGemm(problem), std::invalid_argument, "multiple of 16, got 40");
}
