// Cast (Memory矢量计算/类型转换/Cast; for the rounding rules, 数据结构/precision_conversion).
#include "convert.h"
#include "vector_lanes.h"

namespace twin {

namespace {

using AscendC::RoundMode;

constexpr uint32_t Bit(RoundMode mode) { return 1u << static_cast<int>(mode); }
constexpr uint32_t kNone = Bit(RoundMode::CAST_NONE);
constexpr uint32_t kRounding = Bit(RoundMode::CAST_RINT) | Bit(RoundMode::CAST_FLOOR) |
                               Bit(RoundMode::CAST_CEIL) | Bit(RoundMode::CAST_ROUND) |
                               Bit(RoundMode::CAST_TRUNC);

struct CastPair {
    DType from;
    DType to;
    uint32_t modes;
};

/// The page has a table for Atlas A2 and one for Atlas A3. They agree, and this is their content.
constexpr CastPair kPairs[] = {
    {DType::kI8, DType::kF16, kNone},
    {DType::kU8, DType::kF16, kNone},
    {DType::kI16, DType::kF16, kRounding | kNone},
    {DType::kI16, DType::kF32, kNone},
    {DType::kF16, DType::kI8, kRounding | kNone},
    {DType::kF16, DType::kU8, kRounding | kNone},
    {DType::kF16, DType::kI16, kRounding},
    {DType::kF16, DType::kI32, kRounding},
    {DType::kF16, DType::kF32, kNone},
    {DType::kBF16, DType::kI32, kRounding},
    {DType::kBF16, DType::kF32, kNone},
    {DType::kI32, DType::kI16, kNone},
    {DType::kI32, DType::kF32, kRounding | kNone},
    {DType::kF32, DType::kI16, kRounding},
    {DType::kF32, DType::kF16, kRounding | kNone | Bit(RoundMode::CAST_ODD)},
    {DType::kF32, DType::kBF16, kRounding},
    {DType::kF32, DType::kI32, kRounding},
    {DType::kF32, DType::kF32, kRounding},
};

const char* ModeName(RoundMode mode) {
    constexpr const char* kNames[] = {"CAST_NONE",  "CAST_RINT",  "CAST_FLOOR", "CAST_CEIL",
                                      "CAST_ROUND", "CAST_TRUNC", "CAST_ODD"};
    const auto i = static_cast<unsigned>(mode);
    return i < std::size(kNames) ? kNames[i] : "an unknown RoundMode";
}

void RequireMode(DType to, DType from, RoundMode mode, const Site& site) {
    for (const CastPair& pair : kPairs) {
        if (pair.from != from || pair.to != to) continue;
        if (static_cast<unsigned>(mode) < 32 && (pair.modes & Bit(mode)) != 0) return;
        Fail("round-mode", site, "Cast: %s -> %s does not take %s on Atlas A2/A3", DTypeName(from),
             DTypeName(to), ModeName(mode));
    }
    Fail("unsupported", site, "Cast: %s -> %s does not exist on Atlas A2/A3", DTypeName(from),
         DTypeName(to));
}

struct CastTask {
    const Walk& walk;
    const Operand& dst;
    const Operand& src;
    RoundMode mode;
    Site site;
};

template <typename From, typename To>
constexpr uint32_t kLanes = kRepeatBytes / (sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));

template <typename From, typename To, typename Convert>
void Run(const CastTask& task, Convert convert) {
    From from[kLanes<From, To>] = {};
    To to[kLanes<From, To>] = {};
    const uint32_t repeats = Dry() ? 0 : task.walk.repeats;  // UB holds no data in a dry launch
    for (uint32_t repeat = 0; repeat < repeats; ++repeat) {
        Gather(task.walk, task.src, repeat, from);
        convert(from, to, task.walk.At(repeat));
        Scatter(task.walk, task.dst, repeat, to);
    }
}

/// Runs the most frequent conversions, which convert a whole iteration at a time.
template <typename From, typename To>
void RunBulk(const CastTask& task, void (*convert)(const From*, To*, size_t)) {
    Run<From, To>(task, [=](const From* from, To* to, const LaneMask&) {
        convert(from, to, kLanes<From, To>);
    });
}

template <typename From, typename To, typename Convert>
void RunLanes(const CastTask& task, Convert convert) {
    Run<From, To>(task, [&](const From* from, To* to, const LaneMask&) {
        for (uint32_t lane = 0; lane < kLanes<From, To>; ++lane) to[lane] = convert(from[lane]);
    });
}

void FromFloat(const CastTask& task, DType to) {
    const RoundMode mode = task.mode;
    const bool nearest_even = mode == RoundMode::CAST_RINT || mode == RoundMode::CAST_NONE;
    switch (to) {
        case DType::kF16:
            if (nearest_even) return RunBulk(task, ConvertF32ToF16);
            return RunLanes<float, uint16_t>(task, [=](float x) { return FloatToHalf(x, mode); });
        case DType::kBF16:
            if (nearest_even) return RunBulk(task, ConvertF32ToBf16);
            return RunLanes<float, uint16_t>(task, [=](float x) { return FloatToBf16(x, mode); });
        case DType::kI16:
            return RunLanes<float, int16_t>(
                task, [=](float x) { return FloatToInteger<int16_t>(x, mode); });
        case DType::kI32:
            return RunLanes<float, int32_t>(
                task, [=](float x) { return FloatToInteger<int32_t>(x, mode); });
        default:
            return RunLanes<float, float>(task, [=](float x) { return RoundToIntegral(x, mode); });
    }
}

/// "A negative input counts as an error" (precision_conversion, half -> uint8_t).
void HalfToUint8(const CastTask& task) {
    Run<uint16_t, uint8_t>(task, [&](const uint16_t* from, uint8_t* to, const LaneMask& mask) {
        for (uint32_t lane = 0; lane < task.walk.lanes; ++lane) {
            if (!mask.Active(lane)) continue;
            const float value = HalfToFloat(from[lane]);
            if (value < 0) {
                Fail("negative-to-unsigned", task.site, "Cast: half -> uint8_t got %g",
                     static_cast<double>(value));
            }
            to[lane] = FloatToInteger<uint8_t>(value, task.mode);
        }
    });
}

void FromHalf(const CastTask& task, DType to) {
    const RoundMode mode = task.mode;
    switch (to) {
        case DType::kI8:
            return RunLanes<uint16_t, int8_t>(
                task, [=](uint16_t x) { return FloatToInteger<int8_t>(HalfToFloat(x), mode); });
        case DType::kU8:
            return HalfToUint8(task);
        case DType::kI16:
            return RunLanes<uint16_t, int16_t>(
                task, [=](uint16_t x) { return FloatToInteger<int16_t>(HalfToFloat(x), mode); });
        case DType::kI32:
            return RunLanes<uint16_t, int32_t>(
                task, [=](uint16_t x) { return FloatToInteger<int32_t>(HalfToFloat(x), mode); });
        default:
            return RunBulk(task, ConvertF16ToF32);
    }
}

void FromBf16(const CastTask& task, DType to) {
    const RoundMode mode = task.mode;
    if (to == DType::kF32) return RunBulk(task, ConvertBf16ToF32);
    RunLanes<uint16_t, int32_t>(
        task, [=](uint16_t x) { return FloatToInteger<int32_t>(Bf16ToFloat(x), mode); });
}

void FromInteger(const CastTask& task, DType from, DType to) {
    constexpr int kHalfBits = 11;
    constexpr int kFloatBits = 24;
    const RoundMode mode = task.mode;
    if (from == DType::kI8) {
        return RunLanes<int8_t, uint16_t>(
            task, [](int8_t x) { return FloatToHalf(static_cast<float>(x)); });
    }
    if (from == DType::kU8) {
        return RunLanes<uint8_t, uint16_t>(
            task, [](uint8_t x) { return FloatToHalf(static_cast<float>(x)); });
    }
    if (from == DType::kI16 && to == DType::kF16) {
        return RunLanes<int16_t, uint16_t>(
            task, [=](int16_t x) { return FloatToHalf(IntegerToFloat(x, kHalfBits, mode)); });
    }
    if (from == DType::kI16)
        return RunLanes<int16_t, float>(task, [](int16_t x) { return static_cast<float>(x); });
    if (to == DType::kF32) {
        return RunLanes<int32_t, float>(
            task, [=](int32_t x) { return IntegerToFloat(x, kFloatBits, mode); });
    }
    RunLanes<int32_t, int16_t>(task, [](int32_t x) {
        return static_cast<int16_t>(x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x);
    });
}

}  // namespace

void VectorCast(const Local& dst, DType dst_type, const Local& src, DType src_type, RoundMode mode,
                const VectorRange& range, const AscendC::UnaryRepeatParams& params, Site site) {
    RequireAiv("Cast", site);
    RequireMode(dst_type, src_type, mode, site);
    RequireReservedDefaults("Cast", params, site);
    RequireRange("Cast", "halfBlock", params.halfBlock ? 1 : 0, 0, 0, site);
    RequireDstBlockStride("Cast", params.dstBlkStride, site);
    const uint32_t dst_bytes = DTypeBytes(dst_type);
    const uint32_t src_bytes = DTypeBytes(src_type);
    const uint32_t widest = dst_bytes > src_bytes ? dst_bytes : src_bytes;
    const Walk walk = MakeWalk("Cast", range, widest, site);
    if (walk.Empty()) return;
    const Operand to =
        MakeOperand("dst", dst, dst_bytes, walk, params.dstBlkStride, params.dstRepStride);
    const Operand from =
        MakeOperand("src", src, src_bytes, walk, params.srcBlkStride, params.srcRepStride);
    RequireOperand("Cast", walk, to, site);
    RequireOperand("Cast", walk, from, site);
    RequireOverlap("Cast", walk, to, from, false, site);
    const Accesses accesses("Cast", TracePipe::kV, site);
    ReadLanes(accesses, walk, from);
    WriteLanes(accesses, walk, to);
    RecordVector(dst, ExtentOf(walk, to), walk.repeats, walk.ActiveLanes() * dst_bytes, widest,
                 site);
    const CastTask task{walk, to, from, mode, site};
    switch (src_type) {
        case DType::kF32:
            return FromFloat(task, dst_type);
        case DType::kF16:
            return FromHalf(task, dst_type);
        case DType::kBF16:
            return FromBf16(task, dst_type);
        default:
            return FromInteger(task, src_type, dst_type);
    }
}

}  // namespace twin
