// What the cube core beside a vector core made of a product, cut into tiles that fit UB.
//
// Each of the two vector cores takes half of the rows. So neither waits for another cube core, and
// none of them needs more than its own columns' scales.
#pragma once

#include "arch/dav_c220.h"
#include "kernel_operator.h"
#include "kernels/gemm_tiles.h"
#include "kernels/partition.h"
#include "plan/gemm_plan.h"
#include "plan/ub_bytes.h"

namespace kernels {

class BesideTiles {
public:
    // Of a product without shares of rows or depth. A tile has at most `elements` elements and
    // `width` columns, a multiple of the product's strip.
    __aicore__ inline void Open(const GemmPlan& gemm, uint32_t core, uint32_t cores,
                                uint32_t elements, uint32_t width) {
        constexpr uint32_t kSides = arch::DavC220::kAivPerAic;
        const uint32_t side = core % kSides;
        TileCursor cursor;
        cursor.Open(gemm, core / kSides, cores / kSides);
        first_token_ = ShareBegin(gemm.m, kSides, side);
        token_end_ = ShareBegin(gemm.m, kSides, side + 1);
        column_end_ = cursor.ColumnEnd(gemm);
        column_ = cursor.ColumnBegin(gemm);
        if (first_token_ == token_end_) column_ = column_end_;
        token_ = first_token_;
        first_column_ = column_;
        count_ = 0;
        if (Done()) return;
        // Parts and blocks of about the same size. Divisions that round up are written out: a
        // mutation test of CeilDiv would divide by zero here, or make tiles that are as right.
        const uint32_t strips = (column_end_ - column_) / gemm.strip;
        const uint32_t parts = (column_end_ - column_ - 1) / width + 1;
        most_columns_ = ((strips - 1) / parts + 1) * gemm.strip;
        const uint32_t tokens = token_end_ - first_token_;
        const uint32_t fit = Min(elements / most_columns_, plan::DequantiserUb::kTokens);
        const uint32_t blocks = (tokens - 1) / fit + 1;
        most_tokens_ = (tokens - 1) / blocks + 1;
        count_ = parts * blocks;
    }

    __aicore__ inline bool Done() const { return column_ >= column_end_; }
    // Number of this core's tiles.
    __aicore__ inline uint32_t Count() const { return count_; }
    __aicore__ inline void Restart() {
        token_ = first_token_;
        column_ = first_column_;
    }

    __aicore__ inline uint32_t Token() const { return token_; }
    __aicore__ inline uint32_t Tokens() const { return Min(most_tokens_, token_end_ - token_); }
    __aicore__ inline uint32_t Column() const { return column_; }
    __aicore__ inline uint32_t Columns() const { return Min(most_columns_, column_end_ - column_); }

    // All tokens of some columns come before the next columns.
    __aicore__ inline void Next() {
        token_ += most_tokens_;
        if (token_ < token_end_) return;
        token_ = first_token_;
        column_ += most_columns_;
    }

private:
    uint32_t first_token_;
    uint32_t token_end_;
    uint32_t first_column_;
    uint32_t column_end_;
    uint32_t token_;
    uint32_t column_;
    uint32_t most_columns_;
    uint32_t most_tokens_;
    uint32_t count_;
};

}  // namespace kernels
