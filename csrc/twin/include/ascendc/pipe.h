// TPipe and TBuf (资源管理/TPipe, 资源管理/TBuf); for queues see queue.h.
//
// In the toolkits, a TBuf without InitBuffer holds an arbitrary address, and Get returns a tensor
// there; here, every use of such a TBuf is an error. So is every use of a buffer or tensor once the
// TPipe that handed it out has ended, by its destructor, Destroy or Reset.
#pragma once

#include "ascendc/queue.h"
#include "ascendc/tensor.h"

namespace AscendC {

template <TPosition position = TPosition::VECCALC>
class TBuf {
public:
    template <typename T>
    LocalTensor<T> Get(twin::Site site = twin::Site::Here()) {
        twin::RequireAllocated("TBuf::Get", local_, site);
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
        twin::RequireAllocated("TBuf::GetWithOffset", local_, site);
        return LocalTensor<T>(twin::PartOf(local_, byte_offset, uint64_t{size} * sizeof(T), site));
    }

private:
    friend class TPipe;
    twin::Local local_;
};

/// Hands out the core's buffers and event ids. No page says that its destructor orders anything.
/// The InitBuffer that takes an address from the kernel was added after CANN 8.1 and is not here.
class TPipe {
public:
    explicit TPipe(twin::Site site = twin::Site::Here());
    ~TPipe();
    TPipe(const TPipe&) = delete;
    TPipe& operator=(const TPipe&) = delete;

    /// Starts a TPipe again after Destroy; the constructor calls it too.
    void Init(twin::Site site = twin::Site::Here());
    /// Ends the life of all buffers and ids that it has handed out. Another TPipe may then live.
    void Destroy(twin::Site site = twin::Site::Here());
    /// Destroy and then Init: after it, InitBuffer may be called on the same buffers again.
    void Reset(twin::Site site = twin::Site::Here());

    /// `bytes` is rounded up to 32, as the documentation of InitBuffer says.
    template <TPosition position>
    bool InitBuffer(TBuf<position>& buffer, uint32_t bytes, twin::Site site = twin::Site::Here()) {
        twin::RequirePipe(this, "InitBuffer", site);
        twin::RequireUnallocated(buffer.local_.pipe, "a TBuf", site);
        buffer.local_ = twin::AllocateLocal(internal::BufferOf(position),
                                            (uint64_t{bytes} + 31) / 32 * 32, site);
        return true;
    }

    /// Gives the queue `num` buffers of `bytes` each. All queues of a position together have at
    /// most 8 buffers.
    template <TPosition source, TPosition destination, int32_t depth, auto mask>
    bool InitBuffer(TQueBind<source, destination, depth, mask>& queue, int64_t num, uint32_t bytes,
                    twin::Site site = twin::Site::Here()) {
        twin::RequirePipe(this, "InitBuffer", site);
        queue.queue_ = twin::InitQueue(queue.queue_, queue.kPath, depth, num, bytes, site);
        return true;
    }

    template <HardEvent event>
    TEventID AllocEventID(twin::Site site = twin::Site::Here()) {
        twin::RequirePipe(this, "AllocEventID", site);
        return static_cast<TEventID>(twin::AllocateEvent(static_cast<int>(event), site));
    }
    template <HardEvent event>
    void ReleaseEventID(TEventID id, twin::Site site = twin::Site::Here()) {
        twin::RequirePipe(this, "ReleaseEventID", site);
        twin::ReleaseEvent(static_cast<int>(event), id, site);
    }
    template <HardEvent event>
    TEventID FetchEventID(twin::Site site = twin::Site::Here()) {
        twin::RequirePipe(this, "FetchEventID", site);
        return static_cast<TEventID>(twin::FetchEvent(static_cast<int>(event), site));
    }
    TEventID FetchEventID(HardEvent event, twin::Site site = twin::Site::Here()) {
        twin::RequirePipe(this, "FetchEventID", site);
        return static_cast<TEventID>(twin::FetchEvent(static_cast<int>(event), site));
    }

private:
    void End();
};

/// The TPipe of the running core.
TPipe* GetTPipePtr(twin::Site site = twin::Site::Here());

}  // namespace AscendC
