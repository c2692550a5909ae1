// The state of a core while a launch runs: its buffers, events, flags and trace. Private to the
// twin.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ascendc/types.h"
#include "fiber.h"
#include "mutation.h"
#include "queue.h"
#include "sanitizer.h"
#include "twin/detail.h"
#include "twin/launch.h"

namespace twin {

constexpr int kEventIds = 8;
constexpr int kUserEventIds = 6;  ///< 6 and 7 belong to the framework (SetFlag-WaitFlag(ISASI))
/// TPipe sets ids 0 to 2 of M_MTE1 on an AIC and waits for them when its life ends (TPipe::Init and
/// DestroyWithoutPipeAll in impl/basic_api/kernel_tpipe_impl.h of asc-devkit; CANN 8.1 does too).
constexpr int kPipeEventIds = 3;
constexpr int kCrossFlags = 16;
constexpr int kCrossCounterMax = 15;
constexpr int kFirstSyncAllFlag = 11;  ///< SyncAll uses flags 11 to 14 (SyncAll, constraints)
constexpr int kLastSyncAllFlag = 14;
constexpr int kHardEvents = static_cast<int>(AscendC::HardEvent::MAX);
constexpr int kLocalBuffers = 7;
constexpr uint32_t kMaxBuffers = 64;     ///< maximum per kernel (InitBuffer, constraints)
constexpr uint32_t kBlockBytes = 32;     ///< data block of UB and L1
constexpr uint32_t kFractalBytes = 512;  ///< 16 rows of 32 bytes

class Machine;

/// Host memory that holds the local buffers of all cores of a launch.
struct BufferMemory {
    struct Free {
        void operator()(uint8_t* data) const { std::free(data); }
    };
    std::unique_ptr<uint8_t, Free> data;
    size_t bytes = 0;
};

/// Thrown into the cores that are still waiting when another one has failed.
struct Cancelled {};

/// The state that SetAtomicAdd, SetAtomicMax, SetAtomicMin and SetAtomicNone set.
struct Atomic {
    AtomicKind kind = AtomicKind::kNone;
    DType type = DType::kF32;
};

enum class CoreState : uint8_t { kReady, kWaiting, kFinished };

struct Core {
    Machine* machine = nullptr;
    bool is_aic = false;
    uint32_t index = 0;  ///< position among the cores of its type
    uint32_t block = 0;
    uint32_t sub_block = 0;

    std::array<uint8_t*, kLocalBuffers> memory{};
    std::array<uint32_t, kLocalBuffers> allocated{};
    std::array<uint32_t, kLocalBuffers> most_allocated{};
    std::array<std::bitset<kEventIds>, kHardEvents> event_set{};
    std::array<std::bitset<kEventIds>, kHardEvents> event_taken{};
    std::array<std::array<Site, kEventIds>, kHardEvents> event_site{};
    std::array<std::array<const CallSite*, kEventIds>, kHardEvents> event_set_by{};
    std::array<std::array<const CallSite*, kEventIds>, kHardEvents> event_taken_by{};
    std::array<uint8_t, kCrossFlags> cross_counter{};
    uint32_t buffer_count = 0;
    void* pipe_object = nullptr;  ///< the live TPipe
    uint16_t pipe_lives = 0;      ///< TPipe lives so far: constructors, Init and Reset start one
    uint16_t live_pipe = 0;       ///< number of the current TPipe life, 0 if there is none
    CoreQueues queues;
    Site last_instruction{"start", 0};
    bool has_worked = false;  ///< it has issued an instruction since its last CrossCoreWaitFlag
    Atomic atomic;

    CoreState state = CoreState::kReady;
    int waiting_flag = -1;
    Site waiting_site{"", 0};
    Fiber fiber;
    std::vector<TraceRecord>* trace = nullptr;

    std::string Name() const;
    uint32_t Capacity(TraceBuffer buffer) const;
};

/// One launch: all cores, the GM map and the cross-core flags.
class Machine {
public:
    Machine(const LaunchConfig& config, const std::function<void()>& kernel);
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    void Run();

    const LaunchConfig& config() const { return config_; }
    /// Null if the sanitizer is off.
    Sanitizer* sanitizer() const { return sanitizer_.get(); }
    /// Null if the launch does not look for races.
    Clocks* clocks() const { return sanitizer_ == nullptr ? nullptr : sanitizer_->clocks(); }
    /// Null if the launch neither records nor changes calls.
    Mutator* mutator() const { return mutator_.get(); }
    /// Index into cores_ and arrivals_.
    size_t Position(const Core& core) const {
        return core.is_aic ? core.index : AicCount() + core.index;
    }
    std::string CoreName(size_t position) const;
    uint32_t block_count() const { return block_count_; }
    /// Index of the registered tensor that holds [address, address + bytes), or -1. If several do,
    /// it is the first one registered; for a write, the first writable one if there is one.
    int FindTensor(const uint8_t* address, uint64_t bytes, bool write) const;
    uint32_t SiteIndex(const Site& site);
    void CrossSet(Core& core, int mode, int id, const Site& site);
    void CrossWait(Core& core, int id, const Site& site);
    /// Fails if SyncAll may not be called here, or if the kernel itself uses one of its flags.
    void RequireSyncAll(const Core& core, bool aiv_only, const Site& site);
    /// Fails if flag `id` is one of SyncAll's and the kernel has called SyncAll.
    void RequireOwnFlag(const char* instruction, int id, const Site& site);

private:
    void RunCore(Core& core);
    void Resume(Core& core);
    /// The core that runs next; null if none can.
    Core* NextCore();
    uint64_t Random();
    uint32_t AicCount() const;
    /// Notes a set by `core`. Once the whole group has set the flag, the sets become a signal.
    void Signal(Core& core, int mode, int id, const Site& site);
    /// Positions of the cores that have to set a flag together with `core`.
    std::vector<size_t> Group(const Core& core, int mode) const;
    void CheckCoreEnd(const Core& core) const;
    void CheckFlagsPaired() const;
    void FillBufferUsage() const;
    [[noreturn]] void ReportDeadlock() const;

    /// Sets of one flag by one core that have not yet become a signal.
    struct Arrivals {
        int mode = -1;
        uint32_t pending = 0;
        Site site{"", 0};
    };

    LaunchConfig config_;
    const std::function<void()>& kernel_;
    uint32_t block_count_ = 0;
    std::vector<std::unique_ptr<Core>> cores_;
    BufferMemory memory_;
    std::vector<std::array<Arrivals, kCrossFlags>> arrivals_;  ///< per core
    std::unique_ptr<Sanitizer> sanitizer_;
    std::unique_ptr<Mutator> mutator_;
    std::unordered_map<std::string, uint32_t> site_index_;
    std::unordered_map<const char*, std::unordered_map<int, uint32_t>> site_cache_;
    Site sync_all_{"", 0};       ///< the first SyncAll of the launch
    Site sync_all_flag_{"", 0};  ///< the first use of one of its flags
    size_t turn_ = 0;            ///< position of the core whose turn is next
    uint64_t random_ = 0;
    bool cancelling_ = false;
    std::exception_ptr failure_;
};

/// The core whose fiber is running.
Core& Current();
bool InLaunch();

/// "file:line"
std::string Where(const Site& site);
const char* EventName(int event);
/// The first id of an event that TPipe does not keep for itself on the running core.
int FirstEventId(int event);
const char* DTypeName(DType type);
uint32_t DTypeBytes(DType type);
const char* BufferName(TraceBuffer buffer);
const char* PipeName(TracePipe pipe);

/// Whether the launch runs control flow only: instructions are checked and traced, but do nothing.
/// The exception is loads into UB, whose data the scalar unit may read.
bool Dry();

/// Rules that every instruction applies. A broken one ends in Fail, with the name of the
/// instruction and the values.
void RequireAic(const char* instruction, const Site& site);
void RequireAiv(const char* instruction, const Site& site);
void RequireBuffer(const char* instruction, const char* operand, const Local& local,
                   TraceBuffer buffer, const Site& site);
void RequireRange(const char* instruction, const char* parameter, int64_t value, int64_t low,
                  int64_t high, const Site& site);
/// For a parameter that is passed as a plain number, not in a Field: `limit` is the maximum that
/// its bits hold.
void RequireField(const char* instruction, const char* parameter, int64_t value, int64_t limit,
                  const Site& site);
void RequireAligned(const char* instruction, const char* operand, const Local& local,
                    uint32_t alignment, const Site& site);
/// The operand was handed out by the live TPipe.
void RequireSamePipe(const char* instruction, const char* operand, const Local& local,
                     const Site& site);
/// [offset + first, offset + last) lies inside the operand's allocation.
void RequireInside(const char* instruction, const char* operand, const Local& local, int64_t first,
                   int64_t last, const Site& site);
/// `count` blocks of `bytes`, whose starts are `stride` bytes apart, lie inside one registered
/// tensor, which for a write has to be writable. Returns the index of the tensor.
int RequireGm(const char* instruction, const Global& global, uint64_t bytes, uint64_t count,
              uint64_t stride, bool write, const Site& site);

/// The current atomic mode of the core allows elements of `type` to be stored to GM.
void RequireAtomicType(const char* instruction, DType type, const Site& site);
/// Updates `bytes` bytes at `gm` atomically: adds those at `from`, or takes the maximum or minimum.
void UpdateInGm(const Atomic& atomic, uint8_t* gm, const uint8_t* from, uint64_t bytes,
                const Site& site);

/// Records that a call was reached, and returns how a mutation changes it; see Mutator::Meet.
template <typename Kind>
MetCall Meet(const char* name, int detail, const Site& site, const Kind& kind) {
    const Core& core = Current();
    Mutator* mutator = core.machine->mutator();
    if (mutator == nullptr) return {};
    return mutator->Meet(name, detail, site, core.last_instruction, kind);
}

/// SetFlag and WaitFlag without the checks of their arguments. `call` is the kernel's call that
/// they come from.
void IssueSetEvent(int event, TracePipe source, TracePipe destination, int id, const Site& site,
                   const CallSite* call);
void IssueWaitEvent(int event, TracePipe source, TracePipe destination, int id, const Site& site,
                    const CallSite* call);

/// Makes the contents of a buffer undefined, as they are whenever one is handed out.
void ForgetContents(const Local& local);
/// Fails if a tensor of a queue has been freed.
void RequireLive(const char* instruction, const char* operand, const Local& local,
                 const Site& site);

/// Reports to the sanitizer what an instruction reads and writes, reads before writes. If the
/// sanitizer finds an error, the destructor throws it, when all accesses are known.
class Accesses {
public:
    Accesses(const char* instruction, TracePipe pipe, const Site& site,
             Product product = Product::kNone);
    ~Accesses() noexcept(false);
    Accesses(const Accesses&) = delete;
    Accesses& operator=(const Accesses&) = delete;

    /// Accesses to bytes [first, first + bytes) from the start of an operand.
    void Read(const Local& local, int64_t first, int64_t bytes) const;
    void Write(const Local& local, int64_t first, int64_t bytes) const;
    /// Copies bytes without using them, so undefined bytes are no error; see Sanitizer::MoveLocal.
    void Move(const Local& dst, int64_t dst_first, const Local& src, int64_t src_first,
              int64_t bytes) const;
    void Read(int tensor, const Global& global, uint64_t bytes) const;
    void Write(int tensor, const Global& global, uint64_t bytes) const;
    /// Returns Sanitizer::Written. May be called only if On().
    uint8_t* Written(const Local& local, int64_t first) const {
        return sanitizer_->Written(local, first);
    }
    bool On() const { return sanitizer_ != nullptr; }

private:
    uint64_t Offset(int tensor, const Global& global) const;

    Sanitizer* sanitizer_;
};

/// Name of the registered tensor that holds the address, or "none".
std::string TensorName(const Global& global);

/// Appends a record if the launch is traced. `fill` gets a zeroed record whose op, pipe and site
/// are set.
template <typename Fill>
void Record(TraceOp op, TracePipe pipe, const Site& site, Fill&& fill) {
    Core& core = Current();
    if (core.trace == nullptr) return;
    TraceRecord record{};
    record.op = op;
    record.pipe = pipe;
    record.tensor = kNoTensor;
    record.buffer = TraceBuffer::kNone;
    record.site = core.machine->SiteIndex(site);
    fill(record);
    core.trace->push_back(record);
}
void FillGm(TraceRecord& record, int tensor, const Global& global, uint64_t bytes, uint64_t count,
            uint64_t stride);
void FillLocal(TraceRecord& record, const Local& local, uint32_t bytes);

}  // namespace twin
