// The argument of the copy kernels, passed by value. They read a matrix from GM, tile by tile, and
// discard it, to measure a chip's memory system.
#pragma once

#include <cstdint>

struct CopyPlan {
    uint64_t address;
    uint32_t rows;        // dealt out to cores
    uint32_t row_bytes;   // from a row to the next; multiple of slices * tile_bytes
    uint32_t tile_rows;   // rows of a transfer
    uint32_t tile_bytes;  // bytes of each row of a transfer, multiple of 32
    uint32_t slices;      // number of parts of the columns, read one after the other
    uint32_t repeats;     // how often each part is read
    uint32_t slots;       // transfers that the landing pad holds
};
