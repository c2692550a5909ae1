// Checks that the machine's instructions share. Private to them.
#pragma once

#include <cstdint>

#include "plan_walk/state.h"
#include "twin/detail.h"

namespace walk {

constexpr uint32_t kBlock = 32;
constexpr uint32_t kFractal = 512;
constexpr uint32_t kRepeat = 256;  ///< bytes of an iteration of the vector unit

Machine& Running();
/// The running core, at an instruction of `site`.
Machine::State& At(const twin::Site& site);

inline uint32_t Bytes(twin::DType type) {
    constexpr uint8_t kBytes[] = {1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8};
    return kBytes[static_cast<int>(type)];
}

inline int64_t CeilDiv(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

void RequireRange(const char* instruction, const char* field, int64_t value, int64_t least,
                  int64_t most);
void RequireAligned(const char* instruction, const char* operand, const twin::Local& local,
                    uint32_t alignment);
/// The operand is in `buffer`, and [first, last) from its start in its allocation.
void RequireLocal(const char* instruction, const char* operand, const twin::Local& local,
                  twin::TraceBuffer buffer, uint32_t alignment, int64_t first, int64_t last);
void RequireCore(const char* instruction, const Machine::State& core, bool aic);

}  // namespace walk
