// The formats of paged caches: element type, layout, and whether latent and rope share a tensor.
//
// Slot `s` is row s % block_size of block s / block_size.
#pragma once

#include <cstdint>

#include "plan/element_type.h"

// One cache, which is one tensor.
struct CachePlan {
    uint64_t block_stride;  // elements from the start of a block to the next
    uint32_t block_size;    // rows per block
    uint32_t row_stride;    // elements from a row to the next; in NZ C0, which is 32 bytes
    uint32_t layout;        // CacheLayout
    uint32_t type;          // ElementType; int8 rows are quantised with one scale for the cache
};

// The cache of latents and their rope parts.
struct LatentCachePlan {
    CachePlan latent;
    CachePlan rope;  // of the activation type
    uint32_t joint;  // 1: one tensor, whose rows are a latent and its rope part; 0: two tensors
};

namespace plan {

/// How the rows of a block of a cache lie in memory.
enum class CacheLayout : uint32_t {
    kRowMajor = 0,   // a block is [block_size, width]
    kFractalNz = 1,  // a block is [width / C0, block_size, C0]
};

/// Whether the rows are quantised to int8; otherwise they are of the activation type.
constexpr bool HoldsInt8(const CachePlan& cache) {
    return cache.type == static_cast<uint32_t>(ElementType::kInt8);
}

/// Whether a cache is in FRACTAL_NZ.
constexpr bool IsFractal(const CachePlan& cache) {
    return cache.layout == static_cast<uint32_t>(CacheLayout::kFractalNz);
}

}  // namespace plan
