// Paged caches as arguments of ops.
//
// Row-major [blocks, block size, 1, width], or FRACTAL_NZ [blocks, width / C0, block size, C0] with
// C0 elements in 32 bytes, told apart by the last dimension. Dimension 0 may be strided.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include "ops/checks.h"
#include "plan/cache_plan.h"

namespace ops {

/// Whether a cache of rank 4 is in FRACTAL_NZ. Row-major ones are at least 64 wide.
bool CacheIsNz(const at::Tensor& cache);
c10::SymInt CacheBlockSize(const at::Tensor& cache);

/// Block count and size are those of `like`, a cache of rank 4.
void CheckCache(const ArgumentChecks& check, const char* name, const at::Tensor& cache,
                const at::Tensor& like, const c10::SymInt& width, at::ScalarType dtype);

/// Rows of `width` elements of a checked cache.
CachePlan MakeCachePlan(const at::Tensor& cache, int64_t width);

/// Bytes from the start of a block to column `column` of its first row.
uint64_t CacheColumnOffset(const at::Tensor& cache, int64_t column);

/// -1 skips a row; anything else has to name a row of the cache that no other token names. Reads
/// the slots: for CPU tensors.
void CheckSlots(const ArgumentChecks& check, const at::Tensor& slot_mapping,
                const at::Tensor& cache);

}  // namespace ops
