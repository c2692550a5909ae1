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
};

// A contiguous range of GM that is loaded in order, in chunks of WarmPlan::chunk_bytes.
struct WarmRegion {
    uint64_t address;  // GM; 0: this op's own W_UK, whose address is a kernel argument
    uint64_t bytes;    // multiple of 32
};

struct WarmPlan {
    uint32_t chunk_bytes;  // multiple of 512
    uint32_t pad_slots;    // landing buffers
    uint32_t pad_slot_bytes;
    uint32_t region_count;
    uint32_t group_chunks;    // chunks of its own q_b share that each AIC's vector cores load first
    WarmWindow while_norm;    // cores without a row to norm
    WarmWindow while_q_b;     // until the cube has finished q_b
    WarmWindow while_absorb;  // until the kernel ends
    WarmRegion regions[9];    // W_UK and the regions of the caller
};
