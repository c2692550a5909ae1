// Atomic transfers to GM, which update the bytes there.
#include <algorithm>
#include <cstring>

#include "convert.h"
#include "core.h"

namespace twin {

namespace {

template <typename T>
T Element(const uint8_t* from, size_t index) {
    T value;
    std::memcpy(&value, from + index * sizeof(T), sizeof(T));
    return value;
}

/// `combine(there, added)` is the new value of each element.
template <typename T, typename Combine>
void Update(uint8_t* gm, const uint8_t* from, uint64_t bytes, const Combine& combine) {
    for (uint64_t i = 0; i < bytes / sizeof(T); ++i) {
        const T result = combine(Element<T>(gm, i), Element<T>(from, i));
        std::memcpy(gm + i * sizeof(T), &result, sizeof(T));
    }
}

// No page says whether a sum beyond the range of the type wraps or saturates, so it is an error.
template <typename T>
void UpdateIntegers(uint8_t* gm, const uint8_t* from, uint64_t bytes, const Atomic& atomic,
                    const Site& site) {
    Update<T>(gm, from, bytes, [&](T there, T added) {
        if (atomic.kind == AtomicKind::kMax) return std::max(there, added);
        if (atomic.kind == AtomicKind::kMin) return std::min(there, added);
        const int64_t sum = int64_t{there} + added;
        if (sum != static_cast<T>(sum)) {
            Fail("integer-overflow", site, "SetAtomicAdd<%s>: %lld + %lld is beyond the type",
                 DTypeName(atomic.type), static_cast<long long>(there),
                 static_cast<long long>(added));
        }
        return static_cast<T>(sum);
    });
}

float Combine(AtomicKind kind, float there, float added) {
    if (kind == AtomicKind::kAdd) return there + added;
    return kind == AtomicKind::kMax ? std::max(there, added) : std::min(there, added);
}

}  // namespace

void SetAtomic(AtomicKind kind, DType type, Site) { Current().atomic = {kind, type}; }

void RequireAtomicType(const char* instruction, DType type, const Site& site) {
    const Atomic& atomic = Current().atomic;
    if (atomic.kind == AtomicKind::kNone || atomic.type == type) return;
    Fail("parameter-range", site, "%s: stores %s while atomic updates are set to %s", instruction,
         DTypeName(type), DTypeName(atomic.type));
}

// half and bfloat16 are added in fp32, which has enough bits that the sum is rounded as if once: to
// nearest, ties to even. How the hardware rounds is not documented.
void UpdateInGm(const Atomic& atomic, uint8_t* gm, const uint8_t* from, uint64_t bytes,
                const Site& site) {
    switch (atomic.type) {
        case DType::kI8:
            return UpdateIntegers<int8_t>(gm, from, bytes, atomic, site);
        case DType::kI16:
            return UpdateIntegers<int16_t>(gm, from, bytes, atomic, site);
        case DType::kI32:
            return UpdateIntegers<int32_t>(gm, from, bytes, atomic, site);
        case DType::kF16:
            return Update<uint16_t>(gm, from, bytes, [&](uint16_t there, uint16_t added) {
                return FloatToHalf(Combine(atomic.kind, HalfToFloat(there), HalfToFloat(added)));
            });
        case DType::kBF16:
            return Update<uint16_t>(gm, from, bytes, [&](uint16_t there, uint16_t added) {
                return FloatToBf16(Combine(atomic.kind, Bf16ToFloat(there), Bf16ToFloat(added)));
            });
        default:
            return Update<float>(gm, from, bytes, [&](float there, float added) {
                return Combine(atomic.kind, there, added);
            });
    }
}

}  // namespace twin
