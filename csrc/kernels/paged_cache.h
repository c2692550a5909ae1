// Stores rows of a paged cache.
#pragma once

#include "kernel_operator.h"
#include "kernels/partition.h"
#include "plan/cache_format.h"

namespace kernels {

__aicore__ inline bool HoldsInt8(const CachePlan& cache) {
    return cache.type == static_cast<uint32_t>(plan::ElementType::kInt8);
}

__aicore__ inline bool IsFractal(const CachePlan& cache) {
    return cache.layout == static_cast<uint32_t>(plan::CacheLayout::kFractalNz);
}

// Stores `width` elements as row `slot` of the cache at `cache`. Where rows hold more than these
// elements, `cache` is the address of their first column in row 0.
template <typename T>
__aicore__ inline void StoreCacheRow(const CachePlan& plan, GM_ADDR cache, uint64_t slot,
                                     const AscendC::LocalTensor<T>& row, uint32_t width) {
    AscendC::GlobalTensor<T> gm;
    gm.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(cache));
    const uint64_t offset =
        slot / plan.block_size * plan.block_stride + slot % plan.block_size * plan.row_stride;
    AscendC::DataCopyParams params;  // blocks of 32 bytes
    params.blockCount = 1;
    params.blockLen = width * sizeof(T) / kBlockBytes;
    params.srcStride = 0;
    params.dstStride = 0;
    if (IsFractal(plan)) {
        params.blockCount = params.blockLen;
        params.blockLen = 1;
        params.dstStride = plan.block_size - 1;
    }
    AscendC::DataCopy(gm[offset], row, params);
}

}  // namespace kernels
