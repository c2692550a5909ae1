// Event ids of a kernel, taken from its TPipe once and kept.
#pragma once

#include "kernel_operator.h"

namespace kernels {

// Order between two pipes for the slots of a ring: a slot is filled by one pipe and drained by
// another. kFull and kFree are opposite events between the same two pipes.
template <AscendC::HardEvent kFull, AscendC::HardEvent kFree, uint32_t kMaxSlots>
class RingEvents {
public:
    // All slots start free.
    __aicore__ inline void Open(AscendC::TPipe* pipe, uint32_t slots) {
        slots_ = slots;
        for (uint32_t i = 0; i < slots_; ++i) {
            full_[i] = pipe->AllocEventID<kFull>();
            free_[i] = pipe->AllocEventID<kFree>();
            AscendC::SetFlag<kFree>(free_[i]);
        }
    }
    __aicore__ inline void WaitFree(uint32_t slot) { AscendC::WaitFlag<kFree>(free_[slot]); }
    __aicore__ inline void SetFull(uint32_t slot) { AscendC::SetFlag<kFull>(full_[slot]); }
    __aicore__ inline void WaitFull(uint32_t slot) { AscendC::WaitFlag<kFull>(full_[slot]); }
    __aicore__ inline void SetFree(uint32_t slot) { AscendC::SetFlag<kFree>(free_[slot]); }
    // Every set needs its wait before the kernel ends.
    __aicore__ inline void Close(AscendC::TPipe* pipe) {
        for (uint32_t i = 0; i < slots_; ++i) {
            AscendC::WaitFlag<kFree>(free_[i]);
            pipe->ReleaseEventID<kFull>(full_[i]);
            pipe->ReleaseEventID<kFree>(free_[i]);
        }
    }

private:
    uint32_t slots_;
    AscendC::TEventID full_[kMaxSlots];
    AscendC::TEventID free_[kMaxSlots];
};

// Holds the second pipe until the first one is done with all it was given.
//
// The id is fetched, not taken, so every HandOver of one event uses the same one. Setting it again
// before the second pipe has got as far as its wait is undefined (FetchEventID,
// SetFlag-WaitFlag(ISASI)): between two HandOvers of one event there has to be one in the opposite
// direction, or one pipe must have waited for all others.
template <AscendC::HardEvent kEvent>
__aicore__ inline void HandOver(AscendC::TPipe* pipe) {
    const AscendC::TEventID id = pipe->FetchEventID<kEvent>();
    AscendC::SetFlag<kEvent>(id);
    AscendC::WaitFlag<kEvent>(id);
}

}  // namespace kernels
