// The laboratory's quantised product, as two launches with data, against the arithmetic of
// quantisation in float and exact integer sums.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "arch/chip.h"
#include "bf16.h"
#include "check.h"
#include "kernel_operator.h"
#include "lab/kernels/quant_matmul_plan.h"
#include "lab/kernels/quantise_plan.h"
#include "plan/plan_gemm.h"
#include "plan/plan_linear.h"
#include "plan/units.h"
#include "twin/launch.h"

extern "C" void quant_matmul_bf16(QuantMatmulAddresses addresses, QuantMatmulPlan plan);
extern "C" void quantise_bf16(QuantiseAddresses addresses, QuantisePlan plan);

namespace {

constexpr const char* kChip = "Ascend910_9391";

template <typename T>
uint64_t Add(twin::LaunchConfig& config, const char* name, std::vector<T>& values, bool written) {
    twin::GmTensor tensor;
    tensor.name = name;
    tensor.data = values.data();
    tensor.bytes = values.size() * sizeof(T);
    tensor.writable = written;
    tensor.initialised = !written;
    config.tensors.push_back(tensor);
    return reinterpret_cast<uint64_t>(values.data());
}

twin::LaunchConfig Config(const char* name, twin::KernelKind kind) {
    twin::LaunchConfig config;
    config.name = name;
    config.chip = &arch::FindChip(kChip);
    config.kind = kind;
    return config;
}

void CheckProduct(uint32_t m, uint32_t n, uint32_t k, uint32_t held, uint32_t row_shares = 1) {
    std::mt19937 random(m * 31 + n * 7 + k);
    std::normal_distribution<float> normal;
    std::uniform_int_distribution<int> integer(-128, 127);
    std::vector<uint16_t> source(size_t{m} * k);
    for (auto& value : source) value = ToBf16(normal(random));
    std::vector<int8_t> a(size_t{m} * k, 99);
    std::vector<float> a_scales(size_t{m} * plan::kBlockFloats, -1);
    {
        twin::LaunchConfig config = Config("quantise", twin::KernelKind::kAivOnly);
        QuantiseAddresses addresses{};
        addresses.source = Add(config, "source", source, false);
        addresses.target = Add(config, "target", a, true);
        addresses.scales = Add(config, "scales", a_scales, true);
        twin::Launch(config, [&] { quantise_bf16(addresses, {m, k, held}); });
    }
    for (uint32_t row = 0; row < m; ++row) {
        float most = 0;
        for (uint32_t i = 0; i < k; ++i)
            most = std::max(most, std::fabs(FromBf16(source[row * k + i])));
        const float factor = 127.0f / most;
        for (uint32_t i = 0; i < k; ++i) {
            const float x = std::nearbyint(FromBf16(source[row * k + i]) * factor);
            CHECK_EQ(int{a[row * k + i]}, static_cast<int>(std::clamp(x, -128.0f, 127.0f)));
        }
        for (uint32_t i = 0; i < plan::kBlockFloats; ++i) {
            CHECK(std::fabs(a_scales[row * plan::kBlockFloats + i] * 127 / most - 1) < 1e-6f);
        }
    }

    std::vector<int8_t> weight(size_t{k} * n);  // [k, n]
    for (auto& value : weight) value = static_cast<int8_t>(integer(random));
    std::vector<float> columns(n);
    for (auto& value : columns) value = std::fabs(normal(random)) + 0.01f;
    std::vector<uint16_t> c(size_t{m} * n, 7);
    plan::GemmProblem problem;
    problem.name = "product";
    problem.m = m;
    problem.n = n;
    problem.k = k;
    problem.int8 = true;
    problem.cores = arch::FindChip(kChip).aic_count;
    problem.a_row_stride = k;
    problem.c_row_stride = n;
    problem.layout = plan::WeightLayout::kInOut;
    problem.row_shares = row_shares;
    QuantMatmulPlan plan{};
    plan.gemm = plan::PlanGemm(problem);
    plan.buffers = plan::PlanGemmBuffers({plan.gemm});
    plan.format = plan::W8A8(problem.layout, plan::LinearScales::kDynamic);
    std::vector<int32_t> sums(size_t{problem.cores} * plan::kSumsRingSlots * plan.gemm.tile_m *
                              plan.gemm.tile_n);
    twin::LaunchConfig config = Config("product", twin::KernelKind::kMixAic1Aiv2);
    QuantMatmulAddresses addresses{};
    addresses.a = Add(config, "a", a, false);
    addresses.a_scales = Add(config, "a_scales", a_scales, false);
    addresses.weight = Add(config, "weight", weight, false);
    addresses.quant.dequant_scale = Add(config, "dequant_scale", columns, false);
    addresses.sums = Add(config, "sums", sums, true);
    addresses.c = Add(config, "c", c, true);
    twin::Launch(config, [&] { quant_matmul_bf16(addresses, plan); });
    for (uint32_t row = 0; row < m; ++row) {
        for (uint32_t column = 0; column < n; ++column) {
            int32_t sum = 0;
            for (uint32_t i = 0; i < k; ++i) {
                sum += int32_t{a[row * k + i]} * weight[size_t{i} * n + column];
            }
            const float scaled = static_cast<float>(sum) * columns[column];
            const float wanted = scaled * a_scales[row * plan::kBlockFloats];
            CHECK_EQ(c[size_t{row} * n + column], ToBf16(wanted));
        }
    }
}

}  // namespace

TEST(a_quantised_product_as_two_launches) { CheckProduct(5, 192, 128, 128); }

// Rows in three pieces, more rows than vector cores, and columns that are dealt out unevenly.
TEST(a_quantised_product_with_tails) { CheckProduct(51, 320, 320, 128); }

// A single row: one of the two vector cores of a group has none.
TEST(a_quantised_product_of_one_row) { CheckProduct(1, 1056, 64, 64); }

// Two tiles of sums in turns, the second narrower; the ring goes round more than once.
TEST(a_quantised_product_of_many_rows) {
    CheckProduct(300, 24 * 160 + 96, 64, 64);
    CheckProduct(601, 1888, 128, 128, 4);
}
