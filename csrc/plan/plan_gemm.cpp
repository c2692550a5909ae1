#include "plan/plan_gemm.h"

#include <algorithm>
#include <stdexcept>

#include "arch/chip.h"

namespace plan {

namespace {

constexpr uint32_t kElementBytes = 2;
// Four weight tiles of 64 KiB and two tiles of A leave a quarter of L1 free. Rows of 256 elements
// (512 bytes) are what ND2NZ loads at its best rate (ADx: 302 MB in 214.5 us with tiles of [64,
// 256] halves).
constexpr uint32_t kWeightSlots = 4;
constexpr uint32_t kWeightSlotBytes = 64 * 1024;
constexpr uint32_t kRowElements = 256;
constexpr uint32_t kMostRows = 128;
constexpr uint32_t kMostTileElements = 64 * 1024 / kElementBytes;  // of A
constexpr uint32_t kL0SlotElements = arch::kL0bBytes / 2 / kElementBytes;
constexpr uint32_t kL0cSlotElements = arch::kL0cBytes / 2 / sizeof(float);

uint32_t RoundUp(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

void Require(bool condition, const GemmProblem& problem, const std::string& what, uint32_t actual) {
    if (condition) return;
    throw std::invalid_argument(problem.name + ": " + what + ", got " + std::to_string(actual));
}

}  // namespace

GemmPlan PlanGemm(const GemmProblem& problem) {
    const bool column_major =
        problem.layout == WeightLayout::kOutIn || problem.layout == WeightLayout::kOutInNz;
    Require(problem.m > 0, problem, "rows must be positive", problem.m);
    Require(problem.n > 0 && problem.n % kStrip == 0, problem,
            "output columns must be a positive multiple of 16", problem.n);
    Require(problem.k > 0 && problem.k % kStrip == 0, problem,
            "depth must be a positive multiple of 16", problem.k);
    Require(problem.a_row_stride <= kMostStride, problem,
            "the row stride of the left matrix must be at most 65535", problem.a_row_stride);
    const uint32_t b_stride = problem.layout == WeightLayout::kOutIn     ? problem.k
                              : problem.layout == WeightLayout::kInOut   ? problem.n
                              : problem.layout == WeightLayout::kOutInNz ? problem.n
                                                                         : problem.k;
    Require(b_stride <= kMostStride, problem, "the stride of the weight must be at most 65535",
            b_stride);

    GemmPlan plan{};
    plan.m = problem.m;
    plan.n = problem.n;
    plan.k = problem.k;
    plan.batches = problem.batches;
    plan.a_row_stride = problem.a_row_stride;
    plan.a_batch_stride = problem.a_batch_stride;
    plan.c_row_stride = problem.c_row_stride;
    plan.c_batch_stride = problem.c_batch_stride;
    plan.b_layout = static_cast<uint32_t>(problem.layout);
    plan.tile_m = std::min(problem.m, kMostRows);
    // The contiguous direction of the weight gets the long side of the tile, as far as L0C holds
    // the sums twice.
    const uint32_t rows = RoundUp(plan.tile_m, kStrip);
    const uint32_t wide = column_major ? kRowElements / 2 : kRowElements;
    plan.tile_n = std::min({wide, kL0cSlotElements / rows / kStrip * kStrip, problem.n});
    plan.tile_k = std::min(kWeightSlotBytes / kElementBytes / plan.tile_n / kStrip * kStrip,
                           column_major ? kRowElements : problem.k);
    plan.tile_k = std::min({plan.tile_k, kMostTileElements / rows / kStrip * kStrip, problem.k});
    plan.l0_k = std::min({kL0SlotElements / plan.tile_n, kL0SlotElements / rows, plan.tile_k}) /
                kStrip * kStrip;
    return plan;
}

GemmBuffers PlanGemmBuffers(const GemmPlan* plans, int count) {
    GemmBuffers buffers{};
    buffers.b_slots = kWeightSlots;
    for (int i = 0; i < count; ++i) {
        const GemmPlan& plan = plans[i];
        const uint32_t rows = RoundUp(plan.tile_m, kStrip);
        buffers.b_slot_bytes =
            std::max(buffers.b_slot_bytes, plan.tile_n * plan.tile_k * kElementBytes);
        buffers.a_slot_bytes = std::max(buffers.a_slot_bytes, rows * plan.tile_k * kElementBytes);
        buffers.l0c_slot_bytes = std::max(
            buffers.l0c_slot_bytes, rows * plan.tile_n * static_cast<uint32_t>(sizeof(float)));
    }
    if (buffers.b_slots * buffers.b_slot_bytes + 2 * buffers.a_slot_bytes > arch::kL1Bytes ||
        2 * buffers.l0c_slot_bytes > arch::kL0cBytes) {
        throw std::logic_error("the tiles of these GEMMs do not fit a core");
    }
    return buffers;
}

}  // namespace plan
