// One GEMM of a kernel, tiled: C[b] = A[b] x B[b] for `batches` independent b.
//
// Host planners fill it in and kernels read it. CANN 8.1's stub generator parses the text of kernel
// signatures, so plan structs are at global scope and have fixed-width members only, without enums,
// aliases or constexpr.
#pragma once

#include <cstdint>

struct GemmPlan {
    uint32_t m;              // rows of A and C
    uint32_t n;              // columns of C in one batch, multiple of strip
    uint32_t k;              // columns of A in one batch, multiple of 32 bytes
    uint32_t batches;        // number of heads of a per-head product, else 1
    uint32_t element_bytes;  // of A and B: 2 (fp32 sums) or 1 (int8, int32 sums)
    uint32_t strip;          // C is dealt out to cores in units of so many columns: 16; int8: 32,
                             // or 64 where the vector cores beside a cube core rotate its columns
    uint32_t c_sums;         // 1: C are the sums, fp32 or int32; 0: sums rounded to the type of A
    // Elements from a row of A (or C) to the next, and from a batch to the next within a row.
    uint32_t a_row_stride;
    uint32_t a_batch_stride;
    uint32_t c_row_stride;
    uint32_t c_batch_stride;
    uint32_t b_layout;  // a WeightLayout of plan/weight_layout.h; int8 weights are stored [k, n]
    // Row-major: elements from a row of the stored matrix to the next; NZ: its number of rows. It
    // exceeds what the GEMM uses where B is a part of a fused weight.
    uint32_t b_stride;
    uint32_t tile_m;     // rows of a tile of A, at most 128
    uint32_t tile_n;     // columns of a tile of C, multiple of strip
    uint32_t tile_k;     // depth of a tile in L1, multiple of 32 bytes
    uint32_t l0c_slots;  // slots of L0C that a tile of C takes, 1 or 2
    // Tiles of C, side by side, that are summed up in turns, 1 or 2: a piece of A is then loaded
    // once for both. Each takes one slot of L0C.
    uint32_t c_tiles;
    uint32_t a_depth;     // depth of a piece of A in L1; all but the last: multiple of tile_k
    uint32_t row_shares;  // groups of cores over which rows are split; columns are split inside one
    // Groups of cores over which the K dimension is split (split-K). Each writes partial sums of
    // its own, c_share_stride elements apart; the reader of C has to add them up.
    uint32_t depth_shares;
    uint32_t depth_unit;  // the depth is dealt out in units of so many elements
    uint32_t c_share_stride;
    // Rows that are multiplied with one tile of columns before the next tile; multiple of tile_m.
    uint32_t block_rows;
    uint32_t l0_k;  // depth of a step in L0, multiple of 32 bytes
};

// The ring buffers in L1 and the slots of L0C that all GEMMs of a kernel share.
struct GemmBuffers {
    uint32_t b_slots;  // slots of the weight ring, one tile each
    uint32_t b_slot_bytes;
    uint32_t a_slot_bytes;    // there are two such slots
    uint32_t l0c_slot_bytes;  // there are two such slots
};
