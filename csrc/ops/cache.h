// Paged caches as arguments of ops.
//
// A cache is row-major [blocks, block size, 1, width], or FRACTAL_NZ [blocks, width / C0, block
// size, C0] with C0 elements in 32 bytes; the last dimension tells which. Dimension 0 may be
// strided.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include "ops/checks.h"
#include "plan/cache_plan.h"

namespace ops {

/// Whether a cache of rank 4 is in FRACTAL_NZ. Rows of row-major caches have at least 64 elements.
bool CacheIsNz(const at::Tensor& cache);
c10::SymInt CacheBlockSize(const at::Tensor& cache);

/// Checks a cache whose rows have `width` elements of `dtype`. Its number of blocks and its block
/// size must be those of `like`, a cache of rank 4.
void CheckCache(const ArgumentChecks& check, const char* name, const at::Tensor& cache,
                const at::Tensor& like, const c10::SymInt& width, at::ScalarType dtype);

/// The layout of a checked cache whose rows have `width` elements.
CachePlan MakeCachePlan(const at::Tensor& cache, int64_t width);

/// Bytes from the start of a block to column `column` of its first row.
uint64_t CacheColumnOffset(const at::Tensor& cache, int64_t column);

/// Checks the values of a slot mapping: -1 skips a row; any other value has to be a row of the
/// cache that no other token has. Reads the slots, so it is for CPU tensors only.
void CheckSlots(const ArgumentChecks& check, const at::Tensor& slot_mapping,
                const at::Tensor& cache);

}  // namespace ops
