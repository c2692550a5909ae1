// Plans and traces of the kernels with which the timing model is compared with measurements. Traces
// are made by dry runs: nothing is read or computed, so large sizes need no memory.
#pragma once

#include <cstdint>
#include <string>

#include "arch/chip.h"
#include "lab/kernels/copy_plan.h"
#include "lab/kernels/matmul_plan.h"
#include "lab/kernels/quantise_plan.h"

namespace lab {

/// Types of the elements of a product's factors.
enum class ProductType : uint8_t { kFp16, kBf16, kInt8 };

/// The type called "fp16", "bf16" or "int8"; for any other name, throws std::invalid_argument.
ProductType FindProductType(const std::string& name);

struct MatmulCase {
    uint32_t m = 0;
    uint32_t n = 0;
    uint32_t k = 0;
    /// Whether the weight is in FRACTAL_NZ: [k/16, n, 16] instead of [n, k], or for int8
    /// [n/32, k, 32] instead of [k, n].
    bool nz = false;
    ProductType type = ProductType::kFp16;  ///< of A and the weight; C is int32 for int8
    uint32_t cores = 0;                     ///< 0: all AICs of the chip
};

/// A kernel that reads a matrix of `rows` rows, tile by tile.
struct CopyCase {
    uint32_t rows = 0;
    uint32_t row_bytes = 0;
    uint32_t tile_rows = 0;
    uint32_t tile_bytes = 0;
    uint32_t slices = 1;
    uint32_t repeats = 1;
    bool to_l1 = false;  ///< true: into L1 with ND2NZ on cube cores; false: into UB on vector cores
    uint32_t cores = 0;  ///< 0: all cores of that type
};

/// A kernel that quantises a matrix to int8, with a scale for each row.
struct QuantiseCase {
    uint32_t rows = 0;
    uint32_t width = 0;
    bool bf16 = false;
    uint32_t cores = 0;  ///< 0: all AIVs of the chip
};

/// Plans of the kernels. Throw std::invalid_argument for shapes that the kernels do not support.
MatmulPlan PlanMatmul(const MatmulCase& shape, const arch::Chip& chip);
CopyPlan PlanCopy(const CopyCase& shape, uint64_t address);
QuantisePlan PlanQuantise(const QuantiseCase& shape);

/// Serialised traces (twin/trace_format.h). Throw std::invalid_argument for shapes that the kernels
/// do not support.
std::string TraceMatmul(const MatmulCase& shape, const arch::Chip& chip);
std::string TraceCopy(const CopyCase& shape, const arch::Chip& chip);
std::string TraceQuantMatmul(const MatmulCase& shape, const arch::Chip& chip);
std::string TraceQuantise(const QuantiseCase& shape, const arch::Chip& chip);

}  // namespace lab
