#include "plan/plan_linear.h"

#include <stdexcept>

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
    // There are products of 16-bit and of int8 operands alone; a further format needs its own.
    const bool int8 = HoldsInt8(format);
    if (int8 != Quantised(format) || format.a_type != format.b_type) {
        throw std::invalid_argument(name + ": there is no product for operands of types " +
                                    std::to_string(format.a_type) + " and " +
                                    std::to_string(format.b_type) + " with scales " +
                                    std::to_string(format.scales));
    }
    GemmProblem gemm;
    gemm.name = name;
    gemm.m = tokens;
    gemm.n = n;
    gemm.k = k;
    gemm.int8 = int8;
    gemm.cores = chip.aic_count;
    gemm.architecture = chip.architecture;
    gemm.a_row_stride = k;
    gemm.c_row_stride = n;
    gemm.layout = LayoutOf(format);
    return gemm;
}

}  // namespace plan
