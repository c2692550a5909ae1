// Sizes of the buffers that the blocks of the vector cores take in UB. A block's Open allocates
// each buffer by them; planners add them up to know what is left for landing pads.
//
// Functions are marked as the device wants it where kernel_operator.h says how: kernels include it
// first.
#pragma once

#include <cstdint>

#include "plan/o_proj_plan.h"
#include "plan/prolog_plan.h"
#include "plan/units.h"

#ifdef __aicore__
#define ASCEND_PREFETCH_SHARED __aicore__ inline
#else
#define ASCEND_PREFETCH_SHARED inline
#endif

namespace plan {

/// Bytes of one repeat of a vector instruction.
constexpr uint32_t kLaneBytes = kLanes * kFloatBytes;

/// kernels/rms_norm.h, for rows of at most `width` elements.
struct RmsNormUb {
    uint32_t width;
    ASCEND_PREFETCH_SHARED uint32_t Row() const { return width * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Total() const { return 3 * Row() + 3 * kLaneBytes; }
};

/// kernels/rope.h, for steps of at most `heads` heads of a token, or of one head of `tokens`, which
/// are no more.
struct RopeUb {
    uint32_t heads;
    uint32_t tokens;
    ASCEND_PREFETCH_SHARED uint32_t Table() const { return tokens * 2 * kRopeDim * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Order() const { return kRopeDim * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Heads() const { return heads * kRopeDim * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Halves() const { return Heads() / 2; }
    ASCEND_PREFETCH_SHARED uint32_t Total() const {
        return Table() + Order() + 2 * Heads() + Halves();
    }
};

/// kernels/quantiser.h, for pieces of rows of at most `width` elements.
struct QuantiserUb {
    uint32_t width;
    /// Elements of a piece.
    ASCEND_PREFETCH_SHARED uint32_t Piece() const {
        return width < kMaxQuantisedRow ? width : kMaxQuantisedRow;
    }
    /// The maxima of a piece's repeats, and two blocks at least.
    ASCEND_PREFETCH_SHARED uint32_t Partial() const {
        return (Piece() / kLanes + kLanes - 1) / kLanes * kLaneBytes;
    }
    ASCEND_PREFETCH_SHARED uint32_t Narrow() const { return Piece() * kHalfBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Result() const { return Piece(); }
    ASCEND_PREFETCH_SHARED uint32_t Total() const {
        return Narrow() + Result() + 3 * kBlockBytes + Partial() + 3 * kLaneBytes;
    }
};

/// kernels/dequantiser.h, for rows of at most `width` elements.
struct DequantiserUb {
    static constexpr uint32_t kPacked = 256;  ///< int64 scales in flight
    static constexpr uint32_t kTokens = 32;   ///< most tokens of a tile
    uint32_t width;
    ASCEND_PREFETCH_SHARED uint32_t Row() const { return width * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Packed() const { return kPacked * 8; }
    ASCEND_PREFETCH_SHARED uint32_t TokenScales() const { return kTokens * kBlockBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Total() const { return 3 * Row() + Packed() + TokenScales(); }
};

/// kernels/prolog_vector.h.
struct PrologUb {
    uint32_t width;   ///< PrologPlan::widest
    uint32_t input;   ///< PrologPlan::widest_input
    uint32_t shares;  ///< PrologPlan::widest_shares
    uint32_t heads;   ///< most of a step
    uint32_t tokens;  ///< most of a step of one head
    uint32_t slots;   ///< bytes of a core's slots
    ASCEND_PREFETCH_SHARED explicit PrologUb(const PrologPlan& plan)
        : width(plan.widest),
          input(plan.widest_input),
          shares(plan.widest_shares),
          heads(plan.heads.step > plan.indexer.heads.step ? plan.heads.step
                                                          : plan.indexer.heads.step),
          tokens(plan.q_b_format.scales != 0 || plan.indexer.wq_b_format.scales != 0 ? heads : 1),
          slots((plan.rows_per_core * plan.slot_bytes + kBlockBytes - 1) / kBlockBytes *
                kBlockBytes) {}
    /// A row of hidden states, or any other and the sums of its further depth shares behind it.
    ASCEND_PREFETCH_SHARED uint32_t Row() const {
        return (input > width + shares ? input : width + shares) * kFloatBytes;
    }
    ASCEND_PREFETCH_SHARED uint32_t Landing() const { return input * kHalfBytes; }
    ASCEND_PREFETCH_SHARED uint32_t RowOut() const { return width * kHalfBytes; }
    ASCEND_PREFETCH_SHARED uint32_t RopeOut() const { return heads * kRopeDim * kHalfBytes; }
    /// Of a kernel that has a dequantiser and quantisers (`int8`), or none of them.
    ASCEND_PREFETCH_SHARED uint32_t Total(bool int8, bool indexer) const {
        const uint32_t plain = Row() + Landing() + RowOut() + RopeOut() + slots +
                               RmsNormUb{width}.Total() + RopeUb{heads, tokens}.Total();
        if (!int8) return plain;
        return plain + DequantiserUb{width}.Total() + QuantiserUb{input}.Total() +
               (indexer ? QuantiserUb{width}.Total() : 0);
    }
};

/// kernels/epilogue.h, for steps of so many columns and rows at most.
struct EpilogueUb {
    static constexpr uint32_t kSlots = 2;  ///< of steps in flight
    uint32_t columns;
    uint32_t rows;
    ASCEND_PREFETCH_SHARED uint32_t Sums() const { return rows * columns * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Out() const { return rows * columns * kHalfBytes; }
    ASCEND_PREFETCH_SHARED uint32_t TokenScales() const { return rows * kBlockBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Bias() const { return columns * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Landing() const { return columns * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Total(bool quantised) const {
        const uint32_t plain = kSlots * (Sums() + Out()) + Bias() + Landing();
        if (!quantised) return plain;
        return plain + kSlots * TokenScales() + DequantiserUb{columns}.Total();
    }
};

/// kernels/o_proj.h.
struct OProjUb {
    uint32_t width;  ///< OProjPlan::widest
    EpilogueUb epilogue;
    ASCEND_PREFETCH_SHARED explicit OProjUb(const OProjPlan& plan)
        : width(plan.widest), epilogue{plan.step_columns, plan.step_rows} {}
    ASCEND_PREFETCH_SHARED uint32_t Row() const { return width * kFloatBytes; }
    ASCEND_PREFETCH_SHARED uint32_t HalfRow() const { return width * kHalfBytes; }
    ASCEND_PREFETCH_SHARED uint32_t Total(bool quantised) const {
        if (!quantised) return epilogue.Total(false);
        return Row() + HalfRow() + QuantiserUb{width}.Total() + epilogue.Total(true);
    }
};

}  // namespace plan
