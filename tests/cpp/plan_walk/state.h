// What a core of the machine keeps while it runs. Private to the machine and its instructions.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ascendc/types.h"
#include "plan_walk/machine.h"

namespace walk {

constexpr int kEvents = static_cast<int>(AscendC::HardEvent::MAX);
/// Of eight, 6 and 7 belong to the framework (SetFlag-WaitFlag(ISASI), constraints).
constexpr int kUserEventIds = 6;
constexpr int kBuffers = 8;

struct Machine::State {
    CoreId core{};
    twin::Site site{"", 0};
    uint64_t instructions = 0;
    std::array<uint32_t, kBuffers> allocated{};  ///< bytes, by twin::TraceBuffer
    uint32_t buffers = 0;
    const void* pipe = nullptr;
    std::array<std::array<bool, kUserEventIds>, kEvents> taken{};
    std::array<std::array<bool, kUserEventIds>, kEvents> set{};
    std::vector<FlagCall> flags;
    uint64_t first_slot = 0;  ///< of the slots that are in UB
    int64_t scalar = 0;       ///< what a scalar read gives

    void Start(const CoreId& started) {
        core = started;
        site = {"", 0};
        instructions = 0;
        allocated.fill(0);
        buffers = 0;
        pipe = nullptr;
        for (auto& ids : taken) ids.fill(false);
        for (auto& ids : set) ids.fill(false);
        flags.clear();
    }
    /// Every event has been waited for and given back.
    void RequireOver() const {
        for (int event = 0; event < kEvents; ++event) {
            for (int id = 0; id < kUserEventIds; ++id) {
                if (set[event][id])
                    Fail("unpaired-event", "event %d of kind %d is set and never waited for", id,
                         event);
                if (taken[event][id])
                    Fail("event-id", "event %d of kind %d is taken and never released", id, event);
            }
        }
    }
};

/// Whose instructions these are.
void SetRunning(Machine* machine);

}  // namespace walk
