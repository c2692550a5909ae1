// Buffers, events, flags and scalars of the machine: the functions that the twin's headers leave to
// a runtime.
#include <cstring>

#include "arch/dav_c220.h"
#include "ascendc/pipe.h"
#include "plan_walk/instructions.h"
#include "twin/field.h"

namespace walk {

namespace {

using twin::TraceBuffer;
using twin::TracePipe;

Machine* running = nullptr;

constexpr uint32_t kMaxBuffers = 64;  // of a kernel (InitBuffer, constraints)
constexpr int kFlagIds = 16;
constexpr int kFirstSyncAllFlag = 11;  // to 14 (SyncAll)

uint32_t Capacity(TraceBuffer buffer, bool aic) {
    switch (buffer) {
        case TraceBuffer::kUb:
            return aic ? 0 : arch::DavC220::kUsableUbBytes;
        case TraceBuffer::kL1:
            return aic ? arch::DavC220::kUsableL1Bytes : 0;
        case TraceBuffer::kL0a:
            return aic ? arch::DavC220::kL0aBytes : 0;
        case TraceBuffer::kL0b:
            return aic ? arch::DavC220::kL0bBytes : 0;
        case TraceBuffer::kL0c:
            return aic ? arch::DavC220::kL0cBytes : 0;
        case TraceBuffer::kBias:
            return aic ? arch::DavC220::kBiasBytes : 0;
        case TraceBuffer::kFixpipe:
            return aic ? arch::DavC220::kFixpipeBytes : 0;
        default:
            return 0;
    }
}

void RequirePipes(const char* instruction, const Machine::State& state, TracePipe source,
                  TracePipe destination) {
    for (const TracePipe pipe : {source, destination}) {
        const bool cube =
            pipe == TracePipe::kM || pipe == TracePipe::kMte1 || pipe == TracePipe::kFix;
        const bool vector = pipe == TracePipe::kV || (pipe == TracePipe::kS && state.core.aic);
        if (state.core.aic ? vector : cube) {
            Fail("wrong-core", "%s names pipe %d, which an %s has no events of", instruction,
                 static_cast<int>(pipe), state.core.aic ? "AIC" : "AIV");
        }
    }
}

void RequireEventId(const char* instruction, int event, int id) {
    if (id < 0 || id >= kUserEventIds) {
        Fail("event-id", "%s of kind %d with event id %d; a kernel has 0 to %d", instruction, event,
             id, kUserEventIds - 1);
    }
}

void RequireFlagId(const char* instruction, int flag) {
    RequireRange(instruction, "flagId", flag, 0, kFlagIds - 1);
    if (flag >= kFirstSyncAllFlag && flag < kFirstSyncAllFlag + 4)
        Fail("cross-core-flag", "%s with flag %d, which belongs to SyncAll", instruction, flag);
}

}  // namespace

void SetRunning(Machine* machine) { running = machine; }

Machine& Running() { return *running; }

Machine::State& At(const twin::Site& site) {
    Machine::State& state = running->state();
    state.site = site;
    ++state.instructions;
    return state;
}

void RequireRange(const char* instruction, const char* field, int64_t value, int64_t least,
                  int64_t most) {
    if (value >= least && value <= most) return;
    Fail("parameter-range", "%s: %s must be %lld to %lld, is %lld", instruction, field,
         static_cast<long long>(least), static_cast<long long>(most),
         static_cast<long long>(value));
}

void RequireAligned(const char* instruction, const char* operand, const twin::Local& local,
                    uint32_t alignment) {
    if (local.offset % alignment == 0) return;
    Fail("misaligned", "%s: %s starts at byte %llu of its buffer, must be a multiple of %u",
         instruction, operand, static_cast<unsigned long long>(local.offset), alignment);
}

void RequireLocal(const char* instruction, const char* operand, const twin::Local& local,
                  TraceBuffer buffer, uint32_t alignment, int64_t first, int64_t last) {
    if (local.buffer != buffer) {
        Fail("wrong-buffer", "%s: %s must be in buffer %d, is in %d", instruction, operand,
             static_cast<int>(buffer), static_cast<int>(local.buffer));
    }
    RequireAligned(instruction, operand, local, alignment);
    const auto offset = static_cast<int64_t>(local.offset);
    if (offset + first >= local.begin && offset + last <= local.end) return;
    Fail("out-of-bounds", "%s: %s touches bytes [%lld, %lld), its allocation is [%u, %u)",
         instruction, operand, static_cast<long long>(offset + first),
         static_cast<long long>(offset + last), local.begin, local.end);
}

void RequireCore(const char* instruction, const Machine::State& core, bool aic) {
    if (core.core.aic == aic) return;
    Fail("wrong-core", "%s on an %s", instruction, core.core.aic ? "AIC" : "AIV");
}

}  // namespace walk

namespace twin {

bool IsAic() { return walk::Running().state().core.aic; }
uint32_t BlockIndex() { return walk::Running().state().core.block; }
uint32_t SubBlockIndex() { return walk::Running().state().core.block % arch::DavC220::kAivPerAic; }
uint32_t BlockCount() { return walk::Running().state().core.blocks; }

void RequirePipe(const void* pipe, const char* call, Site site) {
    walk::Machine::State& state = walk::Running().state();
    state.site = site;
    if (state.pipe != pipe) walk::Fail("no-pipe", "TPipe::%s of one that is gone", call);
}

// A core of the walk makes one TPipe: whatever has memory has it from that one.
void RequireAllocated(const char* call, const Local& local, Site site) {
    walk::Running().state().site = site;
    if (local.buffer == TraceBuffer::kNone)
        walk::Fail("not-initialised", "%s before InitBuffer", call);
}

void RequireUnallocated(uint16_t pipe, const char* what, Site site) {
    walk::Running().state().site = site;
    if (pipe != 0) walk::Fail("initialised-twice", "InitBuffer of %s that has its memory", what);
}

Local AllocateLocal(TraceBuffer buffer, uint64_t bytes, Site site) {
    walk::Machine::State& state = walk::At(site);
    const uint32_t capacity = walk::Capacity(buffer, state.core.aic);
    if (capacity == 0)
        walk::Fail("wrong-core", "InitBuffer in a buffer that this core does not have");
    if (state.pipe == nullptr) walk::Fail("no-pipe", "InitBuffer without a live TPipe");
    uint32_t& used = state.allocated[static_cast<int>(buffer)];
    if (bytes > capacity - used) {
        walk::Fail("capacity", "InitBuffer of %llu bytes in buffer %d: %u of %u are taken",
                   static_cast<unsigned long long>(bytes), static_cast<int>(buffer), used,
                   capacity);
    }
    if (++state.buffers > walk::kMaxBuffers)
        walk::Fail("capacity", "InitBuffer of buffer %u of a kernel", state.buffers);
    Local local;
    local.buffer = buffer;
    local.pipe = 1;
    local.offset = local.begin = used;
    local.end = used + static_cast<uint32_t>(bytes);
    // Nobody reads there; arithmetic with a null pointer would be undefined.
    local.data = reinterpret_cast<uint8_t*>(uint64_t{1} << 32);
    used = local.end;
    return local;
}

Local PartOf(const Local& buffer, uint64_t byte_offset, uint64_t bytes, Site site) {
    walk::At(site);
    Local part = buffer;
    part.offset += byte_offset;
    walk::RequireLocal("TBuf", "the part taken", part, buffer.buffer, walk::kBlock, 0,
                       static_cast<int64_t>(bytes));
    part.begin = static_cast<uint32_t>(part.offset);
    part.end = static_cast<uint32_t>(part.offset + bytes);
    return part;
}

uint8_t* ScalarAccess(const Local& operand, uint32_t bytes, bool write, Site site) {
    walk::Machine::State& state = walk::At(site);
    walk::RequireCore("scalar access", state, false);
    walk::RequireLocal("scalar access", "the tensor", operand, TraceBuffer::kUb, bytes, 0, bytes);
    // The slots of the tokens are all that kernels read as scalars.
    if (!write) {
        state.scalar =
            walk::Running().SlotAt(state.first_slot + (operand.offset - operand.begin) / bytes);
    }
    return reinterpret_cast<uint8_t*>(&state.scalar);
}

int FetchEvent(int event, Site site) {
    const walk::Machine::State& state = walk::At(site);
    for (int id = 0; id < walk::kUserEventIds; ++id) {
        if (!state.taken[event][id]) return id;
    }
    walk::Fail("event-id", "no event id of kind %d is free: a kernel has %d", event,
               walk::kUserEventIds);
}

int AllocateEvent(int event, Site site) {
    const int id = FetchEvent(event, site);
    walk::Running().state().taken[event][id] = true;
    return id;
}

void ReleaseEvent(int event, int id, Site site) {
    walk::Machine::State& state = walk::At(site);
    walk::RequireEventId("ReleaseEventID", event, id);
    if (!state.taken[event][id])
        walk::Fail("event-id", "ReleaseEventID(%d) of an id not taken", id);
    state.taken[event][id] = false;
}

void SetEvent(int event, TracePipe source, TracePipe destination, int id, Site site) {
    walk::Machine::State& state = walk::At(site);
    walk::RequirePipes("SetFlag", state, source, destination);
    walk::RequireEventId("SetFlag", event, id);
    if (state.set[event][id])
        walk::Fail("event-set-twice", "SetFlag(%d) of kind %d, which is set already", id, event);
    state.set[event][id] = true;
}

// The set comes first: a core is run in the order of its program, as in the twin.
void WaitEvent(int event, TracePipe source, TracePipe destination, int id, Site site) {
    walk::Machine::State& state = walk::At(site);
    walk::RequirePipes("WaitFlag", state, source, destination);
    walk::RequireEventId("WaitFlag", event, id);
    if (!state.set[event][id])
        walk::Fail("unpaired-event", "WaitFlag(%d) of kind %d without a SetFlag", id, event);
    state.set[event][id] = false;
}

void Barrier(TracePipe, Site site) { walk::At(site); }

void CrossSet(int mode, TracePipe pipe, int id, Site site) {
    walk::Machine::State& state = walk::At(site);
    walk::RequirePipes("CrossCoreSetFlag", state, pipe, pipe);
    walk::RequireFlagId("CrossCoreSetFlag", id);
    state.flags.push_back({true, static_cast<uint8_t>(id), static_cast<uint8_t>(mode)});
}

void CrossWait(int id, Site site) {
    walk::Machine::State& state = walk::At(site);
    walk::RequireFlagId("CrossCoreWaitFlag", id);
    state.flags.push_back({false, static_cast<uint8_t>(id), 0});
}

uint64_t Rounded(const char*, uint64_t up, uint64_t, uint64_t, Site) { return up; }

void DeclareKernelType(const char*, Site) {}

void ReportFieldOverflow(const char* field, const Number& number, uint64_t limit) {
    walk::At(number.site);
    walk::Fail("field-overflow", "%s is %s%llu, it holds at most %llu", field,
               number.negative ? "negative, as unsigned " : "",
               static_cast<unsigned long long>(number.bits),
               static_cast<unsigned long long>(limit));
}

}  // namespace twin

namespace AscendC {

TPipe::TPipe(twin::Site site) {
    walk::Machine::State& state = walk::At(site);
    if (state.pipe != nullptr) walk::Fail("two-pipes", "a second TPipe while the first one lives");
    state.pipe = this;
}

TPipe::~TPipe() { walk::Running().state().pipe = nullptr; }

}  // namespace AscendC
