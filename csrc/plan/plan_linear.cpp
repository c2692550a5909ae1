#include "plan/plan_linear.h"

#include "plan/require.h"
#include "plan/rounding.h"
#include "plan/units.h"

namespace plan {

uint32_t LeastPiece(uint32_t width) {
    return static_cast<uint32_t>(RoundUp(CeilDiv(width, kMaxQuantisedPieces), kLanes));
}

void RequireQuantisedWidth(const std::string& quantity, uint32_t width) {
    Require(width <= kMaxQuantisedWidth, quantity,
            "at most " + std::to_string(kMaxQuantisedWidth) + " where a token has a scale", width);
}

GemmProblem TokenProduct(const std::string& name, uint32_t tokens, uint32_t n, uint32_t k,
                         const LinearFormat& format, const arch::Chip& chip) {
    GemmProblem gemm;
    gemm.name = name;
    gemm.m = tokens;
    gemm.n = n;
    gemm.k = k;
    gemm.int8 = Quantised(format);
    gemm.cores = chip.aic_count;
    gemm.architecture = chip.architecture;
    gemm.a_row_stride = k;
    gemm.c_row_stride = n;
    gemm.layout = LayoutOf(format);
    return gemm;
}

}  // namespace plan
