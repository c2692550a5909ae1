// The memory layout of a paged cache. Slot `s` is row s % block_size of block s / block_size.
#pragma once

#include <cstdint>

struct CachePlan {
    uint64_t block_stride;  // elements from the start of a block to the next
    uint32_t block_size;    // rows per block
    uint32_t row_stride;    // elements from a row to the next; in NZ C0, which is 32 bytes
    uint32_t nz;            // 1: a block is [width / C0, block_size, C0]; 0: [block_size, width]
};
