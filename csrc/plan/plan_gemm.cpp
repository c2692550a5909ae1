#include "plan/plan_gemm.h"
#include "plan/rounding.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace plan {

namespace {

// Four weight tiles of 64 KiB and two slots of A fill L1. ND2NZ reaches its best rate with rows of
// 512 bytes (ADx: 302 MB in 214.5 us with tiles of [64, 256] halves).
constexpr uint32_t kWeightSlots = 4;
constexpr uint32_t kWeightSlotBytes = 64 * 1024;
// The largest slot of which four leave room for A: a tile of 176 columns.
constexpr uint32_t kLargeSlotBytes = 88 * 1024;
// From this depth on a product takes at least ten times as long as moving its sums out of L0C.
constexpr uint32_t kLongDepth = 1024;
constexpr uint32_t kRowBytes = 512;
constexpr uint32_t kMaxRows = 128;
// With 1024 rows of A and a tile of columns for each core in L2, a product with m = n = k = 8192
// reads its weight from HBM 8 times instead of 64.
constexpr uint32_t kBlockRows = 8 * kMaxRows;
constexpr uint32_t kMaxTileBytes = 64 * 1024;            // of A
constexpr uint32_t kMaxSlotBytes = 120 * 1024;           // of A
constexpr uint32_t kMaxSlotBytesOfManyRows = 76 * 1024;  // of A
// Maximum number of batches whose pieces of A share a slot; of 128 heads a core gets at most 8.
constexpr uint32_t kSlotBatches = 4;

// What a row of an ND2NZ load costs beside its bytes, as bytes (ADx data_copy into L1: rows of 128
// bytes take 1.32 times as long as rows of 512).
constexpr double kRowOverheadBytes = 61;

uint32_t RoundDown(uint32_t value, uint32_t unit) { return value / unit * unit; }

void Require(bool condition, const GemmProblem& problem, const std::string& what, uint64_t actual) {
    if (condition) return;
    throw std::invalid_argument(problem.name + ": " + what + ", got " + std::to_string(actual));
}

}  // namespace

GemmPlan PlanGemm(const GemmProblem& problem) {
    const bool deep = DepthIsContiguous(problem.layout);
    if (problem.int8 && deep) {
        throw std::logic_error(problem.name + ": int8 weights are stored [in, out]");
    }
    const bool nz = IsFractal(problem.layout);
    // L0A and L0B have two slots each, and so has L0C.
    const uint32_t l0_slot_bytes =
        std::min(problem.architecture->l0a_bytes, problem.architecture->l0b_bytes) / 2;
    const auto l0c_slot_elements =
        static_cast<uint32_t>(problem.architecture->l0c_bytes / 2 / sizeof(float));
    const uint32_t bytes = problem.int8 ? 1 : kHalfBytes;
    const uint32_t unit = kBlockBytes / bytes;  // elements of a row of a fractal
    const uint32_t strip = std::max(problem.int8 ? unit : kStrip, problem.column_unit);
    const std::string multiple = " must be a positive multiple of " + std::to_string(unit);
    Require(problem.m > 0, problem, "rows must be positive", problem.m);
    Require(problem.n > 0 && problem.n % strip == 0, problem,
            "output columns must be a positive multiple of " + std::to_string(strip), problem.n);
    Require(problem.k > 0 && problem.k % unit == 0, problem, "depth" + multiple, problem.k);
    const uint64_t a_stride = uint64_t{problem.a_row_stride} * bytes;
    Require(a_stride <= kMaxLeftStrideBytes, problem,
            "a row of the left matrix must be at most " + std::to_string(kMaxLeftStrideBytes) +
                " bytes",
            a_stride);
    const uint32_t stored_n = problem.stored_n == 0 ? problem.n : problem.stored_n;
    const uint32_t b_stride = deep == nz ? stored_n : problem.k;
    Require((nz ? b_stride : b_stride * bytes / kHalfBytes) <= kMaxWeightStride, problem,
            "the stride of the weight must be at most " + std::to_string(kMaxWeightStride) +
                " units of " + (nz ? "a row" : "2 bytes"),
            nz ? b_stride : b_stride * bytes / kHalfBytes);

    GemmPlan plan{};
    plan.m = problem.m;
    plan.n = problem.n;
    plan.k = problem.k;
    plan.batches = problem.batches;
    plan.element_bytes = bytes;
    plan.strip = strip;
    plan.c_sums = problem.int8 || problem.c_sums ? 1 : 0;
    plan.a_row_stride = problem.a_row_stride;
    plan.a_batch_stride = problem.a_batch_stride;
    plan.c_row_stride = problem.c_row_stride;
    plan.c_batch_stride = problem.c_batch_stride;
    plan.b_layout = static_cast<uint32_t>(problem.layout);
    plan.b_stride = b_stride;
    plan.tile_m = std::min(problem.m, kMaxRows);
    // The contiguous dimension of the weight gets the long side of the tile, as far as L0C can hold
    // the sums of two tiles and a core has that many columns.
    const auto rows = static_cast<uint32_t>(RoundUp(plan.tile_m, kStrip));
    const uint32_t row = kRowBytes / bytes;
    const uint32_t wide = deep ? row / 2 : row;
    const uint32_t column_shares = problem.cores / problem.row_shares / problem.depth_shares;
    const auto share = static_cast<uint32_t>(
        CeilDiv(uint64_t{problem.batches} * problem.n / strip, column_shares) * strip);
    plan.l0c_slots = 1;
    plan.c_tiles = 1;
    uint32_t weight_slot_bytes =
        problem.weight_slot_bytes > 0 ? problem.weight_slot_bytes : kWeightSlotBytes;
    const uint32_t left_bytes =
        (problem.architecture->usable_l1_bytes - kWeightSlots * weight_slot_bytes) / 2;
    plan.tile_n = std::min({wide, RoundDown(l0c_slot_elements / rows, strip), problem.n, share});
    const auto depth_share = static_cast<uint32_t>(CeilDiv(problem.k, problem.depth_shares));
    const uint32_t large = RoundDown(kLargeSlotBytes / bytes / row, strip);
    const bool many_rows = rows > kMaxRows / 2;
    const uint32_t columns = std::min(share, problem.n);  // of a core, in one batch
    if (problem.m > kMaxRows && columns > plan.tile_n) {
        // Each core reads A once for every group of columns, and a group of one tile needs more of
        // L2 than it has. Two tiles are in turns multiplied with the same piece of A; while one is
        // stored, the other is summed up.
        plan.c_tiles = 2;
        if (deep || nz) {
            // Groups of the same width: narrow ones would wait for L2.
            const auto tiles = 2 * static_cast<uint32_t>(CeilDiv(columns, 2 * plan.tile_n));
            plan.tile_n = static_cast<uint32_t>(RoundUp(CeilDiv(columns, tiles), strip));
        }
    } else if (many_rows && share > plan.tile_n && share <= large && depth_share >= kLongDepth) {
        // Likewise, one tile takes all of the core's columns.
        plan.l0c_slots = 2;
        weight_slot_bytes = kLargeSlotBytes;
        plan.tile_n = std::min(share, problem.n);
    }
    plan.tile_k = RoundDown(weight_slot_bytes / bytes / plan.tile_n, deep ? row : unit);
    const uint32_t tile_bytes = std::min(kMaxTileBytes, left_bytes);
    plan.tile_k = std::min({plan.tile_k, RoundDown(tile_bytes / bytes / rows, unit), problem.k});
    if (plan.tile_k == 0) throw std::logic_error("the tiles of these GEMMs do not fit a core");
    plan.row_shares = problem.row_shares;
    plan.depth_shares = problem.depth_shares;
    plan.c_share_stride = problem.c_share_stride;
    // Where depth is contiguous, shares end with a tile, which keeps the rows of ND2NZ long.
    plan.depth_unit = problem.int8 ? unit : plan.tile_k;
    const auto depth = static_cast<uint32_t>(RoundUp(
        CeilDiv(CeilDiv(problem.k, plan.depth_unit), problem.depth_shares) * plan.depth_unit,
        plan.tile_k));
    const uint32_t slot_bytes =
        std::min(many_rows ? kMaxSlotBytesOfManyRows : kMaxSlotBytes, left_bytes);
    plan.a_depth = std::min(depth, RoundDown(slot_bytes / bytes / rows, plan.tile_k));
    plan.block_rows = kBlockRows;
    const uint32_t l0_elements = l0_slot_bytes / bytes;
    plan.l0_k =
        RoundDown(std::min({l0_elements / plan.tile_n, l0_elements / rows, plan.tile_k}), unit);
    return plan;
}

uint32_t BestRowShares(const GemmProblem& problem) {
    // In a cycle a cube core multiplies one pair of fractals, and reads its share of the rates at
    // which all cores together hit in L2 and load from HBM (ADx data_copy: 4.94 and 1.41 TB/s of 24
    // cores at 1850 MHz).
    constexpr double kL2BytesPerCycle = 111;
    constexpr double kHbmBytesPerCycle = 31.8;
    constexpr double kFractal = 16;
    if (problem.m <= kMaxRows) return 1;
    uint32_t best = 1;
    double least = 0;
    for (uint32_t shares = 1; shares <= problem.cores; ++shares) {
        if (problem.cores % shares != 0) continue;
        GemmProblem shared = problem;
        shared.row_shares = shares;
        const GemmPlan plan = PlanGemm(shared);
        const auto row_tiles = static_cast<uint32_t>(CeilDiv(CeilDiv(plan.m, plan.tile_m), shares));
        const double rows = static_cast<double>(row_tiles) * plan.tile_m;
        const double columns = static_cast<double>(
            CeilDiv(uint64_t{plan.batches} * plan.n / plan.strip, problem.cores / shares) *
            plan.strip);
        const double row_bytes = static_cast<double>(plan.k) * plan.element_bytes;
        const double loads = row_bytes * (rows * std::ceil(columns / (plan.c_tiles * plan.tile_n)) +
                                          columns * row_tiles);
        const double fractals = rows / kFractal * columns / kFractal * row_bytes / kBlockBytes;
        double cycles = std::max(fractals, loads / kL2BytesPerCycle);
        // The first tile of rows of a block waits for the weight, which the groups of cores share.
        const double blocks = std::ceil(rows / plan.block_rows);
        const double weight = columns * row_bytes / (kHbmBytesPerCycle * shares);
        cycles += blocks * std::max(0.0, weight - cycles / row_tiles);
        if (shares > 1 && cycles >= least) continue;
        best = shares;
        least = cycles;
    }
    return best;
}

uint32_t BestDepthShares(const GemmProblem& problem, uint32_t most) {
    if (problem.m > kMaxRows) return 1;
    uint32_t best = 1;
    double least = 0;
    for (uint32_t shares = 1; shares <= most; ++shares) {
        if (problem.cores % shares != 0) continue;
        GemmProblem shared = problem;
        shared.depth_shares = shares;
        const GemmPlan plan = PlanGemm(shared);
        const uint64_t depth_units = CeilDiv(plan.k, plan.depth_unit);
        if (depth_units < shares) break;
        const auto strips = static_cast<double>(
            CeilDiv(uint64_t{plan.batches} * plan.n / plan.strip, problem.cores / shares));
        const auto depth = static_cast<double>(CeilDiv(depth_units, shares) * plan.depth_unit);
        // Adding up the partial sums is taken to cost 1 % of the product for each further share.
        double share = strips * depth * (1 + 0.01 * (shares - 1));
        // Rows of row-major [k, n] weights are as short as a tile is narrow.
        if (problem.layout == WeightLayout::kInOut) {
            share *= 1 + kRowOverheadBytes / (plan.tile_n * plan.element_bytes);
        }
        if (shares > 1 && share >= least) continue;
        best = shares;
        least = share;
    }
    return best;
}

GemmBuffers PlanGemmBuffers(const std::vector<GemmPlan>& plans,
                            const arch::Architecture& architecture) {
    GemmBuffers buffers{};
    buffers.b_slots = kWeightSlots;
    for (const GemmPlan& plan : plans) {
        const auto rows = static_cast<uint32_t>(RoundUp(plan.tile_m, kStrip));
        buffers.b_slot_bytes =
            std::max(buffers.b_slot_bytes, plan.tile_n * plan.tile_k * plan.element_bytes);
        buffers.a_slot_bytes =
            std::max(buffers.a_slot_bytes, rows * plan.a_depth * plan.element_bytes);
        const auto sums_bytes = rows * plan.tile_n * static_cast<uint32_t>(sizeof(float));
        // A slot is aligned because the kernel's other products write to the start of the second.
        const auto slot = static_cast<uint32_t>(
            RoundUp(sums_bytes / plan.l0c_slots, architecture.sums_alignment));
        buffers.l0c_slot_bytes = std::max(buffers.l0c_slot_bytes, slot);
    }
    const uint32_t weight_bytes = buffers.b_slots * buffers.b_slot_bytes;
    const uint32_t l1_bytes = architecture.usable_l1_bytes;
    const uint32_t room = (l1_bytes - std::min(weight_bytes, l1_bytes)) / 2;
    for (const GemmPlan& plan : plans) {
        const auto rows = static_cast<uint32_t>(RoundUp(plan.tile_m, kStrip));
        const uint32_t piece = rows * plan.a_depth * plan.element_bytes;
        const uint32_t pieces = std::min({plan.batches, kSlotBatches, room / piece});
        buffers.a_slot_bytes = std::max(buffers.a_slot_bytes, piece * pieces);
    }
    if (weight_bytes + 2 * buffers.a_slot_bytes > l1_bytes ||
        2 * buffers.l0c_slot_bytes > architecture.l0c_bytes) {
        throw std::logic_error("the tiles of these GEMMs do not fit a core");
    }
    return buffers;
}

uint64_t WeightBytes(const GemmPlan& gemm) {
    return uint64_t{gemm.batches} * gemm.n * gemm.k * gemm.element_bytes;
}

}  // namespace plan
