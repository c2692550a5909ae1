// Event ids of a kernel, allocated from its TPipe once and kept until the kernel ends.
#pragma once

#include "kernel_operator.h"
#include "kernels/call_site.h"

namespace kernels {

// Tells the pipe that fills the slots of a ring buffer which slots another pipe has drained.
template <AscendC::HardEvent kFree, uint32_t kSlots>
class FreeSlots {
public:
    // All slots start free.
    __aicore__ inline void Open(AscendC::TPipe* pipe AND_CALL_SITE_PARAMETER) {
        for (uint32_t i = 0; i < kSlots; ++i) {
            free_[i] = pipe->AllocEventID<kFree>(CALL_SITE);
            AscendC::SetFlag<kFree>(free_[i] AND_CALL_SITE);
        }
    }
    __aicore__ inline void WaitFree(uint32_t slot AND_CALL_SITE_PARAMETER) {
        AscendC::WaitFlag<kFree>(free_[slot] AND_CALL_SITE);
    }
    __aicore__ inline void SetFree(uint32_t slot AND_CALL_SITE_PARAMETER) {
        AscendC::SetFlag<kFree>(free_[slot] AND_CALL_SITE);
    }
    // Every SetFlag needs its WaitFlag before the kernel ends.
    __aicore__ inline void Close(AscendC::TPipe* pipe AND_CALL_SITE_PARAMETER) {
        for (uint32_t i = 0; i < kSlots; ++i) {
            AscendC::WaitFlag<kFree>(free_[i] AND_CALL_SITE);
            pipe->ReleaseEventID<kFree>(free_[i] AND_CALL_SITE);
        }
    }

private:
    AscendC::TEventID free_[kSlots];
};

// Orders two pipes over the slots of a ring buffer: one pipe fills a slot, the other drains it.
// kFull and kFree are opposite events between the same two pipes.
template <AscendC::HardEvent kFull, AscendC::HardEvent kFree, uint32_t kSlots>
class RingEvents {
public:
    __aicore__ inline void Open(AscendC::TPipe* pipe AND_CALL_SITE_PARAMETER) {
        free_.Open(pipe AND_CALL_SITE);
        for (uint32_t i = 0; i < kSlots; ++i) full_[i] = pipe->AllocEventID<kFull>(CALL_SITE);
    }
    __aicore__ inline void WaitFree(uint32_t slot AND_CALL_SITE_PARAMETER) {
        free_.WaitFree(slot AND_CALL_SITE);
    }
    __aicore__ inline void SetFull(uint32_t slot AND_CALL_SITE_PARAMETER) {
        AscendC::SetFlag<kFull>(full_[slot] AND_CALL_SITE);
    }
    __aicore__ inline void WaitFull(uint32_t slot AND_CALL_SITE_PARAMETER) {
        AscendC::WaitFlag<kFull>(full_[slot] AND_CALL_SITE);
    }
    __aicore__ inline void SetFree(uint32_t slot AND_CALL_SITE_PARAMETER) {
        free_.SetFree(slot AND_CALL_SITE);
    }
    __aicore__ inline void Close(AscendC::TPipe* pipe AND_CALL_SITE_PARAMETER) {
        free_.Close(pipe AND_CALL_SITE);
        for (uint32_t i = 0; i < kSlots; ++i) pipe->ReleaseEventID<kFull>(full_[i] AND_CALL_SITE);
    }

private:
    FreeSlots<kFree, kSlots> free_;
    AscendC::TEventID full_[kSlots];
};

// Holds the second pipe of kEvent until the first one has finished everything issued to it so far.
//
// The id is fetched, not allocated, so all HandOvers of one event share an id. Setting the flag
// again before the second pipe has reached its wait is undefined (FetchEventID,
// SetFlag-WaitFlag(ISASI)): between two HandOvers of one event there has to be one in the opposite
// direction, or one pipe must have waited for all others.
template <AscendC::HardEvent kEvent>
__aicore__ inline void HandOver(AscendC::TPipe* pipe AND_CALL_SITE_PARAMETER) {
    const AscendC::TEventID id = pipe->FetchEventID<kEvent>(CALL_SITE);
    AscendC::SetFlag<kEvent>(id AND_CALL_SITE);
    AscendC::WaitFlag<kEvent>(id AND_CALL_SITE);
}

}  // namespace kernels
