#include "plan/l2_room.h"

namespace plan {

uint64_t UsableL2Bytes(const arch::Chip& chip) {
    const double share = chip.architecture->usable_l2.value;
    return static_cast<uint64_t>(share * (uint64_t{chip.l2_mib} << 20));
}

uint64_t L2Room(const arch::Chip& chip, uint64_t in_flight_bytes,
                std::optional<uint64_t> passing_bytes) {
    if (!passing_bytes) return 0;
    const uint64_t usable = UsableL2Bytes(chip);
    const uint64_t room = usable > *passing_bytes ? usable - *passing_bytes : 0;
    return room > in_flight_bytes ? room - in_flight_bytes : 0;
}

}  // namespace plan
