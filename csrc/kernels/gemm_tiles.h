// The tiles of a GEMM that one core computes, in order.
//
// The columns of all batches are cut into strips, the rows of A into tiles; every core owns a
// contiguous run of each. Tiles go through blocks of rows (outer), the core's strips, the rows of a
// block, then the depth (inner): what a block reads of A stays in L2 while the weight goes by.
#pragma once

#include "kernel_operator.h"
#include "kernels/partition.h"
#include "plan/gemm_plan.h"

namespace kernels {

struct Tile {
    uint32_t row;  // first row of A
    uint32_t rows;
    uint32_t batch;
    uint32_t column;   // first column within the batch
    uint32_t columns;  // multiple of the strip
    uint32_t depth;    // first column of A
    uint32_t depths;   // multiple of 32 bytes
};

class TileCursor {
public:
    __aicore__ inline void Open(const GemmPlan& plan, uint32_t core, uint32_t cores) {
        strips_per_batch_ = plan.n / plan.strip;
        const uint32_t strips = plan.batches * strips_per_batch_;
        const uint32_t column_shares = cores / plan.row_shares;
        const uint32_t column_share = core % column_shares;
        begin_ = ShareBegin(strips, column_shares, column_share);
        end_ = ShareBegin(strips, column_shares, column_share + 1);
        const uint32_t row_tiles = CeilDiv(plan.m, plan.tile_m);
        const uint32_t row_share = core / column_shares;
        block_ = ShareBegin(row_tiles, plan.row_shares, row_share) * plan.tile_m;
        row_end_ = Min(ShareBegin(row_tiles, plan.row_shares, row_share + 1) * plan.tile_m, plan.m);
        strip_ = begin_;
        if (begin_ == end_) block_ = row_end_;
        row_ = block_;
        depth_ = 0;
    }

    __aicore__ inline bool Done() const { return block_ >= row_end_; }

    __aicore__ inline Tile Get(const GemmPlan& plan) const {
        Tile tile;
        tile.row = row_;
        tile.rows = Min(plan.tile_m, row_end_ - row_);
        tile.batch = strip_ / strips_per_batch_;
        tile.column = strip_ % strips_per_batch_ * plan.strip;
        tile.columns = Min(Min(plan.tile_n, plan.n - tile.column), (end_ - strip_) * plan.strip);
        tile.depth = depth_;
        tile.depths = Min(plan.tile_k, plan.k - depth_);
        return tile;
    }

    __aicore__ inline void Next(const GemmPlan& plan) {
        const uint32_t columns = Get(plan).columns;
        depth_ += plan.tile_k;
        if (depth_ < plan.k) return;
        depth_ = 0;
        row_ += plan.tile_m;
        if (row_ < Min(block_ + plan.block_rows, row_end_)) return;
        row_ = block_;
        strip_ += columns / plan.strip;
        if (strip_ < end_) return;
        strip_ = begin_;
        block_ += plan.block_rows;
        row_ = block_;
    }

private:
    uint32_t strips_per_batch_;
    uint32_t begin_;
    uint32_t end_;
    uint32_t row_end_;
    uint32_t block_;
    uint32_t strip_;
    uint32_t row_;
    uint32_t depth_;
};

}  // namespace kernels
