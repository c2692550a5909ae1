// The tiles of a GEMM that one core computes, in order, and where in L1 their parts of A are.
//
// "Depth" is the K dimension. The columns of all batches are cut into strips, the rows of A and its
// depth into tiles; every core owns a contiguous run of each. The loops nest, from the outermost:
// blocks of rows, the core's strips, the rows of a block, the depth, the tiles of C side by side.
// So the part of A that a block reads stays in L2 while the whole weight is streamed past it.
#pragma once

#include "kernel_operator.h"
#include "kernels/partition.h"
#include "plan/gemm_plan.h"
#include "plan/weight_layout.h"

namespace kernels {

// Whether B is stored in FRACTAL_NZ; row-major otherwise.
__aicore__ inline bool IsFractal(const GemmPlan& gemm) {
    return (gemm.b_layout & plan::kFractalBit) != 0;
}

// Whether B is stored [n, k], so that its depth is contiguous; [k, n] otherwise.
__aicore__ inline bool DepthIsContiguous(const GemmPlan& gemm) {
    return (gemm.b_layout & plan::kInOutBit) == 0;
}

struct Tile {
    uint32_t row;  // first row of A
    uint32_t rows;
    uint32_t batch;
    uint32_t column;   // first column within the batch
    uint32_t columns;  // multiple of the strip
    uint32_t depth;    // first column of A
    uint32_t depths;   // multiple of 32 bytes
    uint32_t side;     // its number among the tiles of C that are summed up in turns
    bool last_side;    // whether it is the last of them
    bool first;        // whether it is the first along K that adds to its sums
    bool last;         // whether it is the last
};

// Where a tile of C goes: `offset` elements behind `c`, with `row_stride` elements from a row to
// the next.
struct TileOfC {
    GM_ADDR c;
    uint64_t offset;
    uint32_t row_stride;
};

// C as a whole, at this address: where Gemm::RunTo stores its tiles if nobody awaits any of them.
struct WholeC {
    GM_ADDR c;

    __aicore__ inline TileOfC Place(const GemmPlan& plan, const Tile& tile, uint32_t depth_share) {
        const uint64_t offset = static_cast<uint64_t>(depth_share) * plan.c_share_stride +
                                static_cast<uint64_t>(tile.row) * plan.c_row_stride +
                                static_cast<uint64_t>(tile.batch) * plan.c_batch_stride +
                                tile.column;
        return {c, offset, plan.c_row_stride};
    }
    __aicore__ inline void Stored() {}
};

class TileCursor {
public:
    __aicore__ inline void Open(const GemmPlan& plan, uint32_t core, uint32_t cores) {
        strips_per_batch_ = plan.n / plan.strip;
        const uint32_t strips = plan.batches * strips_per_batch_;
        const uint32_t column_shares = cores / plan.row_shares / plan.depth_shares;
        const uint32_t column_share = core % column_shares;
        begin_ = ShareBegin(strips, column_shares, column_share);
        end_ = ShareBegin(strips, column_shares, column_share + 1);
        const uint32_t row_tiles = CeilDiv(plan.m, plan.tile_m);
        const uint32_t row_share = core / column_shares % plan.row_shares;
        row_begin_ = ShareBegin(row_tiles, plan.row_shares, row_share) * plan.tile_m;
        block_ = row_begin_;
        row_end_ = Min(ShareBegin(row_tiles, plan.row_shares, row_share + 1) * plan.tile_m, plan.m);
        strip_ = begin_;
        side_ = 0;
        if (begin_ == end_) block_ = row_end_;
        row_ = block_;
        const uint32_t unit = plan.depth_unit;
        const uint32_t depth_units = CeilDiv(plan.k, unit);
        depth_share_ = core / column_shares / plan.row_shares;
        depth_begin_ = ShareBegin(depth_units, plan.depth_shares, depth_share_) * unit;
        depth_end_ =
            Min(ShareBegin(depth_units, plan.depth_shares, depth_share_ + 1) * unit, plan.k);
        if (depth_begin_ >= depth_end_) block_ = row_end_;
        depth_ = depth_begin_;
    }

    // The rows and columns of C that this core computes, where there is one batch.
    __aicore__ inline uint32_t RowBegin() const { return row_begin_; }
    __aicore__ inline uint32_t RowEnd() const { return row_end_; }
    __aicore__ inline uint32_t ColumnBegin(const GemmPlan& plan) const {
        return begin_ * plan.strip;
    }
    __aicore__ inline uint32_t ColumnEnd(const GemmPlan& plan) const { return end_ * plan.strip; }

    // The index of this core's depth share: of the partial sums that are added up later, the one
    // that it computes.
    __aicore__ inline uint32_t DepthShare() const { return depth_share_; }
    __aicore__ inline uint32_t DepthBegin() const { return depth_begin_; }
    __aicore__ inline uint32_t DepthEnd() const { return depth_end_; }

    __aicore__ inline bool Done() const { return block_ >= row_end_; }

    __aicore__ inline Tile Get(const GemmPlan& plan) const {
        Tile tile;
        tile.row = row_;
        tile.rows = Min(plan.tile_m, row_end_ - row_);
        tile.batch = strip_ / strips_per_batch_;
        const uint32_t strip = strip_ + side_ * (plan.tile_n / plan.strip);
        const uint32_t end = GroupEnd(plan);
        tile.column = (strip - tile.batch * strips_per_batch_) * plan.strip;
        tile.columns = Min(plan.tile_n, (end - strip) * plan.strip);
        tile.side = side_;
        tile.last_side = strip * plan.strip + tile.columns == end * plan.strip;
        tile.depth = depth_;
        tile.depths = Min(plan.tile_k, depth_end_ - depth_);
        tile.first = depth_ == depth_begin_;
        tile.last = depth_ + tile.depths == depth_end_;
        return tile;
    }

    __aicore__ inline void Next(const GemmPlan& plan) {
        if (!Get(plan).last_side) {
            ++side_;
            return;
        }
        side_ = 0;
        depth_ += plan.tile_k;
        if (depth_ < depth_end_) return;
        depth_ = depth_begin_;
        row_ += plan.tile_m;
        if (row_ < Min(block_ + plan.block_rows, row_end_)) return;
        row_ = block_;
        strip_ = GroupEnd(plan);
        if (strip_ < end_) return;
        strip_ = begin_;
        block_ += plan.block_rows;
        row_ = block_;
    }

private:
    // The strip behind the tiles of C that are summed up in turns, all of the same batch.
    __aicore__ inline uint32_t GroupEnd(const GemmPlan& plan) const {
        const uint32_t batch_end = (strip_ / strips_per_batch_ + 1) * strips_per_batch_;
        return Min(Min(strip_ + plan.c_tiles * plan.tile_n / plan.strip, batch_end), end_);
    }

    uint32_t strips_per_batch_;
    uint32_t begin_;
    uint32_t end_;
    uint32_t row_begin_;
    uint32_t row_end_;
    uint32_t block_;
    uint32_t strip_;  // first of the tiles that are summed up in turns
    uint32_t side_;
    uint32_t row_;
    uint32_t depth_share_;
    uint32_t depth_begin_;
    uint32_t depth_end_;
    uint32_t depth_;
};

// Walks the same tiles and the pieces of A that they need. A piece is at most [tile_m, a_depth] and
// is loaded once for consecutive tiles that need the same one. Pieces fill the two L1 slots
// alternately.
class LeftCursor {
public:
    __aicore__ inline void Open(const GemmPlan& plan, uint32_t core, uint32_t cores, uint32_t slot,
                                uint32_t slot_bytes) {
        slot_bytes_ = slot_bytes;
        slot_ = slot;
        begin_ = 0;
        end_ = 0;
        tiles_.Open(plan, core, cores);
        if (!tiles_.Done()) Place(plan);
        new_slot_ = false;
    }

    __aicore__ inline bool Done() const { return tiles_.Done(); }
    __aicore__ inline uint32_t DepthShare() const { return tiles_.DepthShare(); }

    __aicore__ inline void Next(const GemmPlan& plan) {
        const Tile before = tile;
        new_slot_ = false;
        new_piece_ = false;
        tiles_.Next(plan);
        if (tiles_.Done()) return;
        tile = tiles_.Get(plan);
        const bool same = tile.row == before.row && tile.batch == before.batch &&
                          tile.depth >= piece_depth && tile.depth < piece_depth + piece_depths;
        if (!same) Place(plan);
    }

    // Whether the tile needs another piece than the tile before it, and whether that piece is the
    // first in its slot.
    __aicore__ inline bool NewPiece() const { return new_piece_; }
    __aicore__ inline bool NewSlot() const { return new_slot_; }
    __aicore__ inline uint32_t Slot() const { return slot_; }
    // Byte offset of the piece in the buffer of both slots.
    __aicore__ inline uint32_t Offset() const { return slot_ * slot_bytes_ + begin_; }

    Tile tile;
    uint32_t piece_depth;  // first column of A
    uint32_t piece_depths;

private:
    __aicore__ inline void Place(const GemmPlan& plan) {
        tile = tiles_.Get(plan);
        const uint32_t first = tiles_.DepthBegin();
        piece_depth = first + (tile.depth - first) / plan.a_depth * plan.a_depth;
        piece_depths = Min(plan.a_depth, tiles_.DepthEnd() - piece_depth);
        const uint32_t bytes = RoundUp(tile.rows, kStrip) * piece_depths * plan.element_bytes;
        new_piece_ = true;
        new_slot_ = end_ + bytes > slot_bytes_;
        if (new_slot_) slot_ = 1 - slot_;
        begin_ = new_slot_ ? 0 : end_;
        end_ = begin_ + bytes;
    }

    TileCursor tiles_;
    uint32_t slot_bytes_;
    uint32_t slot_;
    uint32_t begin_;
    uint32_t end_;
    bool new_piece_;
    bool new_slot_;
};

}  // namespace kernels
