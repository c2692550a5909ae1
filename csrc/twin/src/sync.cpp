// Events, barriers and TPipe.
#include "ascendc/pipe.h"
#include "core.h"

namespace twin {

namespace {

constexpr const char* kEventNames[kHardEvents] = {
    "MTE2_MTE1", "MTE1_MTE2", "MTE1_M", "M_MTE1",    "MTE2_V",    "V_MTE2",  "MTE3_V",
    "V_MTE3",    "M_FIX",     "FIX_M",  "MTE3_MTE2", "MTE2_MTE3", "S_V",     "V_S",
    "S_MTE2",    "MTE2_S",    "S_MTE3", "MTE3_S",    "MTE2_FIX",  "FIX_MTE2"};

bool IsCubePipe(TracePipe pipe) {
    return pipe == TracePipe::kM || pipe == TracePipe::kMte1 || pipe == TracePipe::kFix;
}

bool IsVectorPipe(TracePipe pipe) { return pipe == TracePipe::kV; }

uint32_t Position(const Core& core) { return static_cast<uint32_t>(core.machine->Position(core)); }

void RequirePipe(const char* instruction, TracePipe pipe, Site site) {
    const Core& core = Current();
    if (core.is_aic ? IsVectorPipe(pipe) : IsCubePipe(pipe)) {
        Fail("wrong-core", site, "%s names pipe %s, which an %s does not have", instruction,
             PipeName(pipe), core.is_aic ? "AIC" : "AIV");
    }
}

// An AIC has no events between its scalar pipe and another one (SetFlag-WaitFlag(ISASI), table of
// events).
void RequireEventPipes(const char* instruction, TracePipe source, TracePipe destination,
                       Site site) {
    RequirePipe(instruction, source, site);
    RequirePipe(instruction, destination, site);
    if (IsAic() && (source == TracePipe::kS || destination == TracePipe::kS)) {
        Fail("wrong-core", site, "%s: an AIC has no events of its scalar pipe", instruction);
    }
}

void RequireEventId(const char* instruction, int event, int id, Site site) {
    if (id < 0 || id >= kEventIds) {
        Fail("event-id", site, "%s<%s> with event id %d; ids are 0 to %d", instruction,
             EventName(event), id, kEventIds - 1);
    }
    // "目前暂不建议直接使用事件ID6-7": TPipe synchronises with id 7, and id 6 is reserved for the
    // system (SetFlag-WaitFlag(ISASI), constraints).
    if (id >= kUserEventIds) {
        Fail("event-id", site, "%s<%s> uses event id %d, but ids 6 and 7 belong to the framework",
             instruction, EventName(event), id);
    }
    if (id < FirstEventId(event)) {
        Fail("event-id", site, "%s<%s> uses event id %d, but the TPipe keeps ids 0 to %d on an AIC",
             instruction, EventName(event), id, kPipeEventIds - 1);
    }
}

MetCall MeetEvent(const char* name, int event, const Site& site) {
    return Meet(name, event, site,
                [&] { return std::string(name) + "<" + EventName(event) + ">"; });
}

/// Another pipe of the same core, for MutationKind::kWeaken.
TracePipe OtherPipe(TracePipe pipe) {
    if (IsAic()) return pipe == TracePipe::kMte2 ? TracePipe::kM : TracePipe::kMte2;
    return pipe == TracePipe::kV ? TracePipe::kMte2 : TracePipe::kV;
}

}  // namespace

const char* EventName(int event) { return kEventNames[event]; }

int FirstEventId(int event) {
    const bool kept = event == static_cast<int>(AscendC::HardEvent::M_MTE1) && IsAic() &&
                      Current().pipe_object != nullptr;
    return kept ? kPipeEventIds : 0;
}

int FetchEvent(int event, Site site) {
    const Core& core = Current();
    const int first = FirstEventId(event);
    for (int id = first; id < kUserEventIds; ++id) {
        if (!core.event_taken[event][id]) return id;
    }
    Fail("event-id", site,
         "no event id of %s is free: %d are taken, ids 6 and 7 belong to the framework",
         EventName(event), kUserEventIds - first);
}

int AllocateEvent(int event, Site site) {
    const MetCall met = MeetEvent("AllocEventID", event, site);
    const int id = FetchEvent(event, site);
    if (met.left_out) return id;
    Core& core = Current();
    core.event_taken[event][id] = true;
    core.event_site[event][id] = site;
    core.event_taken_by[event][id] = met.call;
    return id;
}

void ReleaseEvent(int event, int id, Site site) {
    RequireEventId("ReleaseEventID", event, id, site);
    const MetCall met = MeetEvent("ReleaseEventID", event, site);
    if (met.left_out) return;
    Core& core = Current();
    if (!core.event_taken[event][id]) {
        Fail("event-id", site, "ReleaseEventID<%s>(%d) releases an id that is not taken",
             EventName(event), id);
    }
    core.event_taken[event][id] = false;
    if (Mutator* mutator = core.machine->mutator()) {
        mutator->Met(core.event_taken_by[event][id], met.call);
    }
}

void SetEvent(int event, TracePipe source, TracePipe destination, int id, Site site) {
    RequireEventPipes("SetFlag", source, destination, site);
    RequireEventId("SetFlag", event, id, site);
    const MetCall met = MeetEvent("SetFlag", event, site);
    if (!met.left_out) IssueSetEvent(event, source, destination, id, site, met.call);
}

void IssueSetEvent(int event, TracePipe source, TracePipe destination, int id, const Site& site,
                   const CallSite* call) {
    Core& core = Current();
    if (core.event_set[event][id]) {
        Fail("event-set-twice", site,
             "SetFlag<%s>(%d) sets an event whose SetFlag of %s:%d has not been waited for",
             EventName(event), id, core.event_site[event][id].file,
             core.event_site[event][id].line);
    }
    core.event_set[event][id] = true;
    core.event_site[event][id] = site;
    core.event_set_by[event][id] = call;
    if (Clocks* clocks = core.machine->clocks()) {
        clocks->SetEvent(Position(core), source, destination, event, id, site);
    }
    Record(TraceOp::kSetFlag, source, site, [&](TraceRecord& record) {
        record.args[0] = static_cast<uint32_t>(source);
        record.args[1] = static_cast<uint32_t>(destination);
        record.args[2] = static_cast<uint32_t>(id);
    });
}

// On the device, a wait may be issued before its set as long as the set comes from another pipe.
// The twin runs a core in program order and requires the set first, which does not restrict what
// kernels can express.
void WaitEvent(int event, TracePipe source, TracePipe destination, int id, Site site) {
    RequireEventPipes("WaitFlag", source, destination, site);
    RequireEventId("WaitFlag", event, id, site);
    const MetCall met = MeetEvent("WaitFlag", event, site);
    if (!met.left_out) IssueWaitEvent(event, source, destination, id, site, met.call);
}

void IssueWaitEvent(int event, TracePipe source, TracePipe destination, int id, const Site& site,
                    const CallSite* call) {
    Core& core = Current();
    if (!core.event_set[event][id]) {
        Fail("unpaired-event", site, "WaitFlag<%s>(%d) has no SetFlag before it", EventName(event),
             id);
    }
    core.event_set[event][id] = false;
    if (Mutator* mutator = core.machine->mutator()) {
        mutator->Met(core.event_set_by[event][id], call);
    }
    if (Clocks* clocks = core.machine->clocks()) {
        clocks->WaitEvent(Position(core), destination, event, id, site);
    }
    Record(TraceOp::kWaitFlag, destination, site, [&](TraceRecord& record) {
        record.args[0] = static_cast<uint32_t>(source);
        record.args[1] = static_cast<uint32_t>(destination);
        record.args[2] = static_cast<uint32_t>(id);
    });
}

void Barrier(TracePipe pipe, Site site) {
    RequirePipe("PipeBarrier", pipe, site);
    const auto kind = [&] { return std::string("PipeBarrier<") + PipeName(pipe) + ">"; };
    if (Meet("PipeBarrier", static_cast<int>(pipe), site, kind).left_out) return;
    const Core& core = Current();
    if (Clocks* clocks = core.machine->clocks()) clocks->Barrier(Position(core), pipe);
    Record(TraceOp::kBarrier, pipe, site, [](TraceRecord&) {});
}

namespace {

void SetAcross(int mode, TracePipe pipe, int id, const Site& site, const CallSite* call) {
    Core& core = Current();
    if (Mutator* mutator = core.machine->mutator()) mutator->CrossSet(Position(core), call, id);
    Record(TraceOp::kCrossSet, pipe, site, [&](TraceRecord& record) {
        record.args[0] = static_cast<uint32_t>(mode);
        record.args[1] = static_cast<uint32_t>(id);
    });
    if (Clocks* clocks = core.machine->clocks()) {
        clocks->CrossSet(Position(core), pipe, mode, id, site);
    }
    core.machine->CrossSet(core, mode, id, site);
}

void WaitAcross(int id, const Site& site, const CallSite* call) {
    Core& core = Current();
    core.machine->CrossWait(core, id, site);
    core.has_worked = false;
    if (Mutator* mutator = core.machine->mutator()) mutator->CrossWait(Position(core), call, id);
    if (Clocks* clocks = core.machine->clocks()) clocks->CrossWait(Position(core), id);
    Record(TraceOp::kCrossWait, TracePipe::kAll, site,
           [&](TraceRecord& record) { record.args[0] = static_cast<uint32_t>(id); });
}

}  // namespace

void CrossSet(int mode, TracePipe pipe, int id, Site site) {
    RequirePipe("CrossCoreSetFlag", pipe, site);
    RequireRange("CrossCoreSetFlag", "flagId", id, 0, kCrossFlags - 1, site);
    const auto kind = [&] {
        return "CrossCoreSetFlag<" + std::to_string(mode) + ", " + PipeName(pipe) + ">(" +
               std::to_string(id) + ")";
    };
    const MetCall met = Meet("CrossCoreSetFlag", id, site, kind);
    if (met.left_out) return;
    Core& core = Current();
    core.machine->RequireOwnFlag("CrossCoreSetFlag", id, site);
    Mutator* mutator = core.machine->mutator();
    if (mutator != nullptr && core.has_worked) mutator->CanWeaken(met.call);
    SetAcross(mode, met.weakened ? OtherPipe(pipe) : pipe, id, site, met.call);
}

void CrossWait(int id, Site site) {
    RequireRange("CrossCoreWaitFlag", "flagId", id, 0, kCrossFlags - 1, site);
    const auto kind = [&] { return "CrossCoreWaitFlag(" + std::to_string(id) + ")"; };
    const MetCall met = Meet("CrossCoreWaitFlag", id, site, kind);
    if (met.left_out) return;
    Current().machine->RequireOwnFlag("CrossCoreWaitFlag", id, site);
    WaitAcross(id, site, met.call);
}

// The page says which steps SyncAll consists of: mode 0 among the vector cores; or every AIC waits
// for its AIVs, all AICs wait for each other, and the AIVs wait for their AIC. It says which flag
// ids SyncAll uses, but not which id for which step. It does not say which pipes SyncAll waits for
// either, but its example reads what MTE3 has stored before the call: so vector cores can rely on
// MTE3, and cube cores, by analogy, on FIX.
void SyncAll(bool aiv_only, Site site) {
    Core& core = Current();
    core.machine->RequireSyncAll(core, aiv_only, site);
    const MetCall met = Meet("SyncAll", aiv_only ? 1 : 0, site, [&] {
        return std::string(aiv_only ? "SyncAll<true>" : "SyncAll<false>");
    });
    if (met.left_out) return;
    constexpr int kAivs = kFirstSyncAllFlag;
    constexpr int kToAic = kFirstSyncAllFlag + 1;
    constexpr int kAics = kFirstSyncAllFlag + 2;
    constexpr int kToAiv = kFirstSyncAllFlag + 3;
    if (aiv_only) {
        SetAcross(0, TracePipe::kMte3, kAivs, site, met.call);
        WaitAcross(kAivs, site, met.call);
    } else if (core.is_aic) {
        WaitAcross(kToAic, site, met.call);
        SetAcross(0, TracePipe::kFix, kAics, site, met.call);
        WaitAcross(kAics, site, met.call);
        SetAcross(2, TracePipe::kFix, kToAiv, site, met.call);
    } else {
        SetAcross(2, TracePipe::kMte3, kToAic, site, met.call);
        WaitAcross(kToAiv, site, met.call);
    }
}

}  // namespace twin

namespace AscendC {

// Only one TPipe may live on a core at a time (TPipe构造函数, constraints).
TPipe::TPipe(twin::Site site) { Init(site); }

void TPipe::Init(twin::Site site) {
    twin::Core& core = twin::Current();
    if (core.pipe_object == this) {
        twin::Fail("two-pipes", site,
                   "TPipe::Init is called on a TPipe that is alive; call Destroy first");
    }
    if (core.pipe_object != nullptr)
        twin::Fail("two-pipes", site, "a second TPipe is constructed while the first one is alive");
    core.pipe_object = this;
    core.live_pipe = ++core.pipe_lives;
}

// The record tells the timing model that the kernel ends when all its pipes have finished. The
// destructor orders nothing for a later TPipe, which takes a PipeBarrier. Only for Destroy do the
// pages suggest that it waits (DestroyWithoutPipeAll).
TPipe::~TPipe() {
    if (twin::Current().pipe_object != this) return;
    End();
    twin::Record(twin::TraceOp::kBarrier, twin::TracePipe::kAll, twin::Site{"~TPipe", 0},
                 [](twin::TraceRecord&) {});
}

void TPipe::Destroy(twin::Site site) {
    twin::RequirePipe(this, "Destroy", site);
    End();
}

// "恢复到TPipe的初始化状态": buffers and event ids are as after the constructor (Reset).
void TPipe::Reset(twin::Site site) {
    twin::RequirePipe(this, "Reset", site);
    End();
    for (auto& taken : twin::Current().event_taken) taken.reset();
    Init(site);
}

void TPipe::End() {
    twin::Core& core = twin::Current();
    twin::EndQueues();
    core.pipe_object = nullptr;
    core.live_pipe = 0;
    core.allocated.fill(0);
    core.buffer_count = 0;
}

TPipe* GetTPipePtr(twin::Site site) {
    auto* pipe = static_cast<TPipe*>(twin::Current().pipe_object);
    if (pipe == nullptr)
        twin::Fail("no-pipe", site, "GetTPipePtr needs a TPipe, and none is alive");
    return pipe;
}

}  // namespace AscendC
