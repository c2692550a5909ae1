// Rule 1 of the planner: what is in flight, together with what passes through L2 before its use,
// fits the usable share of L2.
#pragma once

#include <cstdint>
#include <optional>

#include "arch/chip.h"

namespace plan {

/// How many bytes can be prefetched before a prefetch evicts earlier ones.
uint64_t UsableL2Bytes(const arch::Chip& chip);

/// How many more bytes may be fetched beside `in_flight_bytes` that wait in L2 for their use, where
/// `passing_bytes` pass through L2 before these bytes are used. If it is unknown what passes, it
/// counts as all of L2: there is no room.
uint64_t L2Room(const arch::Chip& chip, uint64_t in_flight_bytes,
                std::optional<uint64_t> passing_bytes);

}  // namespace plan
