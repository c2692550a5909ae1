// The tiles of a GEMM that one core computes, in order.
//
// The columns of all batches are cut into strips; every core owns a contiguous run of strips. Tiles
// go through the rows of A (outer), the core's strips, then the depth (inner).
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
        begin_ = ShareBegin(strips, cores, core);
        end_ = ShareBegin(strips, cores, core + 1);
        strip_ = begin_;
        row_ = begin_ < end_ ? 0 : plan.m;
        depth_ = 0;
    }

    __aicore__ inline bool Done(const GemmPlan& plan) const { return row_ >= plan.m; }

    __aicore__ inline Tile Get(const GemmPlan& plan) const {
        Tile tile;
        tile.row = row_;
        tile.rows = Min(plan.tile_m, plan.m - row_);
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
        strip_ += columns / plan.strip;
        if (strip_ < end_) return;
        strip_ = begin_;
        row_ += plan.tile_m;
    }

private:
    uint32_t strips_per_batch_;
    uint32_t begin_;
    uint32_t end_;
    uint32_t strip_;
    uint32_t row_;
    uint32_t depth_;
};

}  // namespace kernels
