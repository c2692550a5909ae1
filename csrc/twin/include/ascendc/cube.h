// LoadData, LoadDataWithTranspose, Mmad and Fixpipe.
// Pages: 矩阵计算（ISASI）/矩阵计算的搬入/{LoadData_2D, LoadDataWithTranspose,
//        矩阵计算输入搬运约束}, 矩阵计算（ISASI）/Mmad计算/Mmad,
//        矩阵计算（ISASI）/矩阵计算的搬出/Fixpipe（L0C到GM数据搬运）,
//        矩阵计算（ISASI）/矩阵搬出关键特性说明/{NZ2ND, NZ2NZ, Int8-Channel-Merge, 随路量化,
//        随路量化与随路ReLU场景组合}.
#pragma once

#include "ascendc/tensor.h"
#include "twin/field.h"

namespace AscendC {

/// Moves 512-byte fractals. Strides and gaps are in fractals.
struct LoadData2DParams {
    ASCEND_TWIN_FIELD(LoadData2DParams, uint16_t, startIndex, 0);
    ASCEND_TWIN_FIELD(LoadData2DParams, uint8_t, repeatTimes, 0);
    ASCEND_TWIN_FIELD(LoadData2DParams, uint16_t, srcStride, 0);
    ASCEND_TWIN_FIELD(LoadData2DParams, uint8_t, sid, 0);
    ASCEND_TWIN_FIELD(LoadData2DParams, uint16_t, dstGap, 0);
    bool ifTranspose = false;
    ASCEND_TWIN_FIELD(LoadData2DParams, uint8_t, addrMode, 0);

    LoadData2DParams() = default;
    LoadData2DParams(twin::Number start, twin::Number repeats, twin::Number source_stride,
                     twin::Number reserved, twin::Number destination_gap, bool transpose,
                     twin::Number mode)
        : startIndex(start),
          repeatTimes(repeats),
          srcStride(source_stride),
          sid(reserved),
          dstGap(destination_gap),
          ifTranspose(transpose),
          addrMode(mode) {}
};

/// Moves squares: 32 x 32 elements of 8 bits, or 16 x 16 elements of 16 or 32 bits.
struct LoadData2dTransposeParams {
    ASCEND_TWIN_FIELD(LoadData2dTransposeParams, uint16_t, startIndex, 0);  ///< squares
    ASCEND_TWIN_FIELD(LoadData2dTransposeParams, uint8_t, repeatTimes, 0);
    /// In squares, from start to start.
    ASCEND_TWIN_FIELD(LoadData2dTransposeParams, uint16_t, srcStride, 0);
    /// In fractals, between the first fractals of two iterations.
    ASCEND_TWIN_FIELD(LoadData2dTransposeParams, uint16_t, dstGap, 0);
    /// In fractals, between the two fractals of an iteration. A 16-bit square is one fractal.
    ASCEND_TWIN_FIELD(LoadData2dTransposeParams, uint16_t, dstFracGap, 0);
    /// 1: the source index counts down.
    ASCEND_TWIN_FIELD(LoadData2dTransposeParams, uint8_t, addrMode, 0);

    LoadData2dTransposeParams() = default;
    LoadData2dTransposeParams(twin::Number start, twin::Number repeats, twin::Number source_stride,
                              twin::Number destination_gap, twin::Number fractal_gap,
                              twin::Number mode)
        : startIndex(start),
          repeatTimes(repeats),
          srcStride(source_stride),
          dstGap(destination_gap),
          dstFracGap(fractal_gap),
          addrMode(mode) {}
    LoadData2dTransposeParams(twin::Number start, twin::Number repeats, twin::Number source_stride,
                              twin::Number destination_gap, twin::Number fractal_gap)
        : LoadData2dTransposeParams(start, repeats, source_stride, destination_gap, fractal_gap,
                                    0) {}
};

struct MmadParams {
    ASCEND_TWIN_FIELD(MmadParams, uint16_t, m, 0);
    ASCEND_TWIN_FIELD(MmadParams, uint16_t, n, 0);
    ASCEND_TWIN_FIELD(MmadParams, uint16_t, k, 0);
    ASCEND_TWIN_FIELD(MmadParams, uint8_t, unitFlag, 0);
    bool kDirectionAlign = false;
    bool cmatrixSource = false;
    bool cmatrixInitVal = true;  ///< true: C = A x B; false: C += A x B

    MmadParams() = default;
    MmadParams(twin::Number rows, twin::Number columns, twin::Number depth, twin::Number unit,
               bool from_bias, bool initialise)
        : m(rows),
          n(columns),
          k(depth),
          unitFlag(unit),
          cmatrixSource(from_bias),
          cmatrixInitVal(initialise) {}
};

struct FixpipeParamsV220 {
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint16_t, nSize, 0);
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint16_t, mSize, 0);
    /// In units of 16 elements of the source.
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint16_t, srcStride, 0);
    /// Row-major: elements from row to row. NZ: units of 32 bytes, from start to start.
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint32_t, dstStride, 0);
    QuantMode_t quantPre = QuantMode_t::NoQuant;
    /// The toolkits leave it uninitialised; here it starts as a value that is no valid scale.
    uint64_t deqScalar = UINT64_MAX;
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint16_t, ndNum, 1);
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint16_t, srcNdStride, 0);
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint16_t, dstNdStride, 0);
    bool reluEn = false;
    ASCEND_TWIN_FIELD(FixpipeParamsV220, uint8_t, unitFlag, 0);
    bool isChannelSplit = false;

    FixpipeParamsV220() = default;
    FixpipeParamsV220(twin::Number columns, twin::Number rows, twin::Number source_stride,
                      twin::Number destination_stride, bool relu)
        : nSize(columns),
          mSize(rows),
          srcStride(source_stride),
          dstStride(destination_stride),
          reluEn(relu) {}
};

enum class CO2Layout : uint8_t { NZ = 0, ROW_MAJOR };

struct FixpipeConfig {
    CO2Layout format;
};

constexpr FixpipeConfig CFG_NZ = {CO2Layout::NZ};
constexpr FixpipeConfig CFG_ROW_MAJOR = {CO2Layout::ROW_MAJOR};

}  // namespace AscendC

namespace twin {

void LoadFractals(const Local& dst, const Local& src, DType type,
                  const AscendC::LoadData2DParams& params, Site site);
void LoadTransposedSquares(const Local& dst, const Local& src, DType type,
                           const AscendC::LoadData2dTransposeParams& params, Site site);
void MatrixMultiply(const Local& c, DType c_type, const Local& a, const Local& b, DType ab_type,
                    const AscendC::MmadParams& params, Site site);
/// `scales` is null for the overload without a quantisation tensor.
void FixpipeToGm(const Global& dst, DType dst_type, const Local& src, DType src_type,
                 const Local* scales, const AscendC::FixpipeParamsV220& params, bool row_major,
                 Site site);

}  // namespace twin

namespace AscendC {

template <typename T>
void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2DParams& params,
              twin::Site site = twin::Site::Here()) {
    twin::LoadFractals(dst.local(), src.local(), internal::kDType<T>, params, site);
}

/// Joins the two fractals of a square, one below the other (8 bits) or side by side (32 bits),
/// transposes the square, and splits it into fractals again. It turns a row-major [k, n] matrix in
/// NZ into the fractals of L0B. With 8 bits, L0B then has a multiple of 32 columns, all of which
/// the n of Mmad has to cover.
template <typename T>
void LoadDataWithTranspose(const LocalTensor<T>& dst, const LocalTensor<T>& src,
                           const LoadData2dTransposeParams& params,
                           twin::Site site = twin::Site::Here()) {
    static_assert(std::is_same_v<T, int8_t> || std::is_same_v<T, uint8_t> ||
                      std::is_same_v<T, half> || std::is_same_v<T, bfloat16_t> ||
                      std::is_same_v<T, int32_t> || std::is_same_v<T, uint32_t> ||
                      std::is_same_v<T, float>,
                  "LoadDataWithTranspose does not exist for this type on Atlas A2/A3");
    twin::LoadTransposedSquares(dst.local(), src.local(), internal::kDType<T>, params, site);
}

template <typename C, typename A, typename B>
void Mmad(const LocalTensor<C>& dst, const LocalTensor<A>& fm, const LocalTensor<B>& filter,
          const MmadParams& params, twin::Site site = twin::Site::Here()) {
    constexpr bool kFloatInputs =
        std::is_same_v<A, half> || std::is_same_v<A, bfloat16_t> || std::is_same_v<A, float>;
    static_assert(std::is_same_v<A, B>, "Mmad: left and right matrix have the same type");
    static_assert((kFloatInputs && std::is_same_v<C, float>) ||
                      (std::is_same_v<A, int8_t> && std::is_same_v<C, int32_t>),
                  "Mmad: float result for half, bfloat16_t and float, int32_t for int8_t");
    twin::MatrixMultiply(dst.local(), internal::kDType<C>, fm.local(), filter.local(),
                         internal::kDType<A>, params, site);
}

template <typename T, typename U, const FixpipeConfig& config = CFG_ROW_MAJOR>
void Fixpipe(const GlobalTensor<T>& dst, const LocalTensor<U>& src, const FixpipeParamsV220& params,
             twin::Site site = twin::Site::Here()) {
    twin::FixpipeToGm(dst.global(), internal::kDType<T>, src.local(), internal::kDType<U>, nullptr,
                      params, config.format == CO2Layout::ROW_MAJOR, site);
}

/// For the modes VDEQF16, VQF322B8_PRE and VREQ8: `cbufWorkspace`, in L1, holds one scale word per
/// column.
template <typename T, typename U, const FixpipeConfig& config = CFG_ROW_MAJOR,
          typename S = uint64_t,
          typename std::enable_if<std::is_same_v<S, uint64_t>, bool>::type = true>
void Fixpipe(const GlobalTensor<T>& dst, const LocalTensor<U>& src,
             const LocalTensor<S>& cbufWorkspace, const FixpipeParamsV220& params,
             twin::Site site = twin::Site::Here()) {
    twin::FixpipeToGm(dst.global(), internal::kDType<T>, src.local(), internal::kDType<U>,
                      &cbufWorkspace.local(), params, config.format == CO2Layout::ROW_MAJOR, site);
}

}  // namespace AscendC
