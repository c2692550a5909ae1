// Tiling of one GEMM for the cube cores of a chip.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arch/architecture.h"
#include "plan/gemm_plan.h"
#include "plan/units.h"
#include "plan/weight_layout.h"

namespace plan {

/// Limit of the 16-bit stride fields of Nd2NzParams::srcDValue and DataCopyParams::srcStride.
constexpr uint32_t kMaxStride = 65535;
/// Longest row of a 16-bit weight, in elements, since weights are loaded in units of 2 bytes.
constexpr uint32_t kMaxWeightStride = kMaxStride;
/// Longest row of the left matrix, in bytes, since it is loaded in units of 4 bytes.
constexpr uint32_t kMaxLeftStrideBytes = kMaxStride * 4;

/// C [m, n] = A [m, k] x B, `batches` times.
struct GemmProblem {
    std::string name;  ///< for error texts
    uint32_t m = 0;
    uint32_t n = 0;
    uint32_t k = 0;
    uint32_t batches = 1;
    bool int8 = false;    ///< A and B are int8, C is int32; layouts kInOut and kInOutNz
    bool c_sums = false;  ///< GemmPlan::c_sums; always set in the plan of an int8 product
    uint32_t cores = 1;   ///< cube cores over which the product is split
    const arch::Architecture* architecture = &arch::kDavC220;  ///< of the cores
    uint32_t row_shares = 1;      ///< GemmPlan::row_shares; times depth_shares a divisor of cores
    uint32_t depth_shares = 1;    ///< GemmPlan::depth_shares
    uint32_t c_share_stride = 0;  ///< elements
    uint32_t a_row_stride = 0;    ///< elements
    uint32_t a_batch_stride = 0;  ///< elements
    uint32_t c_row_stride = 0;    ///< elements
    uint32_t c_batch_stride = 0;  ///< elements
    WeightLayout layout = WeightLayout::kOutIn;
    /// Bytes of a slot of the weight ring that a tile of B may take; 0: as many as leave A its
    /// usual room. The products of a kernel have the same.
    uint32_t weight_slot_bytes = 0;
    uint32_t column_unit = 0;  ///< output columns that stay on one core; a multiple of GemmPlan's
                               ///< strip, which it becomes. 0: the strip of the type
    uint32_t stored_n = 0;     ///< output columns of the stored weight if B is a part of it; 0: n
};

/// Throws std::invalid_argument where the hardware's fields cannot express the shape.
GemmPlan PlanGemm(const GemmProblem& problem);

/// The row_shares with which a product that runs alone takes least time, that is, with which a core
/// has least to compute or load. It is 1 for up to one tile of rows, as in decode.
uint32_t BestRowShares(const GemmProblem& problem);

/// The depth_shares, at most `most`, with which the cores finish soonest, for products whose reader
/// adds up the partial sums. It is more than 1 if the columns alone cannot be dealt out evenly, and
/// 1 for more than one tile of rows.
uint32_t BestDepthShares(const GemmProblem& problem, uint32_t most);

/// Buffers that are large enough for the tiles of all plans. Throws std::logic_error where a core
/// has too little L1 or L0C.
GemmBuffers PlanGemmBuffers(const std::vector<GemmPlan>& plans,
                            const arch::Architecture& architecture = arch::kDavC220);

/// The layout of a GEMM's weight.
inline WeightLayout LayoutOf(const GemmPlan& gemm) {
    return static_cast<WeightLayout>(gemm.b_layout);
}

/// Size of a GEMM's weight in bytes.
uint64_t WeightBytes(const GemmPlan& gemm);

}  // namespace plan
