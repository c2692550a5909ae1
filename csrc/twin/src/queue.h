// The queues of a core. Private to the twin.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "ascendc/queue.h"
#include "twin/detail.h"

namespace twin {

/// Maximum over all queues of a position together (AllocTensor, constraints).
constexpr int kTensorsPerPosition = 8;

/// An event between two pipes and its id; -1 if there is none.
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
    uint32_t lease = 0;            ///< lease of the last tensor in it
    QueueEvent ready;              ///< set by EnQue, waited for by DeQue
    QueueEvent idle;               ///< set by FreeTensor, waited for by AllocTensor
    std::vector<QueueEvent> held;  ///< the event ids that it keeps until FreeAllEvent
    Site site{"", 0};              ///< site of AllocTensor; of FreeTensor once it is idle
};

/// A queue that InitBuffer has given buffers. Buffers are indices into CoreQueues::buffers.
struct Queue {
    QueuePath path{};
    uint16_t pipe = 0;  ///< Local::pipe of its buffers
    int32_t depth = 0;
    std::vector<size_t> buffers;
    size_t next = 0;            ///< index into `buffers` of the one to hand out next
    std::deque<size_t> queued;  ///< buffers between EnQue and DeQue, oldest first
    bool holds_events = true;   ///< FreeAllEvent has not been called

    /// Whether one of its buffers is idle; `all` is CoreQueues::buffers.
    bool HasIdle(const std::vector<QueueBuffer>& all) const;
};

/// All queues of a core. A tensor carries a lease, which identifies its buffer. Every AllocTensor
/// gives a new lease, so the lease also tells whether the buffer still belongs to this tensor.
struct CoreQueues {
    std::vector<Queue> queues;
    std::vector<QueueBuffer> buffers;  ///< buffers of the live TPipe
    uint32_t leases = 0;
    Site never_freed{"", 0};  ///< AllocTensor of a tensor that was not free when its TPipe ended

    /// The buffer that the tensor was leased from; null if it is of no queue or its buffer is gone.
    QueueBuffer* Find(const Local& tensor);
    /// Null for a number that InitQueue has not returned on this core.
    Queue* FindQueue(int number);
    /// A buffer that has not been freed, or null.
    const QueueBuffer* Unfreed() const;
};

/// Called at the end of a kernel: fails if a tensor was never freed.
void RequireTensorsFreed(const CoreQueues& queues);
/// Called at the end of a TPipe: waits for the events that FreeTensor has set, and drops the
/// buffers.
void EndQueues();

}  // namespace twin
