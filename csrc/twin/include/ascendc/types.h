// Scalar types, enumerations and language extensions.
// Pages: 辅助数据结构/TPosition, 同步控制/核内同步/SetFlag-WaitFlag(ISASI),
// Kernel-Tiling/设置Kernel类型.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "twin/detail.h"

#define __gm__
#define __ubuf__
#define __global__
#define __aicore__
#define __inout_pipe__(p)

// A macro, as in the toolkits: `const GM_ADDR` is a pointer to const there too.
#define GM_ADDR __gm__ uint8_t*

/// IEEE binary16 storage. It has no arithmetic on purpose: the kernels here never compute with it
/// on the scalar unit.
struct half {
    uint16_t bits;
};

/// bfloat16 storage. This architecture has no scalar arithmetic for it.
struct bfloat16_t {
    uint16_t bits;
};

enum pipe_t : uint8_t {
    PIPE_S,
    PIPE_V,
    PIPE_M,
    PIPE_MTE1,
    PIPE_MTE2,
    PIPE_MTE3,
    PIPE_ALL,
    PIPE_FIX
};

enum event_t : uint8_t {
    EVENT_ID0,
    EVENT_ID1,
    EVENT_ID2,
    EVENT_ID3,
    EVENT_ID4,
    EVENT_ID5,
    EVENT_ID6,
    EVENT_ID7
};

/// Conversions of the fixpipe (Fixpipe（L0C到GM数据搬运）, table 4).
enum QuantMode_t {
    NoQuant = 0,
    F322F16,
    F322BF16,
    DEQF16,
    VDEQF16,
    QF322B8_PRE,
    VQF322B8_PRE,
    REQ8,
    VREQ8
};

#define ASCEND_IS_AIC (::twin::IsAic())
#define ASCEND_IS_AIV (!::twin::IsAic())

#define KERNEL_TASK_TYPE_DEFAULT(type) \
    ::twin::DeclareKernelType(#type, ::twin::Site::Here(__FILE__, __LINE__))

namespace AscendC {

enum class TPosition : uint8_t {
    GM,
    A1,
    A2,
    B1,
    B2,
    C1,
    C2,
    CO1,
    CO2,
    VECIN,
    VECOUT,
    VECCALC,
    C2PIPE2GM
};

using TEventID = int8_t;

/// Events, named after their source pipe and then their destination pipe.
enum class HardEvent : uint8_t {
    MTE2_MTE1,
    MTE1_MTE2,
    MTE1_M,
    M_MTE1,
    MTE2_V,
    V_MTE2,
    MTE3_V,
    V_MTE3,
    M_FIX,
    FIX_M,
    MTE3_MTE2,
    MTE2_MTE3,
    S_V,
    V_S,
    S_MTE2,
    MTE2_S,
    S_MTE3,
    MTE3_S,
    MTE2_FIX,
    FIX_MTE2,
    MAX
};

enum class RoundMode {
    CAST_NONE = 0,
    CAST_RINT,
    CAST_FLOOR,
    CAST_CEIL,
    CAST_ROUND,
    CAST_TRUNC,
    CAST_ODD
};

namespace internal {

template <typename T>
struct DTypeOf;
#define ASCEND_TWIN_DTYPE(type, tag)                           \
    template <>                                                \
    struct DTypeOf<type> {                                     \
        static constexpr twin::DType value = twin::DType::tag; \
    }
ASCEND_TWIN_DTYPE(int8_t, kI8);
ASCEND_TWIN_DTYPE(uint8_t, kU8);
ASCEND_TWIN_DTYPE(int16_t, kI16);
ASCEND_TWIN_DTYPE(uint16_t, kU16);
ASCEND_TWIN_DTYPE(half, kF16);
ASCEND_TWIN_DTYPE(bfloat16_t, kBF16);
ASCEND_TWIN_DTYPE(int32_t, kI32);
ASCEND_TWIN_DTYPE(uint32_t, kU32);
ASCEND_TWIN_DTYPE(float, kF32);
ASCEND_TWIN_DTYPE(int64_t, kI64);
ASCEND_TWIN_DTYPE(uint64_t, kU64);
#undef ASCEND_TWIN_DTYPE

template <typename T>
constexpr twin::DType kDType = DTypeOf<T>::value;

constexpr twin::TraceBuffer BufferOf(TPosition position) {
    switch (position) {
        case TPosition::A1:
        case TPosition::B1:
        case TPosition::C1:
            return twin::TraceBuffer::kL1;
        case TPosition::A2:
            return twin::TraceBuffer::kL0a;
        case TPosition::B2:
            return twin::TraceBuffer::kL0b;
        case TPosition::C2:
            return twin::TraceBuffer::kBias;
        case TPosition::CO1:
            return twin::TraceBuffer::kL0c;
        case TPosition::C2PIPE2GM:
            return twin::TraceBuffer::kFixpipe;
        case TPosition::VECIN:
        case TPosition::VECOUT:
        case TPosition::VECCALC:
            return twin::TraceBuffer::kUb;
        default:
            return twin::TraceBuffer::kNone;
    }
}

constexpr twin::TracePipe PipeOf(pipe_t pipe) {
    switch (pipe) {
        case PIPE_S:
            return twin::TracePipe::kS;
        case PIPE_V:
            return twin::TracePipe::kV;
        case PIPE_M:
            return twin::TracePipe::kM;
        case PIPE_MTE1:
            return twin::TracePipe::kMte1;
        case PIPE_MTE2:
            return twin::TracePipe::kMte2;
        case PIPE_MTE3:
            return twin::TracePipe::kMte3;
        case PIPE_FIX:
            return twin::TracePipe::kFix;
        default:
            return twin::TracePipe::kAll;
    }
}

struct EventPipes {
    twin::TracePipe source;
    twin::TracePipe destination;
};

constexpr EventPipes PipesOf(HardEvent event) {
    using P = twin::TracePipe;
    switch (event) {
        case HardEvent::MTE2_MTE1:
            return {P::kMte2, P::kMte1};
        case HardEvent::MTE1_MTE2:
            return {P::kMte1, P::kMte2};
        case HardEvent::MTE1_M:
            return {P::kMte1, P::kM};
        case HardEvent::M_MTE1:
            return {P::kM, P::kMte1};
        case HardEvent::MTE2_V:
            return {P::kMte2, P::kV};
        case HardEvent::V_MTE2:
            return {P::kV, P::kMte2};
        case HardEvent::MTE3_V:
            return {P::kMte3, P::kV};
        case HardEvent::V_MTE3:
            return {P::kV, P::kMte3};
        case HardEvent::M_FIX:
            return {P::kM, P::kFix};
        case HardEvent::FIX_M:
            return {P::kFix, P::kM};
        case HardEvent::MTE3_MTE2:
            return {P::kMte3, P::kMte2};
        case HardEvent::MTE2_MTE3:
            return {P::kMte2, P::kMte3};
        case HardEvent::S_V:
            return {P::kS, P::kV};
        case HardEvent::V_S:
            return {P::kV, P::kS};
        case HardEvent::S_MTE2:
            return {P::kS, P::kMte2};
        case HardEvent::MTE2_S:
            return {P::kMte2, P::kS};
        case HardEvent::S_MTE3:
            return {P::kS, P::kMte3};
        case HardEvent::MTE3_S:
            return {P::kMte3, P::kS};
        case HardEvent::MTE2_FIX:
            return {P::kMte2, P::kFix};
        case HardEvent::FIX_MTE2:
            return {P::kFix, P::kMte2};
        default:
            return {P::kAll, P::kAll};
    }
}

}  // namespace internal

inline int64_t GetBlockIdx() { return twin::BlockIndex(); }
inline int64_t GetSubBlockIdx() { return twin::SubBlockIndex(); }
inline int64_t GetBlockNum() { return twin::BlockCount(); }

}  // namespace AscendC
