// What the twin's Ascend C headers need from its runtime. Neither kernels nor host code include
// this header.
#pragma once

#include <cstddef>
#include <cstdint>

#include "twin/trace_format.h"

namespace twin {

/// Where in the kernel source an instruction was issued. Every instruction takes it as a default
/// argument.
struct Site {
    const char* file;
    int line;
    static constexpr Site Here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return Site{file, line};
    }
};

/// Element types of Ascend C.
enum class DType : uint8_t { kI8, kU8, kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kI64, kU64 };

/// A local operand, which starts `offset` bytes into `buffer` and may touch only bytes [begin, end)
/// of that buffer.
struct Local {
    uint8_t* data = nullptr;
    TraceBuffer buffer = TraceBuffer::kNone;
    uint16_t pipe = 0;    ///< number of the TPipe life that handed it out, 0 for none
    uint32_t lease = 0;   ///< number of the AllocTensor that a queue's tensor came from
    uint64_t offset = 0;  ///< wide, so that an index far out of bounds does not wrap to a valid one
    uint32_t begin = 0;
    uint32_t end = 0;
};

/// A GM operand. `end` is null unless SetGlobalBuffer was given a size.
struct Global {
    uint8_t* data = nullptr;
    uint8_t* end = nullptr;
};

/// How a transfer to GM combines its data with the bytes already there; kNone overwrites them.
enum class AtomicKind : uint8_t { kNone, kAdd, kMax, kMin };

/// Whether the running core is an AIC. The next functions give its position in the launch.
bool IsAic();
uint32_t BlockIndex();  ///< AIC: block; AIV of a mixed kernel: 2 * block + sub-block
uint32_t SubBlockIndex();
uint32_t BlockCount();

/// Fails unless `pipe` is the live TPipe of the running core.
void RequirePipe(const void* pipe, const char* call, Site site);
/// Fails unless `local` has memory and the live TPipe has handed it out.
void RequireAllocated(const char* call, const Local& local, Site site);
/// Fails if `what`, whose memory comes from TPipe life `pipe` (0: it has none), has memory of the
/// live TPipe already.
void RequireUnallocated(uint16_t pipe, const char* what, Site site);
/// Allocates buffer memory of the running core. Fails where the buffer's capacity is exceeded.
Local AllocateLocal(TraceBuffer buffer, uint64_t bytes, Site site);
/// Returns [byte_offset, byte_offset + bytes) of a buffer, as an allocation of its own.
Local PartOf(const Local& buffer, uint64_t byte_offset, uint64_t bytes, Site site);
/// Checks and traces a scalar access to a local buffer, and returns its host address.
uint8_t* ScalarAccess(const Local& operand, uint32_t bytes, bool write, Site site);

/// Synchronisation. Events are between two pipes of a core; `event` is a value of HardEvent.
int AllocateEvent(int event, Site site);
int FetchEvent(int event, Site site);
void ReleaseEvent(int event, int id, Site site);
void SetEvent(int event, TracePipe source, TracePipe destination, int id, Site site);
void WaitEvent(int event, TracePipe source, TracePipe destination, int id, Site site);
void Barrier(TracePipe pipe, Site site);
void CrossSet(int mode, TracePipe pipe, int id, Site site);
void CrossWait(int id, Site site);
void SyncAll(bool aiv_only, Site site);

/// Sets how the later transfers of the running core to GM combine with what is there; `type` is the
/// type of their elements.
void SetAtomic(AtomicKind kind, DType type, Site site);

/// Returns `up`, unless a mutation of the launch asks for the value without rounding (`none`) or
/// rounded down (`down`); see twin/mutation.h.
uint64_t Rounded(const char* name, uint64_t up, uint64_t none, uint64_t down, Site site);

/// Fails unless the kernel was launched as the type that it declares.
void DeclareKernelType(const char* type, Site site);

/// Throws twin::Error with this code, for the running core.
[[noreturn]] void Fail(const char* code, Site site, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

}  // namespace twin
