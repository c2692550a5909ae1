// TQueBind and TQue (资源管理/{TQueBind, TQue}).
//
// EnQue sets an event on the pipe that fills the buffer, and DeQue waits for it on the pipe that
// uses the buffer. FreeTensor sets an event on the pipe that has used the buffer, and the next
// AllocTensor of that buffer waits for it on the pipe that fills it (guide,
// TPipe-TQue框架编程原理). A buffer keeps one id of each of the two events from its first use on;
// FreeAllEvent gives back the ids of idle buffers.
#pragma once

#include "ascendc/tensor.h"

namespace twin {

/// The pipes that a queue connects.
struct QueuePath {
    const char* name;
    AscendC::TPosition position;  ///< where its buffers are
    AscendC::HardEvent ready;     ///< from the pipe that fills a buffer to the one that uses it
    AscendC::HardEvent idle;      ///< from the pipe that uses a buffer to the one that fills it
};

/// Gives a queue its buffers, and returns the number that identifies it in the calls below. A queue
/// without InitBuffer has number -1; `before` is the number that it had.
int InitQueue(int before, const QueuePath& path, int32_t depth, int64_t count, uint32_t bytes,
              Site site);
Local AllocateTensor(int queue, const QueuePath& path, Site site);
void FreeTensor(int queue, const QueuePath& path, const Local& tensor, Site site);
void EnQueue(int queue, const QueuePath& path, AscendC::HardEvent ready, const Local& tensor,
             Site site);
Local DeQueue(int queue, const QueuePath& path, AscendC::HardEvent ready, Site site);
/// Waits for the events of all idle buffers and gives their ids back.
void FreeQueueEvents(int queue, const QueuePath& path, Site site);
int32_t QueuedTensors(int queue, const QueuePath& path, const char* call, Site site);
bool HasIdleBuffer(int queue, const QueuePath& path, Site site);

}  // namespace twin

namespace AscendC {

namespace internal {

/// Whether the path is in the table of TQueBind and exists between buffers of an Atlas A2/A3 core.
constexpr bool HasQueuePath(TPosition source, TPosition destination) {
    using P = TPosition;
    if (source == P::GM) {
        return destination == P::VECIN || destination == P::A1 || destination == P::B1 ||
               destination == P::C1;
    }
    return (source == P::VECOUT && destination == P::GM) ||
           (source == P::VECIN && destination == P::VECOUT) ||
           (source == P::A1 && destination == P::A2) || (source == P::B1 && destination == P::B2) ||
           (source == P::CO1 && destination == P::CO2);
}

constexpr twin::QueuePath QueuePathOf(TPosition source, TPosition destination) {
    switch (source == TPosition::GM ? destination : source) {
        case TPosition::VECIN:
            return source == TPosition::GM
                       ? twin::QueuePath{"VECIN", destination, HardEvent::MTE2_V, HardEvent::V_MTE2}
                       : twin::QueuePath{"VECIN, VECOUT", source, HardEvent::MTE2_MTE3,
                                         HardEvent::MTE3_MTE2};
        case TPosition::VECOUT:
            return {"VECOUT", source, HardEvent::V_MTE3, HardEvent::MTE3_V};
        case TPosition::CO1:
            return {"CO1", source, HardEvent::M_FIX, HardEvent::FIX_M};
        case TPosition::A1:
            if (source == TPosition::A1)
                return {"A2", destination, HardEvent::MTE1_M, HardEvent::M_MTE1};
            return {"A1", destination, HardEvent::MTE2_MTE1, HardEvent::MTE1_MTE2};
        case TPosition::B1:
            if (source == TPosition::B1)
                return {"B2", destination, HardEvent::MTE1_M, HardEvent::M_MTE1};
            return {"B1", destination, HardEvent::MTE2_MTE1, HardEvent::MTE1_MTE2};
        default:
            return {"C1", destination, HardEvent::MTE2_MTE1, HardEvent::MTE1_MTE2};
    }
}

/// The two ends of TQue<position> (TQueBind简介, table 1).
constexpr TPosition QueueSource(TPosition position) {
    switch (position) {
        case TPosition::A2:
            return TPosition::A1;
        case TPosition::B2:
            return TPosition::B1;
        case TPosition::C2:
            return TPosition::C1;
        case TPosition::VECOUT:
        case TPosition::CO1:
        case TPosition::CO2:
            return position;
        default:
            return TPosition::GM;
    }
}
constexpr TPosition QueueDestination(TPosition position) {
    switch (position) {
        case TPosition::CO1:
            return TPosition::CO2;
        case TPosition::VECOUT:
        case TPosition::CO2:
            return TPosition::GM;
        default:
            return position;
    }
}

}  // namespace internal

/// Buffers that pass from the pipe that fills them to the pipe that uses them, and back. DeQue
/// returns tensors in the order of EnQue. Depth 0 (AllocTensor and DeQue in place) was added after
/// CANN 8.1 and is not supported.
template <TPosition source, TPosition destination, int32_t depth, auto mask = 0>
class TQueBind {
public:
    template <typename T>
    LocalTensor<T> AllocTensor(twin::Site site = twin::Site::Here()) {
        return LocalTensor<T>(twin::AllocateTensor(queue_, kPath, site));
    }
    template <typename T>
    void FreeTensor(LocalTensor<T>& tensor, twin::Site site = twin::Site::Here()) {
        twin::FreeTensor(queue_, kPath, tensor.local(), site);
    }

    template <typename T>
    bool EnQue(const LocalTensor<T>& tensor, twin::Site site = twin::Site::Here()) {
        twin::EnQueue(queue_, kPath, kPath.ready, tensor.local(), site);
        return true;
    }
    template <typename T>
    LocalTensor<T> DeQue(twin::Site site = twin::Site::Here()) {
        return LocalTensor<T>(twin::DeQueue(queue_, kPath, kPath.ready, site));
    }
    /// EnQue and DeQue of a buffer that holds both the input and the output of a computation:
    /// <GM, VECIN> before the computation, <VECOUT, GM> after it.
    template <TPosition from, TPosition to, typename T>
    bool EnQue(const LocalTensor<T>& tensor, twin::Site site = twin::Site::Here()) {
        twin::EnQueue(queue_, kPath, ReadyOf<from, to>(), tensor.local(), site);
        return true;
    }
    template <TPosition from, TPosition to, typename T>
    LocalTensor<T> DeQue(twin::Site site = twin::Site::Here()) {
        return LocalTensor<T>(twin::DeQueue(queue_, kPath, ReadyOf<from, to>(), site));
    }

    bool VacantInQue(twin::Site site = twin::Site::Here()) {
        return twin::QueuedTensors(queue_, kPath, "VacantInQue", site) < depth;
    }
    bool HasTensorInQue(twin::Site site = twin::Site::Here()) {
        return twin::QueuedTensors(queue_, kPath, "HasTensorInQue", site) > 0;
    }
    int32_t GetTensorCountInQue(twin::Site site = twin::Site::Here()) {
        return twin::QueuedTensors(queue_, kPath, "GetTensorCountInQue", site);
    }
    bool HasIdleBuffer(twin::Site site = twin::Site::Here()) {
        return twin::HasIdleBuffer(queue_, kPath, site);
    }
    void FreeAllEvent(twin::Site site = twin::Site::Here()) {
        twin::FreeQueueEvents(queue_, kPath, site);
    }

private:
    friend class TPipe;
    static_assert(internal::HasQueuePath(source, destination),
                  "no queue of Atlas A2/A3 connects these positions");
    static_assert(mask == 0, "queues that convert formats exist on other architectures only");
    static constexpr twin::QueuePath kPath = internal::QueuePathOf(source, destination);

    template <TPosition from, TPosition to>
    static constexpr HardEvent ReadyOf() {
        static_assert(source == TPosition::VECIN && destination == TPosition::VECOUT,
                      "EnQue and DeQue name positions on TQueBind<VECIN, VECOUT> only");
        static_assert((from == TPosition::GM && to == TPosition::VECIN) ||
                          (from == TPosition::VECOUT && to == TPosition::GM),
                      "EnQue and DeQue: GM to VECIN, or VECOUT to GM");
        return internal::QueuePathOf(from, to).ready;
    }

    int queue_ = -1;
};

template <TPosition position, int32_t depth, auto mask = 0>
class TQue : public TQueBind<internal::QueueSource(position), internal::QueueDestination(position),
                             depth, mask> {};

}  // namespace AscendC
