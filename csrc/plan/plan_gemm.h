// Tiling of one GEMM for the cube cores of a chip.
#pragma once

#include <cstdint>
#include <string>

#include "plan/gemm_plan.h"

namespace plan {

/// Columns of a fractal: shapes are multiples of it.
constexpr uint32_t kStrip = 16;
/// Largest row stride in elements: Nd2NzParams::srcDValue and DataCopyParams::srcStride are 16-bit.
constexpr uint32_t kMostStride = 65535;

/// How a weight lies in memory; the values are those of GemmPlan::b_layout.
enum class WeightLayout : uint32_t { kOutIn = 0, kOutInNz = 1, kInOut = 2, kInOutNz = 3 };

struct GemmProblem {
    std::string name;  ///< for error texts
    uint32_t m = 0;
    uint32_t n = 0;
    uint32_t k = 0;
    uint32_t batches = 1;
    uint32_t a_row_stride = 0;    ///< elements
    uint32_t a_batch_stride = 0;  ///< elements
    uint32_t c_row_stride = 0;    ///< elements
    uint32_t c_batch_stride = 0;  ///< elements
    WeightLayout layout = WeightLayout::kOutIn;
};

/// Tiles for 16-bit inputs. Throws std::invalid_argument where the hardware's fields cannot express
/// the shape.
GemmPlan PlanGemm(const GemmProblem& problem);

/// Buffers that hold the tiles of all of `count` plans. Throws std::logic_error where a core has
/// not enough.
GemmBuffers PlanGemmBuffers(const GemmPlan* plans, int count);

}  // namespace plan
