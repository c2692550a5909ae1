// Paged caches as arguments of ops.
//
// A cache is row-major [blocks, block size, 1, width], or FRACTAL_NZ [blocks, width / C0, block
// size, C0] with C0 elements in 32 bytes; the last dimension tells which. Dimension 0 may be
// strided.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include <optional>

#include "ops/checks.h"
#include "plan/cache_format.h"

namespace ops {

/// Whether a cache of rank 4 is in FRACTAL_NZ. Rows of row-major caches have at least 64 elements.
bool CacheIsNz(const at::Tensor& cache);
c10::SymInt CacheBlockSize(const at::Tensor& cache);

/// Checks a cache whose rows have `width` elements of `dtype`. Its number of blocks and its block
/// size must be those of `like`, a cache of rank 4.
void CheckCache(const ArgumentChecks& check, const char* name, const at::Tensor& cache,
                const at::Tensor& like, const c10::SymInt& width, at::ScalarType dtype);

/// The format of a checked cache whose rows have `width` elements.
CachePlan MakeCachePlan(const at::Tensor& cache, int64_t width);

/// Bytes from the start of a block to column `column` of its first row.
uint64_t CacheColumnOffset(const at::Tensor& cache, int64_t column);

/// The cache of latents, with their rope parts in `rope_cache` or, without one, in the same rows.
struct LatentCacheArguments {
    const at::Tensor& kv_cache;
    const std::optional<at::Tensor>& rope_cache;
    const std::optional<at::Tensor>& kv_cache_scale;  ///< given where kv_cache is int8

    bool joint() const { return !rope_cache.has_value(); }
    bool int8() const { return kv_cache_scale.has_value(); }
};

/// Checks the caches of latents of `kv_lora` elements with rope parts of `rope` elements; all but
/// int8 latents are of `dtype`.
void CheckLatentCache(const ArgumentChecks& check, const LatentCacheArguments& caches,
                      const c10::SymInt& kv_lora, int64_t rope, at::ScalarType dtype);

/// The format of checked caches.
LatentCachePlan MakeLatentCachePlan(const LatentCacheArguments& caches, int64_t kv_lora,
                                    int64_t rope);

/// Checks the values of a slot mapping: -1 skips a row; any other value has to be a row of the
/// cache that no other token has. Reads the slots, so it is for CPU tensors only.
void CheckSlots(const ArgumentChecks& check, const at::Tensor& slot_mapping,
                const at::Tensor& cache);

}  // namespace ops
