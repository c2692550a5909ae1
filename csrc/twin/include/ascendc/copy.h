// DataCopy and DataCopyPad.
// Pages: Memory矢量计算/数据搬运/{DataCopy（GM与UB连续数据搬运）,
// DataCopy（GM与UB高维切分数据搬运）,
//        DataCopyPad（GMToUB非对齐数据搬运）, DataCopyPad（UBToGM非对齐数据搬运）,
//        DataCopy（UBToUB连续数据搬运）, DataCopy（UBToUB高维切分数据搬运）},
//        矩阵计算（ISASI）/矩阵计算的搬入/{DataCopy（GMToL1随路转换-ND2NZ搬运）,
//        DataCopy（GMToL1连续数据搬运）, DataCopy（GMToL1高维切分数据搬运）,
//        DataCopy（L1ToFixpipe-Buffer数据搬运）}.
#pragma once

#include "ascendc/tensor.h"

namespace AscendC {

/// Lengths and gaps in 32-byte blocks; into the fixpipe buffer lengths in 128 bytes and gaps from
/// start to start, those of the destination in 128 bytes too.
struct DataCopyParams {
    DataCopyParams() = default;
    DataCopyParams(uint16_t count, uint16_t length, uint16_t source_gap, uint16_t destination_gap)
        : blockCount(count), blockLen(length), srcStride(source_gap), dstStride(destination_gap) {}
    uint16_t blockCount = 1;
    uint16_t blockLen = 0;
    uint16_t srcStride = 0;  ///< end of a block to the start of the next
    uint16_t dstStride = 0;
};

/// Lengths in bytes; gaps in bytes on the GM side, in 32-byte blocks on the UB side.
struct DataCopyExtParams {
    DataCopyExtParams() = default;
    DataCopyExtParams(uint16_t count, uint32_t length, uint32_t source_gap,
                      uint32_t destination_gap, uint32_t reserved)
        : blockCount(count),
          blockLen(length),
          srcStride(source_gap),
          dstStride(destination_gap),
          rsv(reserved) {}
    uint16_t blockCount = 1;
    uint32_t blockLen = 0;
    uint32_t srcStride = 0;
    uint32_t dstStride = 0;
    uint32_t rsv = 0;
};

template <typename T>
struct DataCopyPadExtParams {
    DataCopyPadExtParams() = default;
    DataCopyPadExtParams(bool pad, uint8_t left, uint8_t right, T value)
        : isPad(pad), leftPadding(left), rightPadding(right), paddingValue(value) {}
    bool isPad = false;
    uint8_t leftPadding = 0;
    uint8_t rightPadding = 0;
    T paddingValue = T{};
};

/// ND -> NZ on the way from GM to L1. Widths are those of CANN 8.1.
struct Nd2NzParams {
    uint16_t ndNum = 0;
    uint16_t nValue = 0;
    uint16_t dValue = 0;
    uint16_t srcNdMatrixStride = 0;  ///< elements
    uint16_t srcDValue = 0;          ///< elements per source row
    uint16_t dstNzC0Stride = 0;      ///< 32-byte units between the column blocks of the NZ matrix
    uint16_t dstNzNStride = 0;       ///< 32-byte units between its rows
    uint16_t dstNzMatrixStride = 0;  ///< elements
};

}  // namespace AscendC

namespace twin {

void CopyGmToLocal(const Local& dst, const Global& src, DType type,
                   const AscendC::DataCopyParams& params, Site site);
void CopyLocalToGm(const Global& dst, const Local& src, DType type,
                   const AscendC::DataCopyParams& params, Site site);
/// `count` elements; the documentation asks for a multiple of 32 bytes.
void CopyGmToLocal(const Local& dst, const Global& src, DType type, uint32_t count, Site site);
void CopyLocalToGm(const Global& dst, const Local& src, DType type, uint32_t count, Site site);
void CopyPadGmToLocal(const Local& dst, const Global& src, DType type,
                      const AscendC::DataCopyExtParams& params, bool pad, uint8_t left,
                      uint8_t right, const void* value, Site site);
void CopyPadLocalToGm(const Global& dst, const Local& src, DType type,
                      const AscendC::DataCopyExtParams& params, Site site);
void CopyNd2Nz(const Local& dst, const Global& src, DType type, const AscendC::Nd2NzParams& params,
               Site site);

/// UB -> UB on an AIV, L1 -> fixpipe buffer on an AIC.
void CopyLocalToLocal(const Local& dst, const Local& src, DType type,
                      const AscendC::DataCopyParams& params, Site site);
void CopyLocalToLocal(const Local& dst, const Local& src, DType type, uint32_t count, Site site);

}  // namespace twin

namespace AscendC {

template <typename T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyParams& params,
              twin::Site site = twin::Site::Here()) {
    twin::CopyGmToLocal(dst.local(), src.global(), internal::kDType<T>, params, site);
}
template <typename T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, uint32_t count,
              twin::Site site = twin::Site::Here()) {
    twin::CopyGmToLocal(dst.local(), src.global(), internal::kDType<T>, count, site);
}
template <typename T>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& params,
              twin::Site site = twin::Site::Here()) {
    twin::CopyLocalToGm(dst.global(), src.local(), internal::kDType<T>, params, site);
}
template <typename T>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count,
              twin::Site site = twin::Site::Here()) {
    twin::CopyLocalToGm(dst.global(), src.local(), internal::kDType<T>, count, site);
}
template <typename T>
void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& params,
              twin::Site site = twin::Site::Here()) {
    twin::CopyLocalToLocal(dst.local(), src.local(), internal::kDType<T>, params, site);
}
template <typename T>
void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count,
              twin::Site site = twin::Site::Here()) {
    twin::CopyLocalToLocal(dst.local(), src.local(), internal::kDType<T>, count, site);
}
template <typename T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const Nd2NzParams& params,
              twin::Site site = twin::Site::Here()) {
    twin::CopyNd2Nz(dst.local(), src.global(), internal::kDType<T>, params, site);
}
template <typename T>
void DataCopyPad(const LocalTensor<T>& dst, const GlobalTensor<T>& src,
                 const DataCopyExtParams& params, const DataCopyPadExtParams<T>& pad,
                 twin::Site site = twin::Site::Here()) {
    twin::CopyPadGmToLocal(dst.local(), src.global(), internal::kDType<T>, params, pad.isPad,
                           pad.leftPadding, pad.rightPadding, &pad.paddingValue, site);
}
template <typename T>
void DataCopyPad(const GlobalTensor<T>& dst, const LocalTensor<T>& src,
                 const DataCopyExtParams& params, twin::Site site = twin::Site::Here()) {
    twin::CopyPadLocalToGm(dst.global(), src.local(), internal::kDType<T>, params, site);
}

}  // namespace AscendC
