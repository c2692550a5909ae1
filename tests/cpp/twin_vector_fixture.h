// Operands of vector instructions in UB, with half and bfloat16_t as their bits.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "twin_fixture.h"

namespace fixture {

using AscendC::BinaryRepeatParams;
using AscendC::RoundMode;
using AscendC::UnaryRepeatParams;

constexpr float kInf = std::numeric_limits<float>::infinity();

/// What a test writes down for a T.
template <typename T>
using Raw =
    std::conditional_t<std::is_same_v<T, half> || std::is_same_v<T, bfloat16_t>, uint16_t, T>;

template <typename T>
LocalTensor<T> Load(TPipe& pipe, const std::vector<Raw<T>>& values) {
    const auto tensor = Allocate<kUb, T>(pipe, static_cast<uint32_t>(values.size()));
    std::memcpy(tensor.local().data, values.data(), values.size() * sizeof(T));
    return tensor;
}

template <typename T>
LocalTensor<T> Filled(TPipe& pipe, uint32_t count, Raw<T> value) {
    return Load<T>(pipe, std::vector<Raw<T>>(count, value));
}

/// Elements [first, first + count).
template <typename T>
std::vector<Raw<T>> Read(const LocalTensor<T>& tensor, size_t first, size_t count) {
    return Values(tensor.template ReinterpretCast<Raw<T>>(), first, count);
}

/// The elements that are not `value`, as their positions.
template <typename T>
std::vector<int> Changed(const LocalTensor<T>& tensor, size_t count, Raw<T> value) {
    std::vector<int> positions;
    const auto values = Read(tensor, 0, count);
    for (size_t i = 0; i < count; ++i) {
        if (values[i] != value) positions.push_back(static_cast<int>(i));
    }
    return positions;
}

/// [first, first + count), then `more` ranges of the same form.
inline std::vector<int> Positions(std::initializer_list<std::pair<int, int>> ranges) {
    std::vector<int> positions;
    for (const auto& [first, count] : ranges) {
        for (int i = 0; i < count; ++i) positions.push_back(first + i);
    }
    return positions;
}

/// The scalar that has these bits.
inline half HalfBits(uint16_t bits) {
    half value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

/// What a kernel's vector instructions leave in the trace of an AIV.
template <typename Kernel>
std::vector<twin::TraceRecord> VectorRecords(const Kernel& kernel) {
    twin::Trace trace;
    twin::LaunchConfig config = Config(KernelKind::kAivOnly, {});
    config.trace = &trace;
    twin::Launch(config, kernel);
    std::vector<twin::TraceRecord> records;
    for (const twin::TraceRecord& record : trace.cores.at(0)) {
        if (record.op == twin::TraceOp::kVector) records.push_back(record);
    }
    return records;
}

/// Cast of all values at once, as what a test writes down.
template <typename To, typename From>
std::vector<Raw<To>> CastAll(RoundMode mode, const std::vector<Raw<From>>& values) {
    std::vector<Raw<To>> results;
    OnAiv({}, [&] {
        TPipe pipe;
        const auto dst = Filled<To>(pipe, static_cast<uint32_t>(values.size()), Raw<To>{});
        AscendC::Cast(dst, Load<From>(pipe, values), mode, static_cast<uint32_t>(values.size()));
        results = Read(dst, 0, values.size());
    });
    return results;
}

}  // namespace fixture
