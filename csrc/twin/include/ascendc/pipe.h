// TPipe and TBuf (资源管理/TPipe, 资源管理/TBuf); for queues see queue.h.
#pragma once

#include "ascendc/queue.h"
#include "ascendc/tensor.h"

namespace AscendC {

template <TPosition position = TPosition::VECCALC>
class TBuf {
public:
    template <typename T>
    LocalTensor<T> Get() {
        return LocalTensor<T>(local_);
    }
    template <typename T>
    LocalTensor<T> Get(uint32_t length, twin::Site site = twin::Site::Here()) {
        return GetWithOffset<T>(length, 0, site);
    }
    /// `byte_offset` is a multiple of 32; the part lies inside the buffer.
    template <typename T>
    LocalTensor<T> GetWithOffset(uint32_t size, uint32_t byte_offset,
                                 twin::Site site = twin::Site::Here()) {
        return LocalTensor<T>(twin::PartOf(local_, byte_offset, uint64_t{size} * sizeof(T), site));
    }

private:
    friend class TPipe;
    twin::Local local_;
};

/// Hands out the core's buffers and event ids. No page says that its destructor orders anything.
class TPipe {
public:
    explicit TPipe(twin::Site site = twin::Site::Here());
    ~TPipe();
    TPipe(const TPipe&) = delete;
    TPipe& operator=(const TPipe&) = delete;

    /// `bytes` is rounded up to 32, as the documentation of InitBuffer says.
    template <TPosition position>
    bool InitBuffer(TBuf<position>& buffer, uint32_t bytes, twin::Site site = twin::Site::Here()) {
        buffer.local_ = twin::AllocateLocal(internal::BufferOf(position),
                                            (uint64_t{bytes} + 31) / 32 * 32, site);
        return true;
    }

    /// `num` buffers of `bytes` each; the queues of a position have at most 8 together.
    template <TPosition source, TPosition destination, int32_t depth, auto mask>
    bool InitBuffer(TQueBind<source, destination, depth, mask>& queue, int64_t num, uint32_t bytes,
                    twin::Site site = twin::Site::Here()) {
        queue.queue_ = twin::InitQueue(queue.kPath, depth, num, bytes, site);
        return true;
    }

    template <HardEvent event>
    TEventID AllocEventID(twin::Site site = twin::Site::Here()) {
        return static_cast<TEventID>(twin::AllocateEvent(static_cast<int>(event), site));
    }
    template <HardEvent event>
    void ReleaseEventID(TEventID id, twin::Site site = twin::Site::Here()) {
        twin::ReleaseEvent(static_cast<int>(event), id, site);
    }
    template <HardEvent event>
    TEventID FetchEventID(twin::Site site = twin::Site::Here()) {
        return static_cast<TEventID>(twin::FetchEvent(static_cast<int>(event), site));
    }
    TEventID FetchEventID(HardEvent event, twin::Site site = twin::Site::Here()) {
        return static_cast<TEventID>(twin::FetchEvent(static_cast<int>(event), site));
    }
};

/// The TPipe of the running core.
TPipe* GetTPipePtr(twin::Site site = twin::Site::Here());

}  // namespace AscendC
