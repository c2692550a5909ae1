#include "queue.h"

#include <algorithm>
#include <string>

#include "core.h"

namespace twin {

namespace {

using State = QueueBuffer::State;

constexpr int kMaxQueued = 4;  ///< maximum depth of a queue (TQueBind简介, template parameters)

CoreQueues& Queues() { return Current().queues; }

bool IsOf(const QueueBuffer* buffer, int queue) {
    return buffer != nullptr && buffer->queue == queue;
}

// Every buffer has an event id of its own. Thus no set overtakes the wait for an earlier set: the
// buffer has to pass from pipe to pipe between the two (TQue简介, TQue Buffer限制).
QueueEvent Take(QueueBuffer& buffer, const char* operation, const QueuePath& path,
                AscendC::HardEvent event, const Site& site) {
    const int index = static_cast<int>(event);
    for (const QueueEvent& held : buffer.held) {
        if (held.event == index) return held;
    }
    auto& taken = Current().event_taken[index];
    // Queues belong to the framework, so they may take ids 6 and 7 too.
    const int first = FirstEventId(index);
    for (int id = first; id < kEventIds; ++id) {
        if (taken[id]) continue;
        taken[id] = true;
        Current().event_site[index][id] = site;
        buffer.held.push_back({index, id});
        return buffer.held.back();
    }
    Fail("event-id", site, "%s is called on a %s queue while all %d event ids of %s are taken",
         operation, path.name, kEventIds - first, EventName(index));
}

void Set(const QueueEvent& event, const Site& site, const MetCall& met) {
    const auto pipes = AscendC::internal::PipesOf(static_cast<AscendC::HardEvent>(event.event));
    IssueSetEvent(event.event, pipes.source, pipes.destination, event.id, site, met.call);
}

/// Waits for the event. If a mutation leaves the call out, the event stays set.
void Wait(QueueEvent& event, const Site& site, const MetCall& met) {
    if (!met.left_out) {
        const auto pipes = AscendC::internal::PipesOf(static_cast<AscendC::HardEvent>(event.event));
        IssueWaitEvent(event.event, pipes.source, pipes.destination, event.id, site, met.call);
    }
    event = QueueEvent{};
}

void ReleaseIds(QueueBuffer& buffer) {
    for (const QueueEvent& held : buffer.held) Current().event_taken[held.event][held.id] = false;
    buffer.held.clear();
}

MetCall MeetOperation(const char* operation, AscendC::HardEvent event, const Site& site) {
    const int index = static_cast<int>(event);
    return Meet(operation, index, site,
                [&] { return std::string(operation) + "<" + EventName(index) + ">"; });
}

int HoldingEvents(AscendC::TPosition position) {
    int count = 0;
    for (const Queue& queue : Queues().queues) {
        if (queue.path.position == position && queue.holds_events)
            count += static_cast<int>(queue.buffers.size());
    }
    return count;
}

int InUse(AscendC::TPosition position) {
    const CoreQueues& all = Queues();
    return static_cast<int>(
        std::count_if(all.buffers.begin(), all.buffers.end(), [&](const QueueBuffer& buffer) {
            return buffer.state != State::kIdle &&
                   all.queues[static_cast<size_t>(buffer.queue)].path.position == position;
        }));
}

/// Returns the queue; fails if it has no buffers of the live TPipe.
Queue& RequireQueue(const char* operation, int number, const QueuePath& path, const Site& site) {
    Queue* queue = Queues().FindQueue(number);
    if (queue == nullptr) {
        Fail("not-initialised", site, "%s is called on a %s queue before InitBuffer", operation,
             path.name);
    }
    if (queue->pipe != Current().live_pipe) {
        Fail("use-after-pipe", site, "%s is called on a %s queue whose TPipe has ended", operation,
             path.name);
    }
    return *queue;
}

/// Returns the buffer of `tensor`. Fails unless AllocTensor of this queue has handed the tensor out
/// and it is neither freed nor in the queue.
QueueBuffer& RequireTensor(const char* operation, const char* foreign_code, const char* freed_code,
                           int queue, const QueuePath& path, const Local& tensor,
                           const Site& site) {
    RequireQueue(operation, queue, path, site);
    if (tensor.buffer != TraceBuffer::kNone) RequireSamePipe(operation, "tensor", tensor, site);
    QueueBuffer* buffer = Queues().Find(tensor);
    if (!IsOf(buffer, queue)) {
        Fail(foreign_code, site,
             "%s gets a tensor at byte %llu of %s, which AllocTensor of this %s queue has not "
             "handed out",
             operation, static_cast<unsigned long long>(tensor.offset), BufferName(tensor.buffer),
             path.name);
    }
    if (buffer->lease != tensor.lease) {
        Fail(freed_code, site,
             "%s gets a tensor that has been freed; its buffer, byte %u of %s, is another tensor's "
             "since %s:%d",
             operation, buffer->memory.begin, BufferName(buffer->memory.buffer), buffer->site.file,
             buffer->site.line);
    }
    if (buffer->state == State::kIdle) {
        Fail(freed_code, site,
             "%s gets a tensor (byte %u of %s) that has been freed by FreeTensor of %s:%d",
             operation, buffer->memory.begin, BufferName(buffer->memory.buffer), buffer->site.file,
             buffer->site.line);
    }
    if (buffer->state == State::kQueued) {
        Fail("queue-order", site, "%s gets a tensor that is in the %s queue; call DeQue first",
             operation, path.name);
    }
    return *buffer;
}

}  // namespace

QueueBuffer* CoreQueues::Find(const Local& tensor) {
    const size_t index = tensor.lease % kMaxBuffers;
    return tensor.lease == 0 || index >= buffers.size() ? nullptr : &buffers[index];
}

Queue* CoreQueues::FindQueue(int number) {
    return number < 0 || static_cast<size_t>(number) >= queues.size()
               ? nullptr
               : &queues[static_cast<size_t>(number)];
}

bool Queue::HasIdle(const std::vector<QueueBuffer>& all) const {
    return std::any_of(buffers.begin(), buffers.end(),
                       [&](size_t index) { return all[index].state == State::kIdle; });
}

const QueueBuffer* CoreQueues::Unfreed() const {
    const auto found = std::find_if(buffers.begin(), buffers.end(), [](const QueueBuffer& buffer) {
        return buffer.state != State::kIdle;
    });
    return found == buffers.end() ? nullptr : &*found;
}

void RequireLive(const char* instruction, const char* operand, const Local& local,
                 const Site& site) {
    // Find returns no null: the tensor is known to be of the live TPipe.
    const QueueBuffer& buffer = *Queues().Find(local);
    if (buffer.lease == local.lease && buffer.state != State::kIdle) return;
    Fail("use-after-free", site,
         "%s: %s (byte %llu of %s) is a tensor that has been freed (%s%s:%d)", instruction, operand,
         static_cast<unsigned long long>(local.offset), BufferName(local.buffer),
         buffer.state == State::kIdle ? "FreeTensor of " : "another tensor has it since ",
         buffer.site.file, buffer.site.line);
}

int InitQueue(int before, const QueuePath& path, int32_t depth, int64_t count, uint32_t bytes,
              Site site) {
    if (const Queue* queue = Queues().FindQueue(before)) {
        RequireUnallocated(queue->pipe, "a queue", site);
    }
    if (depth == 0) {
        Fail("unsupported", site,
             "a %s queue of depth 0: AllocTensor and DeQue in place came after CANN 8.1",
             path.name);
    }
    RequireRange("InitBuffer", "the depth of the queue", depth, 1, kMaxQueued, site);
    RequireRange("InitBuffer", "num", count, 1, kTensorsPerPosition, site);
    const int others = HoldingEvents(path.position);
    if (others + count > kTensorsPerPosition) {
        Fail("capacity", site,
             "InitBuffer of %lld buffers of a %s queue: the queues of this position have %d, of at "
             "most %d (FreeAllEvent gives those of a queue back)",
             static_cast<long long>(count), path.name, others, kTensorsPerPosition);
    }
    CoreQueues& all = Queues();
    const int number = static_cast<int>(all.queues.size());
    Queue queue;
    queue.path = path;
    queue.pipe = Current().live_pipe;
    queue.depth = depth;
    for (int64_t i = 0; i < count; ++i) {
        QueueBuffer buffer;
        buffer.memory = AllocateLocal(AscendC::internal::BufferOf(path.position),
                                      (uint64_t{bytes} + 31) / 32 * 32, site);
        buffer.queue = number;
        queue.buffers.push_back(all.buffers.size());
        all.buffers.push_back(buffer);
    }
    all.queues.push_back(std::move(queue));
    return number;
}

Local AllocateTensor(int number, const QueuePath& path, Site site) {
    CoreQueues& all = Queues();
    Queue& queue = RequireQueue("AllocTensor", number, path, site);
    if (!queue.HasIdle(all.buffers)) {
        Fail("queue-no-buffer", site,
             "AllocTensor is called on a %s queue, none of whose %zu buffers is idle", path.name,
             queue.buffers.size());
    }
    if (InUse(path.position) >= kTensorsPerPosition) {
        Fail("capacity", site,
             "AllocTensor is called on a %s queue, but %d tensors of the queues of this position "
             "are in use, which is the maximum",
             path.name, kTensorsPerPosition);
    }
    while (all.buffers[queue.buffers[queue.next]].state != State::kIdle) {
        queue.next = (queue.next + 1) % queue.buffers.size();
    }
    const size_t index = queue.buffers[queue.next];
    queue.next = (queue.next + 1) % queue.buffers.size();
    QueueBuffer& buffer = all.buffers[index];
    if (buffer.idle.id >= 0) {
        Wait(buffer.idle, site, MeetOperation("AllocTensor", path.idle, site));
    }
    buffer.state = State::kTaken;
    buffer.site = site;
    buffer.lease = ++all.leases * kMaxBuffers + static_cast<uint32_t>(index);
    // "non-inplace接口分配的Tensor内容可能包含随机值"
    ForgetContents(buffer.memory);
    Local tensor = buffer.memory;
    tensor.lease = buffer.lease;
    return tensor;
}

void FreeTensor(int number, const QueuePath& path, const Local& tensor, Site site) {
    QueueBuffer& buffer = RequireTensor("FreeTensor", "free-without-alloc", "double-free", number,
                                        path, tensor, site);
    const MetCall met = MeetOperation("FreeTensor", path.idle, site);
    if (met.left_out) return;
    buffer.idle = Take(buffer, "FreeTensor", path, path.idle, site);
    Set(buffer.idle, site, met);
    buffer.state = State::kIdle;
    buffer.site = site;
}

void EnQueue(int number, const QueuePath& path, AscendC::HardEvent ready, const Local& tensor,
             Site site) {
    QueueBuffer& buffer = RequireTensor("EnQue", "queue-foreign-tensor", "use-after-free", number,
                                        path, tensor, site);
    CoreQueues& all = Queues();
    Queue& queue = all.queues[static_cast<size_t>(number)];
    if (queue.queued.size() >= static_cast<size_t>(queue.depth)) {
        Fail("queue-full", site,
             "EnQue is called on a %s queue of depth %d that already holds %zu tensors", path.name,
             queue.depth, queue.queued.size());
    }
    const MetCall met = MeetOperation("EnQue", ready, site);
    if (met.left_out) return;
    buffer.ready = Take(buffer, "EnQue", path, ready, site);
    Set(buffer.ready, site, met);
    buffer.state = State::kQueued;
    queue.queued.push_back(static_cast<size_t>(&buffer - all.buffers.data()));
}

Local DeQueue(int number, const QueuePath& path, AscendC::HardEvent ready, Site site) {
    CoreQueues& all = Queues();
    Queue& queue = RequireQueue("DeQue", number, path, site);
    if (queue.queued.empty())
        Fail("queue-empty", site, "DeQue is called on an empty %s queue", path.name);
    QueueBuffer& buffer = all.buffers[queue.queued.front()];
    if (buffer.ready.event != static_cast<int>(ready)) {
        Fail("queue-order", site,
             "DeQue waits for %s, but the tensor was put into the %s queue with %s",
             EventName(static_cast<int>(ready)), path.name, EventName(buffer.ready.event));
    }
    queue.queued.pop_front();
    buffer.state = State::kTaken;
    Wait(buffer.ready, site, MeetOperation("DeQue", ready, site));
    Local tensor = buffer.memory;
    tensor.lease = buffer.lease;
    return tensor;
}

void FreeQueueEvents(int number, const QueuePath& path, Site site) {
    CoreQueues& all = Queues();
    Queue& queue = RequireQueue("FreeAllEvent", number, path, site);
    queue.holds_events = false;
    for (const size_t index : queue.buffers) {
        QueueBuffer& buffer = all.buffers[index];
        if (buffer.state != State::kIdle) continue;  // its events are in use
        if (buffer.idle.id >= 0)
            Wait(buffer.idle, site, MeetOperation("FreeAllEvent", path.idle, site));
        ReleaseIds(buffer);
    }
}

int32_t QueuedTensors(int number, const QueuePath& path, const char* call, Site site) {
    return static_cast<int32_t>(RequireQueue(call, number, path, site).queued.size());
}

bool HasIdleBuffer(int number, const QueuePath& path, Site site) {
    return RequireQueue("HasIdleBuffer", number, path, site).HasIdle(Queues().buffers);
}

void RequireTensorsFreed(const CoreQueues& queues) {
    const QueueBuffer* unfreed = queues.Unfreed();
    const Site site =
        queues.never_freed.line != 0 || unfreed == nullptr ? queues.never_freed : unfreed->site;
    if (site.line == 0) return;
    Fail("tensor-not-freed", site, "the tensor that AllocTensor hands out here is never freed");
}

// A destructor runs this, so nothing here may fail. Tensors and events that the kernel has left
// unpaired are reported when it ends.
void EndQueues() {
    Core& core = Current();
    CoreQueues& all = core.queues;
    const QueueBuffer* unfreed = all.Unfreed();
    if (unfreed != nullptr && all.never_freed.line == 0) all.never_freed = unfreed->site;
    for (QueueBuffer& buffer : all.buffers) {
        if (buffer.idle.id >= 0) {
            MetCall met;
            met.left_out = !core.event_set[buffer.idle.event][buffer.idle.id];
            Wait(buffer.idle, Site{"~TPipe", 0}, met);
        }
        ReleaseIds(buffer);
    }
    all.buffers.clear();
    // Queues keep their numbers, because queue objects of the kernel may outlive the TPipe.
    for (Queue& queue : all.queues) {
        queue.buffers.clear();
        queue.queued.clear();
    }
}

}  // namespace twin
