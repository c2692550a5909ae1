#include "npu/side_stream.h"

#include "npu/acl_call.h"

namespace npu {

void SideStream::Fork() {
    MakeEvents();
    ASCEND_PREFETCH_ACL(aclrtRecordEvent, forked_, main_);
    ASCEND_PREFETCH_ACL(aclrtStreamWaitEvent, stream_, forked_);
    open_ = true;
}

void SideStream::Prefetch(const std::vector<MemoryRange>& ranges) {
    for (const MemoryRange& range : ranges) {
        ASCEND_PREFETCH_ACL(aclrtCmoAsync, reinterpret_cast<void*>(range.address), range.bytes,
                            ACL_RT_CMO_TYPE_PREFETCH, stream_);
    }
}

void SideStream::Join() {
    if (!open_) return;
    open_ = false;
    ASCEND_PREFETCH_ACL(aclrtRecordEvent, done_, stream_);
    ASCEND_PREFETCH_ACL(aclrtStreamWaitEvent, main_, done_);
}

void SideStream::MakeEvents() {
    // Events with this flag need no reset between a wait and the next record, and use none of the
    // device's event ids until they are recorded (hicann/runtime docs/zh/api_ref/
    // 07_event_management.md).
    if (forked_ == nullptr)
        ASCEND_PREFETCH_ACL(aclrtCreateEventExWithFlag, &forked_, ACL_EVENT_SYNC);
    if (done_ == nullptr) ASCEND_PREFETCH_ACL(aclrtCreateEventExWithFlag, &done_, ACL_EVENT_SYNC);
}

}  // namespace npu
