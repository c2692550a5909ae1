// Atomic transfers to GM, which add to the bytes there, or take the maximum or minimum with them.
// Pages: 原子操作/{SetAtomicAdd, SetAtomicMax(ISASI), SetAtomicMin(ISASI), DisableDmaAtomic,
//        关键特性说明}; CANN 8.1 has SetAtomicNone, which newer toolkits keep next to
//        DisableDmaAtomic.
//
// Each call applies to the later transfers of the core from UB or L0C to GM, until the next such
// call or SetAtomicNone. It needs no synchronisation with them
// (同步控制/核内同步/关键特性说明). A forgotten SetAtomicNone is no error: later transfers keep on
// updating.
#pragma once

#include <type_traits>

#include "ascendc/types.h"

namespace AscendC {

namespace internal {

template <typename T>
constexpr bool kHasAtomics =
    std::is_same_v<T, int8_t> || std::is_same_v<T, int16_t> || std::is_same_v<T, half> ||
    std::is_same_v<T, bfloat16_t> || std::is_same_v<T, int32_t> || std::is_same_v<T, float>;

template <typename T>
void SetAtomic(twin::AtomicKind kind, twin::Site site) {
    static_assert(kHasAtomics<T>,
                  "atomics take int8_t, int16_t, half, bfloat16_t, int32_t and float");
    twin::SetAtomic(kind, kDType<T>, site);
}

}  // namespace internal

template <typename T>
void SetAtomicAdd(twin::Site site = twin::Site::Here()) {
    internal::SetAtomic<T>(twin::AtomicKind::kAdd, site);
}

template <typename T>
void SetAtomicMax(twin::Site site = twin::Site::Here()) {
    internal::SetAtomic<T>(twin::AtomicKind::kMax, site);
}

template <typename T>
void SetAtomicMin(twin::Site site = twin::Site::Here()) {
    internal::SetAtomic<T>(twin::AtomicKind::kMin, site);
}

inline void SetAtomicNone(twin::Site site = twin::Site::Here()) {
    twin::SetAtomic(twin::AtomicKind::kNone, twin::DType::kF32, site);
}

}  // namespace AscendC
