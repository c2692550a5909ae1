// What a vector core does with a row, as the closed form of a kernel's time (idle_time.h) counts
// it.
//
// tests/cpp/test_vector_work.cpp holds the counts of a prolog's stages against their traces on the
// twin, and says by how much each of them is off.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "arch/dav_c220.h"
#include "plan/o_proj_plan.h"
#include "plan/prolog_plan.h"
#include "plan/rounding.h"
#include "plan/units.h"

namespace plan {

/// Vector cores that finish a cube core's part of a product (kernels/beside_tiles.h).
constexpr uint32_t kSides = arch::DavC220::kAivPerAic;

/// What a vector core does with one row. Every instruction waits for the one before it, because
/// barriers separate them.
struct VectorWork {
    double elements = 0;      ///< of the row
    double instructions = 0;  ///< total number
    double passes = 0;        ///< instructions that go over the whole row in fp32
    double loads = 1;         ///< one after the other
    double stores = 1;
    double cold = 0;  ///< of the loads, those that come from HBM

    VectorWork operator+(const VectorWork& more) const {
        return {std::max(elements, more.elements),
                instructions + more.instructions,
                passes + more.passes,
                loads + more.loads,
                stores + more.stores,
                cold + more.cold};
    }
};

/// Adding up the depth shares of a row's sums, in pairs.
inline VectorWork AddShares(uint32_t width, uint32_t shares) {
    return {1.0 * width, std::ceil(std::log2(shares)), shares - 1.0, 0, 0};
}

/// Dequantising the sums of a row that a norm takes.
inline VectorWork DequantiseInUb(uint32_t width, bool dynamic) {
    if (dynamic) return {1.0 * width, 3, 3, 0, 0};
    return {1.0 * width, 2, 2, 0, 0};
}

/// An RMS norm of a row.
inline VectorWork Norm(uint32_t width) { return {1.0 * width, 10, 5, 1, 1}; }

/// Quantising a row of which a core holds at most `held` elements in UB, and of which `shares`
/// cores each do a part: all of them find its maximum.
inline VectorWork Quantise(uint32_t width, uint32_t held, bool dynamic, uint32_t shares = 1) {
    const double part = 1.0 / shares;
    if (!dynamic) return {part * width, 6, 6, 1, 1};
    if (width <= held) return {1.0 * width, 15, 3 + 4 * part, 1, 1};
    const auto pieces = static_cast<double>(CeilDiv(width, std::min(held, kMaxQuantisedPiece)));
    return {1.0 * width, 9 * pieces + 10, 3 + 4 * part, pieces * (1 + part), pieces + 1};
}

/// What a core loads before its first row of a layer: the scale and the offset of all rows.
inline VectorWork LoadQuantisation(bool dynamic) {
    if (dynamic) return {0, 0, 0, 0, 0};
    return {0, 5, 0, 2, 0, 2};
}

/// Quantising a row that is already in UB.
inline VectorWork QuantiseInUb(uint32_t width, bool dynamic) {
    if (dynamic) return {1.0 * width, 14, 7, 0, 0};
    return {1.0 * width, 5, 4, 0, 0};
}

/// Rotating one step of heads of a token.
inline VectorWork Rotate(const HeadsPlan& heads) {
    return {1.0 * heads.step * kRopeDim, 8, 4, 1, 1};
}

/// Writing a token's row of the latent cache: its norm and the rotation of its rope columns.
inline VectorWork CacheRow(uint32_t width) {
    return Norm(width) + VectorWork{1.0 * kRopeDim, 8, 0, 1, 0};
}

/// Writing a token's row of the indexer's cache: LayerNorm and rotation.
inline VectorWork IndexerKeyRow(uint32_t width) {
    return Norm(width) + VectorWork{1.0 * width, 16, 2, 1, 0};
}

/// What a core loads before its first row of a cache: slots, scales and the norm's parameters.
inline VectorWork LoadNorm(uint32_t width, double loads) {
    return {1.0 * width, 2, 1, loads, 0, 2};
}

/// Finishing a core's share of the sums of o_proj. The instructions of a pass over a step follow
/// one another, so that one of them counts; loads overlap with the step before.
inline VectorWork FinishSums(const OProjPlan& plan) {
    const uint64_t shares = plan.vector_cores / kSides / plan.o_proj.row_shares;
    const double columns =
        static_cast<double>(CeilDiv(plan.o_proj.n / plan.o_proj.strip, shares)) * plan.o_proj.strip;
    const double rows = std::max(1.0, static_cast<double>(CeilDiv(plan.tokens, kSides)));
    return {rows * columns, 5, 4, 1, 1};
}

/// Dequantising `tokens` rows of the columns that a vector core finishes beside its cube core. The
/// instructions of a tile's strips do not wait for one another.
inline VectorWork DequantiseTile(uint32_t tokens, uint32_t columns, bool dynamic) {
    const double elements = 1.0 * tokens * columns;
    if (dynamic) return {elements, 4, 4, 1, 1};
    return {elements, 3, 3, 1, 1};
}

/// Rotating the columns of one head of `tokens` tokens in such a tile.
inline VectorWork RotateTile(uint32_t tokens, bool loads) {
    return {1.0 * tokens * kRopeDim, 7, 4, loads ? 1.0 : 0.0, loads ? 0.0 : 1.0};
}

}  // namespace plan
