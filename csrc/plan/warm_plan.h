// The static schedule by which cores load chunks of weights into L2, window by window.
//
// A window is the time between two hand-overs of a core. Chunk i of a window is always loaded by
// core first_core + i % core_count.
#pragma once

#include <cstdint>

// Chunks [first_chunk, first_chunk + chunk_count) of the chunk sequence, dealt out to a range of
// cores.
struct WarmWindow {
    uint32_t first_chunk;
    uint32_t chunk_count;
    uint32_t first_core;
    uint32_t core_count;
    uint32_t after_stream;  // 1: wait until the kernel's own weights have arrived
};

// A contiguous range of GM that is loaded in order, in chunks of WarmPlan::chunk_bytes.
struct WarmRegion {
    uint64_t address;  // GM
    uint64_t bytes;    // multiple of 32, except in the prefetch kernels
};

/// What the vector cores of a kernel load and discard, or the cube cores of prefetch_cube.
struct WarmPlan {
    uint32_t chunk_bytes;  // multiple of 512
    uint32_t pad_slots;    // landing pads, one chunk each
    uint32_t region_count;
    uint32_t await_stream;  // 1: one of the windows has after_stream
    WarmRegion regions[8];  // requested by the caller
};
