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
#include "twin/field.h"

namespace AscendC {

/// Lengths and gaps are in 32-byte blocks. For copies into the fixpipe buffer, lengths are in units
/// of 128 bytes and strides go from start to start, that of the destination in units of 128 bytes
/// too.
struct DataCopyParams {
    ASCEND_TWIN_FIELD(DataCopyParams, uint16_t, blockCount, 1);
    ASCEND_TWIN_FIELD(DataCopyParams, uint16_t, blockLen, 0);
    /// Gap from the end of a block to the start of the next.
    ASCEND_TWIN_FIELD(DataCopyParams, uint16_t, srcStride, 0);
    ASCEND_TWIN_FIELD(DataCopyParams, uint16_t, dstStride, 0);

    DataCopyParams() = default;
    DataCopyParams(twin::Number count, twin::Number length, twin::Number source_gap,
                   twin::Number destination_gap)
        : blockCount(count), blockLen(length), srcStride(source_gap), dstStride(destination_gap) {}
};

/// Lengths are in bytes; gaps are in bytes on the GM side and in 32-byte blocks on the UB side.
struct DataCopyExtParams {
    ASCEND_TWIN_FIELD(DataCopyExtParams, uint16_t, blockCount, 1);
    ASCEND_TWIN_FIELD(DataCopyExtParams, uint32_t, blockLen, 0);
    ASCEND_TWIN_FIELD(DataCopyExtParams, uint32_t, srcStride, 0);
    ASCEND_TWIN_FIELD(DataCopyExtParams, uint32_t, dstStride, 0);
    ASCEND_TWIN_FIELD(DataCopyExtParams, uint32_t, rsv, 0);

    DataCopyExtParams() = default;
    DataCopyExtParams(twin::Number count, twin::Number length, twin::Number source_gap,
                      twin::Number destination_gap, twin::Number reserved)
        : blockCount(count),
          blockLen(length),
          srcStride(source_gap),
          dstStride(destination_gap),
          rsv(reserved) {}
};

template <typename T>
struct DataCopyPadExtParams {
    bool isPad = false;
    ASCEND_TWIN_FIELD(DataCopyPadExtParams, uint8_t, leftPadding, 0);
    ASCEND_TWIN_FIELD(DataCopyPadExtParams, uint8_t, rightPadding, 0);
    T paddingValue = T{};

    DataCopyPadExtParams() = default;
    DataCopyPadExtParams(bool pad, twin::Number left, twin::Number right, T value)
        : isPad(pad), leftPadding(left), rightPadding(right), paddingValue(value) {}
};

/// Converts ND to NZ on the way from GM to L1. The field widths are those of CANN 8.1.
struct Nd2NzParams {
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, ndNum, 0);
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, nValue, 0);
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, dValue, 0);
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, srcNdMatrixStride, 0);  ///< elements
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, srcDValue, 0);          ///< elements per source row
    /// 32-byte units between the column blocks of the NZ matrix.
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, dstNzC0Stride, 0);
    /// 32-byte units between the rows of the NZ matrix.
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, dstNzNStride, 0);
    ASCEND_TWIN_FIELD(Nd2NzParams, uint16_t, dstNzMatrixStride, 0);  ///< elements

    Nd2NzParams() = default;
    Nd2NzParams(twin::Number matrices, twin::Number rows, twin::Number columns,
                twin::Number source_matrix, twin::Number source_row, twin::Number column_block,
                twin::Number row, twin::Number matrix)
        : ndNum(matrices),
          nValue(rows),
          dValue(columns),
          srcNdMatrixStride(source_matrix),
          srcDValue(source_row),
          dstNzC0Stride(column_block),
          dstNzNStride(row),
          dstNzMatrixStride(matrix) {}
};

}  // namespace AscendC

namespace twin {

void CopyGmToLocal(const Local& dst, const Global& src, DType type,
                   const AscendC::DataCopyParams& params, Site site);
void CopyLocalToGm(const Global& dst, const Local& src, DType type,
                   const AscendC::DataCopyParams& params, Site site);
/// Copies `count` elements, which by the documentation have to be a multiple of 32 bytes.
void CopyGmToLocal(const Local& dst, const Global& src, DType type, uint32_t count, Site site);
void CopyLocalToGm(const Global& dst, const Local& src, DType type, uint32_t count, Site site);
void CopyPadGmToLocal(const Local& dst, const Global& src, DType type,
                      const AscendC::DataCopyExtParams& params, bool pad, uint8_t left,
                      uint8_t right, const void* value, Site site);
void CopyPadLocalToGm(const Global& dst, const Local& src, DType type,
                      const AscendC::DataCopyExtParams& params, Site site);
void CopyNd2Nz(const Local& dst, const Global& src, DType type, const AscendC::Nd2NzParams& params,
               Site site);

/// Copies UB to UB on an AIV, and L1 to the fixpipe buffer on an AIC.
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
