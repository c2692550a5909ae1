// Elementwise arithmetic (Memory矢量计算/基础算术/*).
//
// half is computed in float and rounded once, to nearest even, which gives the correctly rounded
// half result of each single operation. The pages do not define what an integer operation returns
// on this architecture if the result does not fit, nor the square root of a number that is not
// positive: both are errors here. They do not define Max and Min of NaN either (here: NaN), and
// call the reciprocal of zero unknown (here: the IEEE 754 result). The hardware's Reciprocal is
// less accurate than this one.
#include <cmath>
#include <limits>
#include <type_traits>

#include "convert.h"
#include "vector_lanes.h"

namespace twin {

namespace {

/// The type that a lane has in UB (Storage) and the type that it is computed in (Value), with the
/// conversions of a whole iteration.
struct FloatLanes {
    using Storage = float;
    using Value = float;
    static constexpr uint32_t kLanes = 64;
    static void Load(const Storage* from, Value* to) { std::memcpy(to, from, kRepeatBytes); }
    static void Store(const Value* from, Storage* to) { std::memcpy(to, from, kRepeatBytes); }
};

struct HalfLanes {
    using Storage = uint16_t;
    using Value = float;
    static constexpr uint32_t kLanes = 128;
    static void Load(const Storage* from, Value* to) { ConvertF16ToF32(from, to, kLanes); }
    static void Store(const Value* from, Storage* to) { ConvertF32ToF16(from, to, kLanes); }
};

template <typename Integer, typename Wide>
struct IntegerLanes {
    using Storage = Integer;
    using Value = Wide;
    static constexpr uint32_t kLanes = kRepeatBytes / sizeof(Integer);
    static void Load(const Storage* from, Value* to) {
        for (uint32_t i = 0; i < kLanes; ++i) to[i] = from[i];
    }
    static void Store(const Value* from, Storage* to) {
        for (uint32_t i = 0; i < kLanes; ++i) to[i] = static_cast<Storage>(from[i]);
    }
};

struct AddLanes {
    template <typename T>
    T operator()(T a, T b) const {
        return a + b;
    }
};
struct SubLanes {
    template <typename T>
    T operator()(T a, T b) const {
        return a - b;
    }
};
struct MulLanes {
    template <typename T>
    T operator()(T a, T b) const {
        return a * b;
    }
};
struct DivLanes {
    float operator()(float a, float b) const { return a / b; }
};
struct MaxLanes {
    template <typename T>
    T operator()(T a, T b) const {
        return a > b || a != a ? a : b;
    }
};
struct MinLanes {
    template <typename T>
    T operator()(T a, T b) const {
        return a < b || a != a ? a : b;
    }
};

/// An instruction whose arguments have been checked. Its second source is a tensor, a scalar, or
/// missing.
struct ArithmeticTask {
    const char* instruction;
    DType type;
    const Walk& walk;
    const Operand& dst;
    const Operand& src0;
    const Operand* src1;
    const void* scalar;
    Site site;
};

template <typename Storage, typename Value>
void RequireFits(const ArithmeticTask& task, const LaneMask& mask, const Value* values) {
    using Limits = std::numeric_limits<Storage>;
    for (uint32_t lane = 0; lane < task.walk.lanes; ++lane) {
        if (!mask.Active(lane) || (values[lane] >= Limits::min() && values[lane] <= Limits::max()))
            continue;
        Fail("integer-overflow", task.site,
             "%s: a result is %lld, which %s cannot hold; what the hardware returns then is not "
             "documented",
             task.instruction, static_cast<long long>(values[lane]), DTypeName(task.type));
    }
}

// "如果src中的数值为非正数，可能会产生未知结果" (Sqrt, constraints). NaN is no error: it comes from
// the caller's data and is returned to the caller.
void RequirePositive(const ArithmeticTask& task, const LaneMask& mask, const float* values) {
    for (uint32_t lane = 0; lane < task.walk.lanes; ++lane) {
        if (!mask.Active(lane) || !(values[lane] <= 0)) continue;
        Fail("not-positive", task.site,
             "%s: an element is %g; what the hardware returns then is not documented",
             task.instruction, static_cast<double>(values[lane]));
    }
}

struct SqrtLanes {
    float operator()(float a, float) const { return std::sqrt(a); }
};

template <typename Lanes, typename Operation>
void Run(const ArithmeticTask& task, Operation operation) {
    using Storage = typename Lanes::Storage;
    using Value = typename Lanes::Value;
    constexpr uint32_t kLanes = Lanes::kLanes;
    Storage stored[kLanes] = {};
    Value a[kLanes] = {};
    Value b[kLanes] = {};
    if (task.scalar != nullptr) {
        Storage scalar;
        std::memcpy(&scalar, task.scalar, sizeof(scalar));
        for (Storage& lane : stored) lane = scalar;
        Lanes::Load(stored, b);
    }
    const uint32_t repeats = Dry() ? 0 : task.walk.repeats;  // UB holds no data in a dry launch
    for (uint32_t repeat = 0; repeat < repeats; ++repeat) {
        Gather(task.walk, task.src0, repeat, stored);
        Lanes::Load(stored, a);
        if (task.src1 != nullptr) {
            Gather(task.walk, *task.src1, repeat, stored);
            Lanes::Load(stored, b);
        }
        if constexpr (std::is_same_v<Operation, SqrtLanes>)
            RequirePositive(task, task.walk.At(repeat), a);
        for (uint32_t lane = 0; lane < kLanes; ++lane) a[lane] = operation(a[lane], b[lane]);
        if constexpr (std::is_integral_v<Value>)
            RequireFits<Storage>(task, task.walk.At(repeat), a);
        Lanes::Store(a, stored);
        Scatter(task.walk, task.dst, repeat, stored);
    }
}

template <typename Operation>
void RunTyped(const ArithmeticTask& task, Operation operation) {
    switch (task.type) {
        case DType::kF32:
            return Run<FloatLanes>(task, operation);
        case DType::kF16:
            return Run<HalfLanes>(task, operation);
        case DType::kI16:
            return Run<IntegerLanes<int16_t, int32_t>>(task, operation);
        case DType::kI32:
            return Run<IntegerLanes<int32_t, int64_t>>(task, operation);
        default:
            break;
    }
    Fail("unsupported", task.site, "%s does not take %s", task.instruction, DTypeName(task.type));
}

template <typename Operation>
void RunFloat(const ArithmeticTask& task, Operation operation) {
    switch (task.type) {
        case DType::kF32:
            return Run<FloatLanes>(task, operation);
        case DType::kF16:
            return Run<HalfLanes>(task, operation);
        default:
            break;
    }
    Fail("unsupported", task.site, "%s does not take %s", task.instruction, DTypeName(task.type));
}

void Execute(VectorOp op, const ArithmeticTask& task) {
    switch (op) {
        case VectorOp::kAdd:
            return RunTyped(task, AddLanes{});
        case VectorOp::kSub:
            return RunTyped(task, SubLanes{});
        case VectorOp::kMul:
            return RunTyped(task, MulLanes{});
        case VectorOp::kMax:
            return RunTyped(task, MaxLanes{});
        case VectorOp::kMin:
            return RunTyped(task, MinLanes{});
        case VectorOp::kDiv:
            return RunFloat(task, DivLanes{});
        case VectorOp::kAbs:
            return RunFloat(task, [](float a, float) { return std::fabs(a); });
        case VectorOp::kSqrt:
            return RunFloat(task, SqrtLanes{});
        case VectorOp::kReciprocal:
            return RunFloat(task, [](float a, float) { return 1.0f / a; });
    }
}

/// Whether dst may be read again as src1, as an accumulator over the iterations: 通用地址重叠约束
/// names the operations and types.
bool MayAccumulate(VectorOp op, DType type) {
    const bool named = op == VectorOp::kAdd || op == VectorOp::kSub || op == VectorOp::kMul ||
                       op == VectorOp::kMax || op == VectorOp::kMin;
    return named && (type == DType::kF16 || type == DType::kI32 || type == DType::kF32);
}

constexpr const char* kNames[] = {"Add", "Sub", "Mul",  "Div",       "Max",
                                  "Min", "Abs", "Sqrt", "Reciprocal"};
constexpr const char* kScalarNames[] = {"Adds", "Subs", "Muls", "Divs", "Maxs", "Mins"};

void OneSource(VectorOp op, const char* instruction, DType type, const Local& dst, const Local& src,
               const void* scalar, const VectorRange& range,
               const AscendC::UnaryRepeatParams& params, Site site) {
    RequireAiv(instruction, site);
    RequireReservedDefaults(instruction, params, site);
    RequireRange(instruction, "halfBlock", params.halfBlock ? 1 : 0, 0, 0, site);
    RequireDstBlockStride(instruction, params.dstBlkStride, site);
    const uint32_t bytes = DTypeBytes(type);
    const Walk walk = MakeWalk(instruction, range, bytes, site);
    if (walk.Empty()) return;
    const Operand to =
        MakeOperand("dst", dst, bytes, walk, params.dstBlkStride, params.dstRepStride);
    const Operand from =
        MakeOperand("src", src, bytes, walk, params.srcBlkStride, params.srcRepStride);
    RequireOperand(instruction, walk, to, site);
    RequireOperand(instruction, walk, from, site);
    RequireOverlap(instruction, walk, to, from, false, site);
    const Accesses accesses(instruction, TracePipe::kV, site);
    ReadLanes(accesses, walk, from);
    WriteLanes(accesses, walk, to);
    RecordVector(dst, ExtentOf(walk, to), walk.repeats, walk.ActiveLanes() * bytes, bytes, site);
    Execute(op, {instruction, type, walk, to, from, nullptr, scalar, site});
}

}  // namespace

void VectorBinary(VectorOp op, DType type, const Local& dst, const Local& src0, const Local& src1,
                  const VectorRange& range, const AscendC::BinaryRepeatParams& params, Site site) {
    const char* instruction = kNames[static_cast<int>(op)];
    RequireAiv(instruction, site);
    RequireReservedDefaults(instruction, params, site);
    RequireDstBlockStride(instruction, params.dstBlkStride, site);
    const uint32_t bytes = DTypeBytes(type);
    const Walk walk = MakeWalk(instruction, range, bytes, site);
    if (walk.Empty()) return;
    const Operand to =
        MakeOperand("dst", dst, bytes, walk, params.dstBlkStride, params.dstRepStride);
    const Operand from0 =
        MakeOperand("src0", src0, bytes, walk, params.src0BlkStride, params.src0RepStride);
    const Operand from1 =
        MakeOperand("src1", src1, bytes, walk, params.src1BlkStride, params.src1RepStride);
    RequireOperand(instruction, walk, to, site);
    RequireOperand(instruction, walk, from0, site);
    RequireOperand(instruction, walk, from1, site);
    const bool still = !walk.contiguous && (params.src1RepStride == 0 || params.dstRepStride == 0);
    RequireOverlap(instruction, walk, to, from0, false, site);
    RequireOverlap(instruction, walk, to, from1, still && MayAccumulate(op, type), site);
    const Accesses accesses(instruction, TracePipe::kV, site);
    ReadLanes(accesses, walk, from0);
    ReadLanes(accesses, walk, from1);
    WriteLanes(accesses, walk, to);
    RecordVector(dst, ExtentOf(walk, to), walk.repeats, walk.ActiveLanes() * bytes, bytes, site);
    Execute(op, {instruction, type, walk, to, from0, &from1, nullptr, site});
}

void VectorScalar(VectorOp op, DType type, const Local& dst, const Local& src, const void* scalar,
                  const VectorRange& range, const AscendC::UnaryRepeatParams& params, Site site) {
    OneSource(op, kScalarNames[static_cast<int>(op)], type, dst, src, scalar, range, params, site);
}

void VectorUnary(VectorOp op, DType type, const Local& dst, const Local& src,
                 const VectorRange& range, const AscendC::UnaryRepeatParams& params, Site site) {
    OneSource(op, kNames[static_cast<int>(op)], type, dst, src, nullptr, range, params, site);
}

}  // namespace twin
