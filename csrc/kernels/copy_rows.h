// Copies rows that lie densely in UB, and `stride` elements apart in GM. Widths and strides are
// multiples of 32 bytes.
#pragma once

#include "kernel_operator.h"
#include "kernels/partition.h"

namespace kernels {

template <typename T>
__aicore__ inline void LoadRows(const AscendC::LocalTensor<T>& dst,
                                const AscendC::GlobalTensor<T>& source, uint32_t rows,
                                uint32_t width, uint32_t stride) {
    AscendC::DataCopyParams params;  // in blocks
    params.blockCount = rows;
    params.blockLen = width * sizeof(T) / kBlockBytes;
    params.srcStride = (stride - width) * sizeof(T) / kBlockBytes;
    params.dstStride = 0;
    AscendC::DataCopy(dst, source, params);
}

template <typename T>
__aicore__ inline void StoreRows(const AscendC::GlobalTensor<T>& target,
                                 const AscendC::LocalTensor<T>& values, uint32_t rows,
                                 uint32_t width, uint32_t stride) {
    AscendC::DataCopyParams params;  // in blocks
    params.blockCount = rows;
    params.blockLen = width * sizeof(T) / kBlockBytes;
    params.srcStride = 0;
    params.dstStride = (stride - width) * sizeof(T) / kBlockBytes;
    AscendC::DataCopy(target, values, params);
}

}  // namespace kernels
