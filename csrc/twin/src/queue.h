// The queues of a core. Private to the twin.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "ascendc/queue.h"
#include "twin/detail.h"

namespace twin {

constexpr int kTensorsPerPosition = 8;  ///< of all queues of a position (AllocTensor, constraints)

struct QueueEvent {
    int event = -1;
    int id = -1;
};

/// A buffer of a queue and the tensor in it.
struct QueueBuffer {
    enum class State : uint8_t { kIdle, kTaken, kQueued };

    Local memory;
    int queue = -1;
    State state = State::kIdle;
    uint32_t lease = 0;            ///< of the last tensor
    QueueEvent ready;              ///< set while kQueued
    QueueEvent idle;               ///< set from FreeTensor to AllocTensor
    std::vector<QueueEvent> held;  ///< its ids, until FreeAllEvent
    Site site{"", 0};              ///< of AllocTensor; of FreeTensor once it is idle
};

struct Queue {
    QueuePath path{};
    uint16_t pipe = 0;  ///< Local::pipe of its buffers
    int32_t depth = 0;
    std::vector<size_t> buffers;
    size_t next = 0;            ///< of `buffers`, to be handed out
    std::deque<size_t> queued;  ///< buffers, oldest first
    bool holds_events = true;   ///< no FreeAllEvent yet

    bool HasIdle(const std::vector<QueueBuffer>& all) const;
};

/// All queues of a core. A tensor carries a lease, which tells the buffer and, since every
/// AllocTensor gives a new one, whether the buffer is still this tensor's.
struct CoreQueues {
    std::vector<Queue> queues;
    std::vector<QueueBuffer> buffers;  ///< of the live TPipe
    uint32_t leases = 0;
    Site never_freed{"", 0};  ///< AllocTensor of a tensor that was not free when its TPipe ended

    /// Null where no buffer of the live TPipe had that lease.
    QueueBuffer* Find(const Local& tensor);
    /// Null for a number that InitQueue has not given out on this core.
    Queue* FindQueue(int number);
    /// A buffer that has not been freed, or null.
    const QueueBuffer* Unfreed() const;
};

/// For the end of a kernel.
void RequireTensorsFreed(const CoreQueues& queues);
/// Waits for what FreeTensor has set; the buffers go with their TPipe.
void EndQueues();

}  // namespace twin
