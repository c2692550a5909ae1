// Vector arithmetic, casts, fills, reductions and gathers on UB.
// Pages: Memory矢量计算/SIMD计算说明/{连续计算, 高维切分, 掩码}, Memory矢量计算/基础算术/*,
//        Memory矢量计算/类型转换/Cast, Memory矢量计算/数据填充/{Brcb, Duplicate},
//        Memory矢量计算/归约计算/{ReduceRepeat, ReduceDataBlock},
//        Memory矢量计算/比较与选择/GatherMask, Memory矢量计算/离散与聚合/Gather,
//        辅助数据结构/{UnaryRepeatParams, BinaryRepeatParams}.
//
// Every instruction has the forms of those pages: over the first `count` elements, or over
// `repeatTime` iterations of 256 bytes under a mask, which is a number of leading elements or a
// bitmap. The toolkits take repeatTime as uint8_t, where 256 wraps to 0 and nothing happens; here
// it is wide, and checked, as are the fields of the parameter structs. The instruction always sets
// the mask itself: isSetMask = false does not compile.
#pragma once

#include "ascendc/tensor.h"
#include "twin/field.h"

namespace AscendC {

constexpr int32_t DEFAULT_BLK_NUM = 8;
constexpr int32_t DEFAULT_BLK_STRIDE = 1;
constexpr uint8_t DEFAULT_REPEAT_STRIDE = 8;

/// Block strides are the distances between the 32-byte blocks of an iteration, repeat strides those
/// between the first blocks of two iterations. Both are in blocks.
struct UnaryRepeatParams {
    /// Reserved, as are repeatStrideMode and strideSizeMode.
    ASCEND_TWIN_FIELD(UnaryRepeatParams, uint32_t, blockNumber, DEFAULT_BLK_NUM);
    ASCEND_TWIN_FIELD(UnaryRepeatParams, uint16_t, dstBlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(UnaryRepeatParams, uint16_t, srcBlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(UnaryRepeatParams, uint8_t, dstRepStride, DEFAULT_REPEAT_STRIDE);
    ASCEND_TWIN_FIELD(UnaryRepeatParams, uint8_t, srcRepStride, DEFAULT_REPEAT_STRIDE);
    bool repeatStrideMode = false;
    bool strideSizeMode = false;
    bool halfBlock = false;  ///< used by CastDequant only

    UnaryRepeatParams() = default;
    UnaryRepeatParams(twin::Number dst_block, twin::Number src_block, twin::Number dst_repeat,
                      twin::Number src_repeat)
        : dstBlkStride(dst_block),
          srcBlkStride(src_block),
          dstRepStride(dst_repeat),
          srcRepStride(src_repeat) {}
};

struct BinaryRepeatParams {
    ASCEND_TWIN_FIELD(BinaryRepeatParams, uint32_t, blockNumber, DEFAULT_BLK_NUM);
    ASCEND_TWIN_FIELD(BinaryRepeatParams, uint8_t, dstBlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(BinaryRepeatParams, uint8_t, src0BlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(BinaryRepeatParams, uint8_t, src1BlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(BinaryRepeatParams, uint8_t, dstRepStride, DEFAULT_REPEAT_STRIDE);
    ASCEND_TWIN_FIELD(BinaryRepeatParams, uint8_t, src0RepStride, DEFAULT_REPEAT_STRIDE);
    ASCEND_TWIN_FIELD(BinaryRepeatParams, uint8_t, src1RepStride, DEFAULT_REPEAT_STRIDE);
    bool repeatStrideMode = false;
    bool strideSizeMode = false;

    BinaryRepeatParams() = default;
    BinaryRepeatParams(twin::Number dst_block, twin::Number src0_block, twin::Number src1_block,
                       twin::Number dst_repeat, twin::Number src0_repeat, twin::Number src1_repeat)
        : dstBlkStride(dst_block),
          src0BlkStride(src0_block),
          src1BlkStride(src1_block),
          dstRepStride(dst_repeat),
          src0RepStride(src0_repeat),
          src1RepStride(src1_repeat) {}
};

struct BrcbRepeatParams {
    ASCEND_TWIN_FIELD(BrcbRepeatParams, uint32_t, blockNumber, DEFAULT_BLK_NUM);
    ASCEND_TWIN_FIELD(BrcbRepeatParams, uint16_t, dstRepStride, DEFAULT_REPEAT_STRIDE);
    ASCEND_TWIN_FIELD(BrcbRepeatParams, uint16_t, dstBlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(BrcbRepeatParams, uint8_t, src0BlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(BrcbRepeatParams, uint8_t, src1BlkStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(BrcbRepeatParams, uint8_t, src0RepStride, DEFAULT_REPEAT_STRIDE);
    ASCEND_TWIN_FIELD(BrcbRepeatParams, uint8_t, src1RepStride, DEFAULT_REPEAT_STRIDE);
    bool repeatStrideMode = false;
    bool strideSizeMode = false;

    BrcbRepeatParams() = default;
    BrcbRepeatParams(twin::Number dst_block, twin::Number dst_repeat)
        : dstRepStride(dst_repeat), dstBlkStride(dst_block) {}
};

struct GatherMaskParams {
    ASCEND_TWIN_FIELD(GatherMaskParams, uint8_t, src0BlockStride, DEFAULT_BLK_STRIDE);
    ASCEND_TWIN_FIELD(GatherMaskParams, uint16_t, repeatTimes, 0);
    ASCEND_TWIN_FIELD(GatherMaskParams, uint16_t, src0RepeatStride, DEFAULT_REPEAT_STRIDE);
    ASCEND_TWIN_FIELD(GatherMaskParams, uint8_t, src1RepeatStride, DEFAULT_REPEAT_STRIDE);

    GatherMaskParams() = default;
    GatherMaskParams(twin::Number src0_block, twin::Number repeats, twin::Number src0_repeat,
                     twin::Number src1_repeat)
        : src0BlockStride(src0_block),
          repeatTimes(repeats),
          src0RepeatStride(src0_repeat),
          src1RepeatStride(src1_repeat) {}
};

enum class GatherMaskMode : uint8_t { VERSION_V1 = 0, VERSION_V2 = 1 };
constexpr GatherMaskMode defaultGatherMaskMode = GatherMaskMode::VERSION_V2;

/// What WholeReduceMax writes for each iteration, lower half first.
enum class ReduceOrder {
    ORDER_VALUE_INDEX = 0,
    ORDER_INDEX_VALUE,
    ORDER_ONLY_VALUE,
    ORDER_ONLY_INDEX
};

}  // namespace AscendC

namespace twin {

/// The elements that an instruction works on.
struct VectorRange {
    enum class Form : uint8_t { kCount, kMask, kBitmap };

    static VectorRange Count(int64_t count) { return {Form::kCount, count, nullptr, 0}; }
    static VectorRange Mask(int64_t mask, int64_t repeats) {
        return {Form::kMask, mask, nullptr, repeats};
    }
    static VectorRange Bitmap(const uint64_t* bitmap, int64_t repeats) {
        return {Form::kBitmap, 0, bitmap, repeats};
    }

    Form form;
    int64_t count;           ///< kCount: elements; kMask: leading elements of every iteration
    const uint64_t* bitmap;  ///< kBitmap: one bit per element of every iteration
    int64_t repeats;         ///< kMask and kBitmap: number of iterations
};

enum class VectorOp : uint8_t { kAdd, kSub, kMul, kDiv, kMax, kMin, kAbs, kSqrt, kReciprocal };

void VectorBinary(VectorOp op, DType type, const Local& dst, const Local& src0, const Local& src1,
                  const VectorRange& range, const AscendC::BinaryRepeatParams& params, Site site);
void VectorScalar(VectorOp op, DType type, const Local& dst, const Local& src, const void* scalar,
                  const VectorRange& range, const AscendC::UnaryRepeatParams& params, Site site);
void VectorUnary(VectorOp op, DType type, const Local& dst, const Local& src,
                 const VectorRange& range, const AscendC::UnaryRepeatParams& params, Site site);
void VectorCast(const Local& dst, DType dst_type, const Local& src, DType src_type,
                AscendC::RoundMode mode, const VectorRange& range,
                const AscendC::UnaryRepeatParams& params, Site site);
void VectorDuplicate(DType type, const Local& dst, const void* scalar, const VectorRange& range,
                     int64_t block_stride, int64_t repeat_stride, Site site);
void VectorBrcb(DType type, const Local& dst, const Local& src, int64_t repeats,
                const AscendC::BrcbRepeatParams& params, Site site);

enum class VectorReduction : uint8_t { kWholeSum, kRepeatSum, kBlockSum };

/// Strides of a reduction, those of the source in 32-byte blocks. The unit of `dst_repeat` differs
/// between instructions and is given with each of them below.
struct ReduceStrides {
    int64_t dst_repeat;
    int64_t src_block;
    int64_t src_repeat;
};

void VectorReduceSum(VectorReduction reduction, DType type, const Local& dst, const Local& src,
                     const VectorRange& range, const ReduceStrides& strides, Site site);
void VectorReduceMax(DType type, const Local& dst, const Local& src, const VectorRange& range,
                     const ReduceStrides& strides, AscendC::ReduceOrder order, Site site);

/// Returns the number of elements written. `fixed_pattern` is 1 to 7, or 0 to use `pattern`.
uint64_t VectorGatherMask(DType type, const Local& dst, const Local& src, const Local* pattern,
                          int fixed_pattern, bool counter_mode, uint32_t mask,
                          const AscendC::GatherMaskParams& params, Site site);
void VectorGather(DType type, const Local& dst, const Local& src, const Local& src_offset,
                  uint32_t src_base, const VectorRange& range, int64_t dst_repeat_stride,
                  Site site);

}  // namespace twin

namespace AscendC {

namespace internal {

template <typename T, typename... Types>
constexpr bool kIsOneOf = (std::is_same_v<T, Types> || ...);

/// The data types that each group of instructions takes on the Atlas A2/A3 series, from the pages
/// named above. No page lists bfloat16_t arithmetic.
template <typename T>
constexpr bool kHasArithmetic = kIsOneOf<T, half, float, int16_t, int32_t>;
template <typename T>
constexpr bool kHasFloatArithmetic = kIsOneOf<T, half, float>;
template <typename T>
constexpr bool kHasFill =
    kIsOneOf<T, half, bfloat16_t, float, int16_t, uint16_t, int32_t, uint32_t>;

template <typename To, typename From>
constexpr bool kHasCast =
    (kIsOneOf<From, int8_t, uint8_t> && kIsOneOf<To, half>) ||
    (kIsOneOf<From, int16_t> && kIsOneOf<To, half, float>) ||
    (kIsOneOf<From, half> && kIsOneOf<To, int8_t, uint8_t, int16_t, int32_t, float>) ||
    (kIsOneOf<From, bfloat16_t> && kIsOneOf<To, int32_t, float>) ||
    (kIsOneOf<From, int32_t> && kIsOneOf<To, int16_t, float>) ||
    (kIsOneOf<From, float> && kIsOneOf<To, int16_t, half, bfloat16_t, int32_t, float>);

}  // namespace internal

#define ASCEND_TWIN_REQUIRE_OWN_MASK \
    static_assert(isSetMask, "the twin has no SetVectorMask: let the instruction set its mask")

#define ASCEND_TWIN_BINARY(name, supported)                                                        \
    template <typename T>                                                                          \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,   \
              int32_t count, twin::Site site = twin::Site::Here()) {                               \
        static_assert(internal::supported<T>,                                                      \
                      #name " does not exist for this type on Atlas A2/A3");                       \
        twin::VectorBinary(twin::VectorOp::k##name, internal::kDType<T>, dst.local(),              \
                           src0.local(), src1.local(), twin::VectorRange::Count(count), {}, site); \
    }                                                                                              \
    template <typename T, bool isSetMask = true>                                                   \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,   \
              uint64_t mask, int64_t repeatTime, const BinaryRepeatParams& repeatParams,           \
              twin::Site site = twin::Site::Here()) {                                              \
        static_assert(internal::supported<T>,                                                      \
                      #name " does not exist for this type on Atlas A2/A3");                       \
        ASCEND_TWIN_REQUIRE_OWN_MASK;                                                              \
        twin::VectorBinary(                                                                        \
            twin::VectorOp::k##name, internal::kDType<T>, dst.local(), src0.local(), src1.local(), \
            twin::VectorRange::Mask(static_cast<int64_t>(mask), repeatTime), repeatParams, site);  \
    }                                                                                              \
    template <typename T, bool isSetMask = true>                                                   \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,   \
              uint64_t mask[], int64_t repeatTime, const BinaryRepeatParams& repeatParams,         \
              twin::Site site = twin::Site::Here()) {                                              \
        static_assert(internal::supported<T>,                                                      \
                      #name " does not exist for this type on Atlas A2/A3");                       \
        ASCEND_TWIN_REQUIRE_OWN_MASK;                                                              \
        twin::VectorBinary(twin::VectorOp::k##name, internal::kDType<T>, dst.local(),              \
                           src0.local(), src1.local(),                                             \
                           twin::VectorRange::Bitmap(mask, repeatTime), repeatParams, site);       \
    }
ASCEND_TWIN_BINARY(Add, kHasArithmetic)
ASCEND_TWIN_BINARY(Sub, kHasArithmetic)
ASCEND_TWIN_BINARY(Mul, kHasArithmetic)
ASCEND_TWIN_BINARY(Div, kHasFloatArithmetic)
ASCEND_TWIN_BINARY(Max, kHasArithmetic)
ASCEND_TWIN_BINARY(Min, kHasArithmetic)
#undef ASCEND_TWIN_BINARY

#define ASCEND_TWIN_SCALAR(name, op)                                                              \
    template <typename T, bool isSetMask = true>                                                  \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue,         \
              int32_t count, twin::Site site = twin::Site::Here()) {                              \
        static_assert(internal::kHasArithmetic<T>,                                                \
                      #name " does not exist for this type on Atlas A2/A3");                      \
        ASCEND_TWIN_REQUIRE_OWN_MASK;                                                             \
        twin::VectorScalar(twin::VectorOp::op, internal::kDType<T>, dst.local(), src.local(),     \
                           &scalarValue, twin::VectorRange::Count(count), {}, site);              \
    }                                                                                             \
    template <typename T, bool isSetMask = true>                                                  \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue,         \
              uint64_t mask, int64_t repeatTime, const UnaryRepeatParams& repeatParams,           \
              twin::Site site = twin::Site::Here()) {                                             \
        static_assert(internal::kHasArithmetic<T>,                                                \
                      #name " does not exist for this type on Atlas A2/A3");                      \
        ASCEND_TWIN_REQUIRE_OWN_MASK;                                                             \
        twin::VectorScalar(                                                                       \
            twin::VectorOp::op, internal::kDType<T>, dst.local(), src.local(), &scalarValue,      \
            twin::VectorRange::Mask(static_cast<int64_t>(mask), repeatTime), repeatParams, site); \
    }                                                                                             \
    template <typename T, bool isSetMask = true>                                                  \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue,         \
              uint64_t mask[], int64_t repeatTime, const UnaryRepeatParams& repeatParams,         \
              twin::Site site = twin::Site::Here()) {                                             \
        static_assert(internal::kHasArithmetic<T>,                                                \
                      #name " does not exist for this type on Atlas A2/A3");                      \
        ASCEND_TWIN_REQUIRE_OWN_MASK;                                                             \
        twin::VectorScalar(twin::VectorOp::op, internal::kDType<T>, dst.local(), src.local(),     \
                           &scalarValue, twin::VectorRange::Bitmap(mask, repeatTime),             \
                           repeatParams, site);                                                   \
    }
ASCEND_TWIN_SCALAR(Adds, kAdd)
ASCEND_TWIN_SCALAR(Muls, kMul)
ASCEND_TWIN_SCALAR(Maxs, kMax)
ASCEND_TWIN_SCALAR(Mins, kMin)
#undef ASCEND_TWIN_SCALAR

#define ASCEND_TWIN_UNARY(name)                                                                   \
    template <typename T>                                                                         \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t count,                \
              twin::Site site = twin::Site::Here()) {                                             \
        static_assert(internal::kHasFloatArithmetic<T>,                                           \
                      #name " exists for half and float on Atlas A2/A3");                         \
        twin::VectorUnary(twin::VectorOp::k##name, internal::kDType<T>, dst.local(), src.local(), \
                          twin::VectorRange::Count(count), {}, site);                             \
    }                                                                                             \
    template <typename T, bool isSetMask = true>                                                  \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint64_t mask,                \
              int64_t repeatTime, const UnaryRepeatParams& repeatParams,                          \
              twin::Site site = twin::Site::Here()) {                                             \
        static_assert(internal::kHasFloatArithmetic<T>,                                           \
                      #name " exists for half and float on Atlas A2/A3");                         \
        ASCEND_TWIN_REQUIRE_OWN_MASK;                                                             \
        twin::VectorUnary(twin::VectorOp::k##name, internal::kDType<T>, dst.local(), src.local(), \
                          twin::VectorRange::Mask(static_cast<int64_t>(mask), repeatTime),        \
                          repeatParams, site);                                                    \
    }                                                                                             \
    template <typename T, bool isSetMask = true>                                                  \
    void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint64_t mask[],              \
              int64_t repeatTime, const UnaryRepeatParams& repeatParams,                          \
              twin::Site site = twin::Site::Here()) {                                             \
        static_assert(internal::kHasFloatArithmetic<T>,                                           \
                      #name " exists for half and float on Atlas A2/A3");                         \
        ASCEND_TWIN_REQUIRE_OWN_MASK;                                                             \
        twin::VectorUnary(twin::VectorOp::k##name, internal::kDType<T>, dst.local(), src.local(), \
                          twin::VectorRange::Bitmap(mask, repeatTime), repeatParams, site);       \
    }
ASCEND_TWIN_UNARY(Abs)
ASCEND_TWIN_UNARY(Sqrt)
ASCEND_TWIN_UNARY(Reciprocal)
#undef ASCEND_TWIN_UNARY

/// The instruction checks, when it is issued, that its pair of types takes `roundMode`. int32_t ->
/// half works only together with SetDeqScale, which the twin does not have.
template <typename T, typename U>
void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode,
          uint32_t count, twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasCast<T, U>,
                  "Cast does not exist for this pair of types on Atlas A2/A3");
    twin::VectorCast(dst.local(), internal::kDType<T>, src.local(), internal::kDType<U>, roundMode,
                     twin::VectorRange::Count(count), {}, site);
}
/// The mask and the iterations count elements of the wider type.
template <typename T, typename U, bool isSetMask = true>
void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode,
          uint64_t mask, int64_t repeatTime, const UnaryRepeatParams& repeatParams,
          twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasCast<T, U>,
                  "Cast does not exist for this pair of types on Atlas A2/A3");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorCast(dst.local(), internal::kDType<T>, src.local(), internal::kDType<U>, roundMode,
                     twin::VectorRange::Mask(static_cast<int64_t>(mask), repeatTime), repeatParams,
                     site);
}
template <typename T, typename U, bool isSetMask = true>
void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode,
          const uint64_t mask[], int64_t repeatTime, const UnaryRepeatParams& repeatParams,
          twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasCast<T, U>,
                  "Cast does not exist for this pair of types on Atlas A2/A3");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorCast(dst.local(), internal::kDType<T>, src.local(), internal::kDType<U>, roundMode,
                     twin::VectorRange::Bitmap(mask, repeatTime), repeatParams, site);
}

template <typename T>
void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, int32_t count,
               twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFill<T>,
                  "Duplicate exists for types of 16 and 32 bits on Atlas A2/A3");
    twin::VectorDuplicate(internal::kDType<T>, dst.local(), &scalarValue,
                          twin::VectorRange::Count(count), DEFAULT_BLK_STRIDE,
                          DEFAULT_REPEAT_STRIDE, site);
}
template <typename T, bool isSetMask = true>
void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, uint64_t mask, int64_t repeatTime,
               int64_t dstBlockStride, int64_t dstRepeatStride,
               twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFill<T>,
                  "Duplicate exists for types of 16 and 32 bits on Atlas A2/A3");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorDuplicate(internal::kDType<T>, dst.local(), &scalarValue,
                          twin::VectorRange::Mask(static_cast<int64_t>(mask), repeatTime),
                          dstBlockStride, dstRepeatStride, site);
}
template <typename T, bool isSetMask = true>
void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, uint64_t mask[], int64_t repeatTime,
               int64_t dstBlockStride, int64_t dstRepeatStride,
               twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFill<T>,
                  "Duplicate exists for types of 16 and 32 bits on Atlas A2/A3");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorDuplicate(internal::kDType<T>, dst.local(), &scalarValue,
                          twin::VectorRange::Bitmap(mask, repeatTime), dstBlockStride,
                          dstRepeatStride, site);
}

/// Each iteration broadcasts eight elements to eight blocks: every block is filled with one of
/// them.
template <typename T>
void Brcb(const LocalTensor<T>& dst, const LocalTensor<T>& src, int64_t repeatTime,
          const BrcbRepeatParams& repeatParams, twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFill<T>, "Brcb exists for types of 16 and 32 bits on Atlas A2/A3");
    twin::VectorBrcb(internal::kDType<T>, dst.local(), src.local(), repeatTime, repeatParams, site);
}

/// Sums the elements of each iteration in a binary tree. `dstRepStride` is in elements.
template <typename T, bool isSetMask = true>
void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask,
                    int32_t repeatTime, int32_t dstRepStride, int32_t srcBlkStride,
                    int32_t srcRepStride, twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFloatArithmetic<T>, "WholeReduceSum exists for half and float");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorReduceSum(twin::VectorReduction::kWholeSum, internal::kDType<T>, dst.local(),
                          src.local(), twin::VectorRange::Mask(mask, repeatTime),
                          {dstRepStride, srcBlkStride, srcRepStride}, site);
}

/// Computes the same as WholeReduceSum; `dstBlkStride` has no effect. The pages of CANN 8 and 9
/// list it for Atlas A2 but not for Atlas A3, so on an A3 chip it is an error.
template <typename T, bool isSetMask = true>
void RepeatReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t repeatTime,
                     int32_t mask, int32_t /*dstBlkStride*/, int32_t srcBlkStride,
                     int32_t dstRepStride, int32_t srcRepStride,
                     twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFloatArithmetic<T>, "RepeatReduceSum exists for half and float");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorReduceSum(twin::VectorReduction::kRepeatSum, internal::kDType<T>, dst.local(),
                          src.local(), twin::VectorRange::Mask(mask, repeatTime),
                          {dstRepStride, srcBlkStride, srcRepStride}, site);
}

/// Sums the elements of each 32-byte block in a binary tree, which gives eight results per
/// iteration. `dstRepStride` is in groups of eight results.
template <typename T, bool isSetMask = true>
void BlockReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t repeatTime,
                    int32_t mask, int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride,
                    twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFloatArithmetic<T>, "BlockReduceSum exists for half and float");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorReduceSum(twin::VectorReduction::kBlockSum, internal::kDType<T>, dst.local(),
                          src.local(), twin::VectorRange::Mask(mask, repeatTime),
                          {dstRepStride, srcBlkStride, srcRepStride}, site);
}

/// Finds the maximum of each iteration and its index. `dstRepStride` is in units of what `order`
/// writes per iteration.
template <typename T, bool isSetMask = true>
void WholeReduceMax(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask[],
                    int32_t repeatTime, int32_t dstRepStride, int32_t srcBlkStride,
                    int32_t srcRepStride, ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX,
                    twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFloatArithmetic<T>, "WholeReduceMax exists for half and float");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorReduceMax(internal::kDType<T>, dst.local(), src.local(),
                          twin::VectorRange::Bitmap(mask, repeatTime),
                          {dstRepStride, srcBlkStride, srcRepStride}, order, site);
}
template <typename T, bool isSetMask = true>
void WholeReduceMax(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask,
                    int32_t repeatTime, int32_t dstRepStride, int32_t srcBlkStride,
                    int32_t srcRepStride, ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX,
                    twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFloatArithmetic<T>, "WholeReduceMax exists for half and float");
    ASCEND_TWIN_REQUIRE_OWN_MASK;
    twin::VectorReduceMax(internal::kDType<T>, dst.local(), src.local(),
                          twin::VectorRange::Mask(mask, repeatTime),
                          {dstRepStride, srcBlkStride, srcRepStride}, order, site);
}

#undef ASCEND_TWIN_REQUIRE_OWN_MASK

/// Packs the elements whose bit is set in one of the patterns 1 to 7.
template <typename T, GatherMaskMode mode = defaultGatherMaskMode>
void GatherMask(const LocalTensor<T>& dst, const LocalTensor<T>& src0, int src1Pattern,
                bool reduceMode, uint32_t mask, const GatherMaskParams& gatherMaskParams,
                uint64_t& rsvdCnt, twin::Site site = twin::Site::Here()) {
    static_assert(mode == defaultGatherMaskMode, "GatherMask: mode is reserved");
    static_assert(internal::kHasFill<T>,
                  "GatherMask exists for types of 16 and 32 bits on Atlas A2/A3");
    rsvdCnt = twin::VectorGatherMask(internal::kDType<T>, dst.local(), src0.local(), nullptr,
                                     src1Pattern, reduceMode, mask, gatherMaskParams, site);
}
/// Packs the elements whose bit is set in the tensor `src1Pattern`, lowest bit first.
template <typename T, typename U, GatherMaskMode mode = defaultGatherMaskMode>
void GatherMask(const LocalTensor<T>& dst, const LocalTensor<T>& src0,
                const LocalTensor<U>& src1Pattern, bool reduceMode, uint32_t mask,
                const GatherMaskParams& gatherMaskParams, uint64_t& rsvdCnt,
                twin::Site site = twin::Site::Here()) {
    static_assert(mode == defaultGatherMaskMode, "GatherMask: mode is reserved");
    static_assert(internal::kHasFill<T>,
                  "GatherMask exists for types of 16 and 32 bits on Atlas A2/A3");
    static_assert(
        std::is_same_v<U, std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>>,
        "GatherMask: the pattern is uint16_t for elements of 16 bits, uint32_t for those of 32");
    rsvdCnt =
        twin::VectorGatherMask(internal::kDType<T>, dst.local(), src0.local(), &src1Pattern.local(),
                               0, reduceMode, mask, gatherMaskParams, site);
}

/// Element i of `dst` is the element at srcBaseAddr + srcOffset[i] bytes from the start of `src`.
template <typename T>
void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src,
            const LocalTensor<uint32_t>& srcOffset, uint32_t srcBaseAddr, uint32_t count,
            twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFill<T>,
                  "Gather exists for types of 16 and 32 bits on Atlas A2/A3");
    twin::VectorGather(internal::kDType<T>, dst.local(), src.local(), srcOffset.local(),
                       srcBaseAddr, twin::VectorRange::Count(count), DEFAULT_REPEAT_STRIDE, site);
}
template <typename T>
void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src,
            const LocalTensor<uint32_t>& srcOffset, uint32_t srcBaseAddr, uint64_t mask,
            int64_t repeatTime, int64_t dstRepStride, twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFill<T>,
                  "Gather exists for types of 16 and 32 bits on Atlas A2/A3");
    twin::VectorGather(internal::kDType<T>, dst.local(), src.local(), srcOffset.local(),
                       srcBaseAddr, twin::VectorRange::Mask(static_cast<int64_t>(mask), repeatTime),
                       dstRepStride, site);
}
template <typename T>
void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src,
            const LocalTensor<uint32_t>& srcOffset, uint32_t srcBaseAddr, const uint64_t mask[],
            int64_t repeatTime, int64_t dstRepStride, twin::Site site = twin::Site::Here()) {
    static_assert(internal::kHasFill<T>,
                  "Gather exists for types of 16 and 32 bits on Atlas A2/A3");
    twin::VectorGather(internal::kDType<T>, dst.local(), src.local(), srcOffset.local(),
                       srcBaseAddr, twin::VectorRange::Bitmap(mask, repeatTime), dstRepStride,
                       site);
}

}  // namespace AscendC
