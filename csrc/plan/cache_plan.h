// How the rows of a paged cache lie in memory. Row `slot` is row slot % block_size of block slot /
// block_size.
#pragma once

#include <cstdint>

struct CachePlan {
    uint64_t block_stride;  // elements from a block to the next
    uint32_t block_size;    // rows per block
    uint32_t row_stride;    // elements from a row to the next; NZ: those of a strip, 32 bytes
    uint32_t nz;            // 1: a block is [width / C0, block_size, C0]
};
