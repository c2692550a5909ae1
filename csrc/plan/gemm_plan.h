// One GEMM of a kernel, tiled: C[b] = A[b] x B[b] for `batches` independent b.
//
// Read by host planners and by kernels. 8.1's stub generator parses the text of kernel signatures,
// so plan structs stand at global scope with fixed-width members only: no enum, alias or constexpr
// in them.
#pragma once

#include <cstdint>

struct GemmPlan {
    uint32_t m;              // rows of A and C
    uint32_t n;              // columns of C in one batch, multiple of strip
    uint32_t k;              // columns of A in one batch, multiple of 32 bytes
    uint32_t batches;        // heads of a per-head product, else 1
    uint32_t element_bytes;  // of A and B: 2 (fp32 sums) or 1 (int8, int32 sums)
    uint32_t strip;          // columns in which C is dealt out to cores: 16, or 32 for int8
    // Elements from a row of A (C) to the next, and from a batch to the next within a row.
    uint32_t a_row_stride;
    uint32_t a_batch_stride;
    uint32_t c_row_stride;
    uint32_t c_batch_stride;
    // 0: [n, k] row-major; 1: NZ of it, [k/16, n, 16]; 2: [k, n] row-major; 3: NZ of it,
    // [n/16, k, 16], or [n/32, k, 32] for int8. int8 has 2 and 3 only.
    uint32_t b_layout;
    // Elements from a row of the stored matrix to the next (row-major), or its rows (NZ): more than
    // the GEMM uses where B is a part of a fused weight.
    uint32_t b_stride;
    uint32_t tile_m;      // rows of a tile of A, at most 128
    uint32_t tile_n;      // columns of a tile of C, multiple of strip
    uint32_t tile_k;      // depth of a tile in L1, multiple of 32 bytes
    uint32_t l0c_slots;   // that a tile of C takes, of two
    uint32_t a_depth;     // depth of a piece of A in L1, multiple of tile_k but for the last one
    uint32_t row_shares;  // groups of cores that rows are dealt out to; columns go to those of one
    // Groups that the depth is dealt out to: each makes sums of its own, c_share_stride elements
    // apart, that whoever reads C has to add up.
    uint32_t depth_shares;
    uint32_t c_share_stride;
    uint32_t block_rows;  // rows that pass a tile of columns before the next, multiple of tile_m
    uint32_t l0_k;        // depth of a step in L0, multiple of 32 bytes
};

// The L1 rings that the tiles of all GEMMs of a kernel pass through.
struct GemmBuffers {
    uint32_t b_slots;  // weight tiles in flight
    uint32_t b_slot_bytes;
    uint32_t a_slot_bytes;    // two of them
    uint32_t l0c_slot_bytes;  // two of them
};
