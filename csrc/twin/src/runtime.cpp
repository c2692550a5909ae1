// The machine of one launch: cores that run as fibers, the map of GM, cross-core flags, and the
// report of a deadlock.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core.h"
#include "twin/codes.h"

namespace twin {

namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr uint8_t kPoison = 0xFF;  // NaN in every floating-point type

thread_local Core* g_current = nullptr;

std::string Format(const char* format, va_list arguments) {
    char text[1024];
    std::vsnprintf(text, sizeof(text), format, arguments);
    return text;
}

constexpr std::array<uint32_t, kLocalBuffers> kCapacity = {
    arch::DavC220::kUsableUbBytes, arch::DavC220::kUsableL1Bytes, arch::DavC220::kL0aBytes,
    arch::DavC220::kL0bBytes,      arch::DavC220::kL0cBytes,      arch::DavC220::kBiasBytes,
    arch::DavC220::kFixpipeBytes};

bool Exists(bool is_aic, int buffer) {
    return is_aic == (buffer != static_cast<int>(TraceBuffer::kUb));
}

uint32_t MemoryBytes(bool is_aic) {
    uint32_t bytes = 0;
    for (int buffer = 0; buffer < kLocalBuffers; ++buffer) {
        if (Exists(is_aic, buffer)) bytes += kCapacity[buffer];
    }
    return bytes;
}

bool HasAic(KernelKind kind) {
    return kind == KernelKind::kMixAic1Aiv2 || kind == KernelKind::kAicOnly ||
           kind == KernelKind::kMixAic1Aiv0;
}

bool HasAiv(KernelKind kind) {
    return kind == KernelKind::kMixAic1Aiv2 || kind == KernelKind::kAivOnly ||
           kind == KernelKind::kMixAiv1Aic0;
}

bool HasCrossCore(KernelKind kind) {
    return kind != KernelKind::kAicOnly && kind != KernelKind::kAivOnly;
}

const char* KindName(KernelKind kind) {
    switch (kind) {
        case KernelKind::kMixAic1Aiv2:
            return "KERNEL_TYPE_MIX_AIC_1_2";
        case KernelKind::kAicOnly:
            return "KERNEL_TYPE_AIC_ONLY";
        case KernelKind::kAivOnly:
            return "KERNEL_TYPE_AIV_ONLY";
        case KernelKind::kMixAiv1Aic0:
            return "KERNEL_TYPE_MIX_AIV_1_0";
        case KernelKind::kMixAic1Aiv0:
            return "KERNEL_TYPE_MIX_AIC_1_0";
    }
    return "?";
}

// The buffer memory of the last launch on this thread. It is reused because mapping new pages would
// cost more than a small kernel.
BufferMemory& KeptMemory() {
    static thread_local BufferMemory memory;
    return memory;
}

BufferMemory TakeMemory(size_t bytes) {
    BufferMemory memory = std::move(KeptMemory());
    KeptMemory() = BufferMemory{};
    if (memory.bytes < bytes) {
        const size_t rounded = (bytes + 4095) / 4096 * 4096;
        memory = BufferMemory{};  // free it before more is allocated
        memory.data.reset(static_cast<uint8_t*>(std::aligned_alloc(4096, rounded)));
        if (memory.data == nullptr) throw std::bad_alloc();
        memory.bytes = rounded;
    }
    return memory;
}

// A code that is not in the table is a bug in the twin.
std::string RequireCode(std::string code) {
    if (FindErrorCode(code) == nullptr)
        throw std::logic_error("twin: '" + code + "' is not in kErrorCodes");
    return code;
}

std::string Describe(const std::vector<Access>& accesses) {
    std::string text;
    for (const Access& access : accesses) {
        text += "\n  " + access.core + ", " + access.pipe + ": " + access.instruction + " at " +
                access.file + ":" + std::to_string(access.line) +
                (access.writes ? " writes bytes [" : " reads bytes [") +
                std::to_string(access.first_byte) + ", " +
                std::to_string(access.first_byte + access.bytes) + ") of " + access.where;
    }
    return text;
}

}  // namespace

std::string Where(const Site& site) {
    return std::string(site.file) + ":" + std::to_string(site.line);
}

Error::Error(std::string code_in, std::string kernel_in, std::string core_in, std::string file_in,
             int line_in, std::string message_in, std::vector<Access> accesses_in,
             std::string ordered_by_in)
    : std::runtime_error("twin: " + code_in + ": " + message_in + " [kernel " + kernel_in + ", " +
                         core_in + ", " + file_in + ":" + std::to_string(line_in) + "]" +
                         Describe(accesses_in)),
      code(RequireCode(std::move(code_in))),
      kernel(std::move(kernel_in)),
      core(std::move(core_in)),
      file(std::move(file_in)),
      line(line_in),
      message(std::move(message_in)),
      accesses(std::move(accesses_in)),
      ordered_by(std::move(ordered_by_in)) {}

bool InLaunch() { return g_current != nullptr; }

Core& Current() {
    if (g_current == nullptr)
        throw std::logic_error("twin: an Ascend C call outside of a launched kernel");
    return *g_current;
}

void Fail(const char* code, Site site, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const std::string message = Format(format, arguments);
    va_end(arguments);
    const Core& core = Current();
    // A finding of the sanitizer is reported first, because this error may be its consequence.
    if (Sanitizer* sanitizer = core.machine->sanitizer()) sanitizer->End();
    throw Error(code, core.machine->config().name, core.Name(), site.file, site.line, message);
}

std::string Core::Name() const {
    return std::string(is_aic ? "AIC " : "AIV ") + std::to_string(index);
}

std::string Machine::CoreName(size_t position) const { return cores_[position]->Name(); }

uint32_t Core::Capacity(TraceBuffer buffer) const {
    const int i = static_cast<int>(buffer);
    return i < kLocalBuffers && Exists(is_aic, i) ? kCapacity[i] : 0;
}

Machine::Machine(const LaunchConfig& config, const std::function<void()>& kernel)
    : config_(config), kernel_(kernel) {
    if (config.chip == nullptr)
        throw std::invalid_argument("twin: launch of '" + config.name + "' without a chip");
    const bool aiv_blocks = !HasAic(config.kind);
    const uint32_t most = aiv_blocks ? config.chip->aiv_count : config.chip->aic_count;
    block_count_ = config.block_count == 0 ? most : config.block_count;
    if (block_count_ > most) {
        throw std::invalid_argument("twin: launch of '" + config.name + "' with " +
                                    std::to_string(block_count_) + " blocks; " + config.chip->name +
                                    " runs at most " + std::to_string(most) + " at once");
    }

    const uint32_t aic = HasAic(config.kind) ? block_count_ : 0;
    const uint32_t aiv = !HasAiv(config.kind) ? 0
                         : aiv_blocks         ? block_count_
                                              : block_count_ * arch::DavC220::kAivPerAic;
    const size_t bytes = static_cast<size_t>(aic) * MemoryBytes(true) +
                         static_cast<size_t>(aiv) * MemoryBytes(false);
    memory_ = TakeMemory(bytes);
    uint8_t* next = memory_.data.get();
    for (uint32_t i = 0; i < aic + aiv; ++i) {
        auto core = std::make_unique<Core>();
        core->machine = this;
        core->is_aic = i < aic;
        core->index = core->is_aic ? i : i - aic;
        const bool paired = !core->is_aic && aic > 0;
        core->block = paired ? core->index / arch::DavC220::kAivPerAic : core->index;
        core->sub_block = paired ? core->index % arch::DavC220::kAivPerAic : 0;
        for (int buffer = 0; buffer < kLocalBuffers; ++buffer) {
            if (!Exists(core->is_aic, buffer)) continue;
            core->memory[buffer] = next;
            next += kCapacity[buffer];
        }
        cores_.push_back(std::move(core));
    }
    arrivals_.resize(cores_.size());
    if (config_.sanitize != SanitizeMode::kOff) {
        std::vector<std::array<uint32_t, kShadowBuffers>> capacity(cores_.size());
        for (size_t i = 0; i < cores_.size(); ++i) {
            for (uint32_t buffer = 0; buffer < kShadowBuffers; ++buffer) {
                capacity[i][buffer] = cores_[i]->Capacity(static_cast<TraceBuffer>(buffer));
            }
        }
        sanitizer_ = std::make_unique<Sanitizer>(config_.sanitize, config_.tensors, capacity,
                                                 config_.without);
    }
    if (config_.calls != nullptr || config_.mutation != nullptr) {
        mutator_ = std::make_unique<Mutator>(config_.calls, config_.mutation, cores_.size());
    }

    if (config.trace != nullptr) {
        *config.trace = Trace{};
        config.trace->kernel = config.name;
        config.trace->chip = config.chip->name;
        config.trace->aic_count = aic;
        config.trace->tensors = config.tensors;
        config.trace->cores.resize(cores_.size());
        for (size_t i = 0; i < cores_.size(); ++i) cores_[i]->trace = &config.trace->cores[i];
    }
}

Machine::~Machine() { KeptMemory() = std::move(memory_); }

void Machine::RunCore(Core& core) {
    try {
        kernel_();
        CheckCoreEnd(core);
    } catch (const Cancelled&) {
    } catch (...) {
        if (!failure_) failure_ = std::current_exception();
    }
    core.state = CoreState::kFinished;
}

void Machine::Resume(Core& core) {
    Core* const outer = g_current;
    g_current = &core;
    if (core.fiber.started()) {
        core.fiber.Resume();
    } else {
        try {
            core.fiber.Start(kStackBytes, [this, &core] { RunCore(core); });
        } catch (const std::bad_alloc&) {  // no memory for its stack: the core has not started
            if (!failure_) failure_ = std::current_exception();
            core.state = CoreState::kFinished;
        }
    }
    g_current = outer;
}

uint32_t Machine::AicCount() const { return HasAic(config_.kind) ? block_count_ : 0; }

// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
uint64_t Machine::Random() {
    uint64_t value = random_ += 0x9E3779B97F4A7C15;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9;
    value = (value ^ value >> 27) * 0x94D049BB133111EB;
    return value ^ value >> 31;
}

Core* Machine::NextCore() {
    const bool shuffled = config_.schedule_seed != 0;
    const size_t first = shuffled ? Random() % cores_.size() : turn_;
    for (size_t i = 0; i < cores_.size(); ++i) {
        const size_t position = (first + i) % cores_.size();
        Core& core = *cores_[position];
        const bool waits =
            core.state == CoreState::kWaiting && core.cross_counter[core.waiting_flag] == 0;
        if (waits || core.state == CoreState::kFinished) continue;
        core.state = CoreState::kReady;
        turn_ = (position + 1) % cores_.size();
        return &core;
    }
    return nullptr;
}

void Machine::Run() {
    random_ = config_.schedule_seed;
    while (!failure_) {
        Core* const next = NextCore();
        if (next == nullptr) break;
        Resume(*next);
    }
    if (!failure_) {
        const bool finished = std::all_of(cores_.begin(), cores_.end(), [](const auto& core) {
            return core->state == CoreState::kFinished;
        });
        try {
            if (finished) {
                CheckFlagsPaired();
            } else {
                ReportDeadlock();
            }
        } catch (...) {
            failure_ = std::current_exception();
        }
    }
    // Unwind the cores that are still inside the kernel, so that nothing on their stacks leaks.
    cancelling_ = true;
    for (auto& core : cores_) {
        if (core->state != CoreState::kFinished && core->fiber.started()) Resume(*core);
    }
    if (config_.buffer_usage != nullptr) FillBufferUsage();
    if (failure_) std::rethrow_exception(failure_);
}

void Machine::FillBufferUsage() const {
    constexpr std::array<const char*, kLocalBuffers> kNames = {"UB",  "L1", "L0A", "L0B",
                                                               "L0C", "BT", "FB"};
    config_.buffer_usage->clear();
    for (int buffer = 0; buffer < kLocalBuffers; ++buffer) {
        BufferUsage usage{kNames[buffer], 0, 0};
        for (const auto& core : cores_) {
            usage.peak = std::max(usage.peak, core->most_allocated[buffer]);
            usage.capacity =
                std::max(usage.capacity, core->Capacity(static_cast<TraceBuffer>(buffer)));
        }
        config_.buffer_usage->push_back(usage);
    }
}

void Machine::CheckCoreEnd(const Core& core) const {
    RequireTensorsFreed(core.queues);
    for (int event = 0; event < kHardEvents; ++event) {
        for (int id = 0; id < kEventIds; ++id) {
            if (core.event_taken[event][id]) {
                Fail("event-id", core.event_site[event][id],
                     "id %d of event %s was taken with AllocEventID and never released", id,
                     EventName(event));
            }
            if (!core.event_set[event][id]) continue;
            Fail("unpaired-event", core.event_site[event][id],
                 "SetFlag of event %s, id %d is never waited for", EventName(event), id);
        }
    }
}

void Machine::CheckFlagsPaired() const {
    for (size_t i = 0; i < cores_.size(); ++i) {
        for (int id = 0; id < kCrossFlags; ++id) {
            const Core& core = *cores_[i];
            const Arrivals& arrivals = arrivals_[i][id];
            if (core.cross_counter[id] > 0) {
                throw Error("unpaired-cross-core-flag", config_.name, core.Name(),
                            arrivals.site.file, arrivals.site.line,
                            "cross-core flag " + std::to_string(id) + " was signalled " +
                                std::to_string(core.cross_counter[id]) +
                                " time(s) more than waited for");
            }
            if (arrivals.pending > 0) {
                throw Error("unpaired-cross-core-flag", config_.name, core.Name(),
                            arrivals.site.file, arrivals.site.line,
                            "CrossCoreSetFlag<" + std::to_string(arrivals.mode) + "> of flag " +
                                std::to_string(id) +
                                " was not matched by the other cores of its group");
            }
        }
    }
}

void Machine::ReportDeadlock() const {
    std::string text = "no core can go on:";
    const Core* first = nullptr;
    int listed = 0;
    int waiting = 0;
    for (const auto& core : cores_) {
        if (core->state != CoreState::kWaiting) continue;
        if (first == nullptr) first = core.get();
        if (++waiting > 6) continue;
        ++listed;
        text += "\n  " + core->Name() + " waits for flag " + std::to_string(core->waiting_flag) +
                " at " + Where(core->waiting_site) + ";";
        std::string sets;
        for (size_t i = 0; i < cores_.size(); ++i) {
            const Arrivals& arrivals = arrivals_[i][core->waiting_flag];
            if (arrivals.pending == 0) continue;
            sets += " " + cores_[i]->Name() + " (mode " + std::to_string(arrivals.mode) + ", " +
                    Where(arrivals.site) + ")";
            if (sets.size() > 300) {
                sets += " ...";
                break;
            }
        }
        text += sets.empty() ? " nobody has set it" : " set so far by" + sets;
    }
    if (waiting > listed) text += "\n  and " + std::to_string(waiting - listed) + " more cores";
    throw Error("deadlock", config_.name, first->Name(), first->waiting_site.file,
                first->waiting_site.line, text);
}

int Machine::FindTensor(const uint8_t* address, uint64_t bytes, bool write) const {
    const auto& tensors = config_.tensors;
    int found = -1;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const auto* start = static_cast<const uint8_t*>(tensors[i].data);
        if (address < start || address + bytes > start + tensors[i].bytes) continue;
        if (!write || tensors[i].writable) return static_cast<int>(i);
        if (found < 0) found = static_cast<int>(i);
    }
    return found;
}

uint32_t Machine::SiteIndex(const Site& site) {
    auto& lines = site_cache_[site.file];
    const auto found = lines.find(site.line);
    if (found != lines.end()) return found->second;
    // The name of one file can have several addresses, one per translation unit.
    const auto inserted =
        site_index_.emplace(Where(site), static_cast<uint32_t>(site_index_.size()));
    if (inserted.second) config_.trace->sites.push_back(inserted.first->first);
    return lines[site.line] = inserted.first->second;
}

std::vector<size_t> Machine::Group(const Core& core, int mode) const {
    std::vector<size_t> members;
    for (size_t i = 0; i < cores_.size(); ++i) {
        const Core& other = *cores_[i];
        const bool same_type = other.is_aic == core.is_aic;
        const bool same_block = other.block == core.block;
        if (mode == 0 ? same_type : same_type && same_block) members.push_back(i);
    }
    return members;
}

void Machine::CrossSet(Core& core, int mode, int id, const Site& site) {
    if (!HasCrossCore(config_.kind)) {
        Fail("cross-core-flag", site,
             "CrossCoreSetFlag is called in a kernel launched as %s, which has no cross-core "
             "scheduling",
             KindName(config_.kind));
    }
    if (mode != 0 && config_.kind != KernelKind::kMixAic1Aiv2) {
        Fail("cross-core-flag", site,
             "CrossCoreSetFlag mode %d needs KERNEL_TYPE_MIX_AIC_1_2, but the kernel was launched "
             "as %s",
             mode, KindName(config_.kind));
    }
    if (mode == 1 && core.is_aic)
        Fail("cross-core-flag", site,
             "CrossCoreSetFlag mode 1 is between AIVs, but it is called on an AIC");
    Arrivals& mine = arrivals_[Position(core)][id];
    const bool in_use = mine.pending > 0 || core.cross_counter[id] > 0;
    if (mine.mode >= 0 && mine.mode != mode && in_use) {
        Fail("cross-core-flag", site,
             "flag %d is set with mode %d while its use with mode %d is not complete", id, mode,
             mine.mode);
    }
    Signal(core, mode, id, site);
    if (config_.schedule_seed != 0 && Random() % 2 == 0) {
        core.fiber.Pause();
        if (cancelling_) throw Cancelled{};
    }
}

// A set becomes a signal once every core of the setting group has set the flag. The mode decides
// which cores are signalled: with modes 0 and 1 the group itself, with mode 2 the cores of the
// other type in the same block.
void Machine::Signal(Core& core, int mode, int id, const Site& site) {
    Arrivals& mine = arrivals_[Position(core)][id];
    const std::vector<size_t> group = Group(core, mode);
    mine.mode = mode;
    mine.site = site;
    if (++mine.pending > kCrossCounterMax) {
        Fail("cross-core-counter", site,
             "flag %d was set %u times without its group following; the counter ends at %d", id,
             mine.pending, kCrossCounterMax);
    }
    for (const size_t member : group) {
        if (arrivals_[member][id].pending == 0) return;
    }
    for (const size_t member : group) --arrivals_[member][id].pending;
    std::vector<size_t> signalled_cores;
    for (size_t i = 0; i < cores_.size(); ++i) {
        Core& other = *cores_[i];
        const bool signalled = mode == 2 ? other.is_aic != core.is_aic && other.block == core.block
                                         : std::find(group.begin(), group.end(), i) != group.end();
        if (!signalled) continue;
        signalled_cores.push_back(i);
        if (++other.cross_counter[id] > kCrossCounterMax) {
            Fail("cross-core-counter", site,
                 "flag %d of %s was signalled more than %d times without a wait", id,
                 other.Name().c_str(), kCrossCounterMax);
        }
        if (mode == 2) {
            arrivals_[i][id].site = site;
            if (arrivals_[i][id].pending == 0) arrivals_[i][id].mode = mode;
        }
    }
    if (Clocks* watched = clocks()) watched->CrossSignal(group, signalled_cores, id, site);
    if (mutator_ != nullptr) mutator_->CrossSignal(group, signalled_cores, id);
}

void Machine::CrossWait(Core& core, int id, const Site& site) {
    if (!HasCrossCore(config_.kind)) {
        Fail("cross-core-flag", site,
             "CrossCoreWaitFlag is called in a kernel launched as %s, which has no cross-core "
             "scheduling",
             KindName(config_.kind));
    }
    while (core.cross_counter[id] == 0) {
        core.state = CoreState::kWaiting;
        core.waiting_flag = id;
        core.waiting_site = site;
        core.fiber.Pause();
        if (cancelling_) throw Cancelled{};
    }
    --core.cross_counter[id];
}

// "SyncAll硬件同步接口flagId占用范围为[11-14]" (SyncAll, constraints).
void Machine::RequireOwnFlag(const char* instruction, int id, const Site& site) {
    if (id < kFirstSyncAllFlag || id > kLastSyncAllFlag) return;
    if (sync_all_flag_.line == 0) sync_all_flag_ = site;
    if (sync_all_.line == 0) return;
    Fail("cross-core-flag", site,
         "%s uses flag %d, which belongs to SyncAll: the kernel calls SyncAll at %s", instruction,
         id, Where(sync_all_).c_str());
}

void Machine::RequireSyncAll(const Core& core, bool aiv_only, const Site& site) {
    const char* name = aiv_only ? "SyncAll<true>" : "SyncAll<false>";
    if (!HasCrossCore(config_.kind)) {
        Fail("cross-core-flag", site,
             "%s is called in a kernel launched as %s, which has no cross-core scheduling", name,
             KindName(config_.kind));
    }
    if (aiv_only && core.is_aic) {
        Fail("cross-core-flag", site, "%s joins the AIVs only, but it is called on an AIC", name);
    }
    if (!aiv_only && config_.kind != KernelKind::kMixAic1Aiv2) {
        Fail("cross-core-flag", site,
             "%s is called in a kernel launched as %s, which has one core type", name,
             KindName(config_.kind));
    }
    if (sync_all_.line == 0) sync_all_ = site;
    if (sync_all_flag_.line == 0) return;
    Fail("cross-core-flag", site,
         "%s takes cross-core flags %d to %d, one of which the kernel uses at %s", name,
         kFirstSyncAllFlag, kLastSyncAllFlag, Where(sync_all_flag_).c_str());
}

void Launch(const LaunchConfig& config, const std::function<void()>& kernel) {
    if (config.dry && config.sanitize != SanitizeMode::kOff) {
        throw std::invalid_argument("twin: a dry launch of '" + config.name +
                                    "' has no bytes to be checked");
    }
    Machine machine(config, kernel);
    machine.Run();
}

bool IsAic() { return Current().is_aic; }

bool Dry() { return Current().machine->config().dry; }

uint32_t BlockIndex() {
    // For an AIV of a mixed kernel this is 2 x block + sub-block, which is its number here too.
    return Current().index;
}

uint32_t SubBlockIndex() { return Current().sub_block; }

uint32_t BlockCount() { return Current().machine->block_count(); }

Local AllocateLocal(TraceBuffer buffer, uint64_t bytes, Site site) {
    Core& core = Current();
    const uint32_t capacity = core.Capacity(buffer);
    if (capacity == 0) {
        Fail("wrong-core", site, "an %s has no %s", core.is_aic ? "AIC" : "AIV",
             BufferName(buffer));
    }
    if (core.pipe_object == nullptr)
        Fail("no-pipe", site, "InitBuffer needs a TPipe, and none is alive");
    uint32_t& used = core.allocated[static_cast<int>(buffer)];
    if (bytes > capacity - used) {
        Fail("capacity", site,
             "InitBuffer asks for %llu bytes in %s, of which %u of %u bytes are taken",
             static_cast<unsigned long long>(bytes), BufferName(buffer), used, capacity);
    }
    if (++core.buffer_count > kMaxBuffers) {
        Fail("capacity", site, "InitBuffer initialises buffer %u, but a kernel has at most %u",
             core.buffer_count, kMaxBuffers);
    }
    Local local;
    local.buffer = buffer;
    local.pipe = core.live_pipe;
    local.offset = local.begin = used;
    local.end = used + static_cast<uint32_t>(bytes);
    local.data = core.memory[static_cast<int>(buffer)] + used;
    used = local.end;
    uint32_t& most = core.most_allocated[static_cast<int>(buffer)];
    most = std::max(most, used);
    ForgetContents(local);
    return local;
}

void RequirePipe(const void* pipe, const char* call, Site site) {
    const void* live = Current().pipe_object;
    if (live == pipe) return;
    Fail("no-pipe", site, "TPipe::%s is called on a TPipe that is not alive%s", call,
         live == nullptr ? "" : ": another one is");
}

void RequireAllocated(const char* call, const Local& local, Site site) {
    if (local.buffer == TraceBuffer::kNone) {
        Fail("not-initialised", site,
             "%s before InitBuffer: a device writes through a wild pointer", call);
    }
    RequireSamePipe(call, "the buffer", local, site);
}

void RequireUnallocated(uint16_t pipe, const char* what, Site site) {
    if (pipe == 0 || pipe != Current().live_pipe) return;
    Fail("initialised-twice", site,
         "InitBuffer is called for %s, which already has its memory; call TPipe::Reset first",
         what);
}

void ForgetContents(const Local& local) {
    const Core& core = Current();
    if (!Dry()) std::memset(local.data, kPoison, local.end - local.begin);
    if (Sanitizer* sanitizer = core.machine->sanitizer()) {
        sanitizer->Allocate(static_cast<uint32_t>(core.machine->Position(core)), local);
    }
}

Local PartOf(const Local& buffer, uint64_t byte_offset, uint64_t bytes, Site site) {
    Local part = buffer;
    part.offset += byte_offset;
    part.data += byte_offset;
    RequireInside("TBuf", "the part taken", part, 0, static_cast<int64_t>(bytes), site);
    RequireAligned("TBuf", "the part taken", part, kBlockBytes, site);
    part.begin = static_cast<uint32_t>(part.offset);
    part.end = static_cast<uint32_t>(part.offset + bytes);
    return part;
}

uint8_t* ScalarAccess(const Local& operand, uint32_t bytes, bool write, Site site) {
    const char* name = write ? "SetValue" : "GetValue";
    RequireInside(name, "tensor", operand, 0, bytes, site);
    RequireBuffer(name, "tensor", operand, TraceBuffer::kUb, site);
    const Accesses accesses(name, TracePipe::kS, site);
    if (write) {
        accesses.Write(operand, 0, bytes);
    } else {
        accesses.Read(operand, 0, bytes);
    }
    Record(TraceOp::kScalar, TracePipe::kS, site, [&](TraceRecord& record) {
        FillLocal(record, operand, bytes);
        record.args[0] = write ? 1 : 0;
    });
    return operand.data;
}

void DeclareKernelType(const char* type, Site site) {
    const char* launched = KindName(Current().machine->config().kind);
    if (std::strcmp(type, launched) != 0) {
        Fail("kernel-type", site, "the kernel declares %s but was launched as %s", type, launched);
    }
}

}  // namespace twin
