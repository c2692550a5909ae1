// Reading a matrix from GM and discarding it, tile by tile: what a chip's memory system does for
// one kernel. Passed by value.
#pragma once

#include <cstdint>

struct CopyPlan {
    uint64_t address;
    uint32_t rows;        // dealt out to cores
    uint32_t row_bytes;   // from a row to the next; multiple of slices * tile_bytes
    uint32_t tile_rows;   // of a transfer
    uint32_t tile_bytes;  // of each row of it, multiple of 32
    uint32_t slices;      // the columns in so many parts, one after the other
    uint32_t repeats;     // times that each part is read
    uint32_t slots;       // transfers that the landing pad holds
};
