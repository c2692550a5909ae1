// What the vector cores pull into L2, chunk by chunk, window by window.
//
// A window lies between two hand-overs of a core. The schedule is static: chunk i of a window is
// loaded by core first_core + i % core_count, whatever the timing.
#pragma once

#include <cstdint>

// Chunks [first_chunk, first_chunk + chunk_count) of the chunk sequence, dealt out to a range of
// cores.
struct WarmWindow {
    uint32_t first_chunk;
    uint32_t chunk_count;
    uint32_t first_core;
    uint32_t core_count;
    uint32_t after_stream;  // 1: not before the kernel's own weights have arrived
};

// A contiguous range of GM that is loaded in order, in chunks of WarmPlan::chunk_bytes.
struct WarmRegion {
    uint64_t address;  // GM
    uint64_t bytes;    // multiple of 32, but for the prefetch kernel
};

/// What the vector cores of a kernel load and discard.
struct WarmPlan {
    uint32_t chunk_bytes;  // multiple of 512
    uint32_t pad_slots;    // landing buffers of a chunk each
    uint32_t region_count;
    uint32_t await_stream;  // 1: a window has after_stream
    WarmRegion regions[8];  // of the caller
};
