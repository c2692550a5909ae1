// Synchronisation between the pipes of a core and between cores.
// Pages: 同步控制/核内同步/{SetFlag-WaitFlag(ISASI), PipeBarrier(ISASI)},
//        同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI), SyncAll}.
#pragma once

#include "ascendc/types.h"

namespace AscendC {

template <HardEvent event>
void SetFlag(int32_t event_id, twin::Site site = twin::Site::Here()) {
    constexpr internal::EventPipes pipes = internal::PipesOf(event);
    twin::SetEvent(static_cast<int>(event), pipes.source, pipes.destination, event_id, site);
}

template <HardEvent event>
void WaitFlag(int32_t event_id, twin::Site site = twin::Site::Here()) {
    constexpr internal::EventPipes pipes = internal::PipesOf(event);
    twin::WaitEvent(static_cast<int>(event), pipes.source, pipes.destination, event_id, site);
}

template <pipe_t pipe>
void PipeBarrier(twin::Site site = twin::Site::Here()) {
    static_assert(pipe != PIPE_S,
                  "PipeBarrier does not take PIPE_S: the hardware orders the scalar pipe");
    twin::Barrier(internal::PipeOf(pipe), site);
}

/// Modes 0 (all cores of this type), 1 (the AIVs of a group) and 2 (AIC with its AIVs).
template <uint8_t mode, pipe_t pipe>
void CrossCoreSetFlag(uint16_t flag_id, twin::Site site = twin::Site::Here()) {
    static_assert(mode <= 2, "this architecture has cross-core modes 0, 1 and 2");
    static_assert(pipe != PIPE_S && pipe != PIPE_ALL,
                  "CrossCoreSetFlag takes neither PIPE_S nor PIPE_ALL");
    twin::CrossSet(mode, internal::PipeOf(pipe), flag_id, site);
}

/// Mode and pipe have no effect on this architecture: the wait holds every later instruction of the
/// core.
template <uint8_t mode = 0, pipe_t pipe = PIPE_S>
void CrossCoreWaitFlag(uint16_t flag_id, twin::Site site = twin::Site::Here()) {
    twin::CrossWait(flag_id, site);
}

/// Holds every AIV (every core if `isAIVOnly` is false) until all of them have reached the call and
/// their MTE3 (on an AIC: FIX) has completed its earlier work. Uses flag ids 11 to 14. Needs
/// KERNEL_TYPE_MIX_AIV_1_0 or KERNEL_TYPE_MIX_AIC_1_2; with false only the latter. Only the form
/// without workspace exists here.
template <bool isAIVOnly = true>
void SyncAll(twin::Site site = twin::Site::Here()) {
    twin::SyncAll(isAIVOnly, site);
}

}  // namespace AscendC
