// What the Ascend C headers of the twin need from the runtime. Not for kernels or hosts to include.
#pragma once

#include <cstddef>
#include <cstdint>

#include "twin/trace_format.h"

namespace twin {

/// Where in the kernel source an instruction was issued; taken as a default argument by every
/// instruction.
struct Site {
    const char* file;
    int line;
    static constexpr Site Here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return Site{file, line};
    }
};

/// Element types of Ascend C.
enum class DType : uint8_t { kI8, kU8, kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kI64, kU64 };

/// A local operand: `offset` bytes into `buffer`, allowed to touch [begin, end) of that buffer
/// only.
struct Local {
    uint8_t* data = nullptr;
    TraceBuffer buffer = TraceBuffer::kNone;
    uint16_t pipe = 0;    ///< which life of a TPipe handed it out, 0 for none
    uint32_t lease = 0;   ///< of a queue's tensor: which AllocTensor it came from
    uint64_t offset = 0;  ///< wide, so that an index far out of bounds does not wrap to a valid one
    uint32_t begin = 0;
    uint32_t end = 0;
};

/// A GM operand. `end` is null unless SetGlobalBuffer was told a size.
struct Global {
    uint8_t* data = nullptr;
    uint8_t* end = nullptr;
};

/// What a transfer to GM does with what is there.
enum class AtomicKind : uint8_t { kNone, kAdd, kMax, kMin };

/// The running core.
bool IsAic();
uint32_t BlockIndex();  ///< AIC: block; AIV of a mixed kernel: 2 * block + sub-block
uint32_t SubBlockIndex();
uint32_t BlockCount();

/// `pipe` is the live TPipe of the running core.
void RequirePipe(const void* pipe, const char* call, Site site);
/// The live TPipe has handed `local` out, and it has memory.
void RequireAllocated(const char* call, const Local& local, Site site);
/// `what` has nothing of the live TPipe, if it has something of one at all.
void RequireUnallocated(uint16_t pipe, const char* what, Site site);
/// Buffer memory of the running core; throws on overflow of the buffer's capacity.
Local AllocateLocal(TraceBuffer buffer, uint64_t bytes, Site site);
/// [byte_offset, byte_offset + bytes) of a buffer, as an allocation of its own.
Local PartOf(const Local& buffer, uint64_t byte_offset, uint64_t bytes, Site site);
/// Scalar access to a local buffer: checks and traces it, returns the host address.
uint8_t* ScalarAccess(const Local& operand, uint32_t bytes, bool write, Site site);

/// Events between two pipes of a core. `event` numbers HardEvent.
int AllocateEvent(int event, Site site);
int FetchEvent(int event, Site site);
void ReleaseEvent(int event, int id, Site site);
void SetEvent(int event, TracePipe source, TracePipe destination, int id, Site site);
void WaitEvent(int event, TracePipe source, TracePipe destination, int id, Site site);
void Barrier(TracePipe pipe, Site site);
void CrossSet(int mode, TracePipe pipe, int id, Site site);
void CrossWait(int id, Site site);
void SyncAll(bool aiv_only, Site site);

/// For the later transfers of the core to GM; `type` of their elements.
void SetAtomic(AtomicKind kind, DType type, Site site);

/// `up`, unless the launch changes this rounding (twin/mutation.h).
uint64_t Rounded(const char* name, uint64_t up, uint64_t none, uint64_t down, Site site);

/// The kernel declares its type; a launch of another type is an error.
void DeclareKernelType(const char* type, Site site);

[[noreturn]] void Fail(const char* code, Site site, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

}  // namespace twin
