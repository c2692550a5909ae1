// The trace that a twin launch can write: what every core issued, in program order.
//
// There is one TraceRecord per instruction, grouped by core. A trace carries everything that a
// timing model needs to replay the launch (pipes, bytes, GM address ranges, flags) and nothing
// about the data. Layout of the serialised form, all little endian:
//   TraceHeader
//   TraceCore   [core_count]      first record and record count of each core
//   TraceTensor [tensor_count]    the GM tensors given to the launch, in order
//   TraceRecord [record_count]
//   site strings: for each of site_count sites "file:line\0"; then tensor names, each
//   "\0"-terminated, then the kernel name and the chip name, each "\0"-terminated
#pragma once

#include <cstdint>

namespace twin {

constexpr uint32_t kTraceMagic = 0x52545741;  // "AWTR"
constexpr uint32_t kTraceVersion = 1;
constexpr uint16_t kNoTensor = 0xFFFF;

/// The operation of a record. The comments give its pipe and its arguments.
enum class TraceOp : uint8_t {
    kLoad = 0,      ///< GM -> UB or L1 (MTE2): GM range, local range
    kStore = 1,     ///< UB -> GM (MTE3): GM range, local range; args = how it updates the bytes
                    ///< there: 0 overwrites, 1 adds, 2 takes the maximum, 3 the minimum
    kMove = 2,      ///< L1 -> L0A / L0B (MTE1) or the fixpipe buffer (FIX): local range is the
                    ///< destination; args = fractals (to L0), 1 when transposed
    kMmad = 3,      ///< cube (M): args = m, n, k, element bytes of A, 1 when it accumulates
    kFixpipe = 4,   ///< L0C -> GM (FIX): GM range, local range is the L0C source; args = rows,
                    ///< columns, element bytes of L0C, element bytes of GM, update as in kStore
    kVector = 5,    ///< vector (V): args = repeats, bytes of destination written, element bytes
    kScalar = 6,    ///< scalar access to a local buffer (S): local range
    kSetFlag = 7,   ///< args = source pipe, destination pipe, event id
    kWaitFlag = 8,  ///< args = source pipe, destination pipe, event id
    kBarrier = 9,   ///< pipe barrier: `pipe` is the pipe that it holds (or all)
    kCrossSet =
        10,  ///< cross-core set: args = mode, flag id; ordered after earlier work of its pipe
    kCrossWait = 11  ///< cross-core wait: args = flag id; holds all later work of the core
};

/// Pipes, numbered independently of any toolkit's pipe_t.
enum class TracePipe : uint8_t {
    kS = 0,
    kV = 1,
    kM = 2,
    kMte1 = 3,
    kMte2 = 4,
    kMte3 = 5,
    kFix = 6,
    kAll = 7
};

/// Local buffers of a core.
enum class TraceBuffer : uint8_t {
    kUb = 0,
    kL1 = 1,
    kL0a = 2,
    kL0b = 3,
    kL0c = 4,
    kBias = 5,
    kFixpipe = 6,
    kNone = 255
};

/// The first bytes of the serialised form.
struct TraceHeader {
    uint32_t magic;
    uint32_t version;
    uint32_t core_count;
    uint32_t aic_count;  ///< cores [0, aic_count) are AIC, the rest AIV (AIV 2i and 2i+1 belong to
                         ///< AIC i)
    uint32_t tensor_count;
    uint32_t site_count;
    uint64_t record_count;
};

/// Where a core's records are.
struct TraceCore {
    uint64_t first_record;
    uint64_t record_count;
};

/// A GM tensor of the launch.
struct TraceTensor {
    uint64_t address;  ///< virtual GM address of its first byte; differs from run to run
    uint64_t bytes;
    uint32_t writable;  ///< 0 for inputs and weights
    uint32_t reserved;
};

/// One instruction. Its GM range is `block_count` blocks of `block_bytes` bytes, whose starts are
/// `block_stride` bytes apart; the first starts `gm_offset` bytes into the tensor.
struct TraceRecord {
    TraceOp op;
    TracePipe pipe;
    uint16_t tensor;  ///< index into the tensor table; kNoTensor if there is no GM operand
    uint32_t site;    ///< index into the site table
    uint64_t gm_offset;
    uint64_t block_stride;
    uint32_t block_bytes;
    uint32_t block_count;
    TraceBuffer buffer;
    uint8_t reserved[3];
    uint32_t local_offset;  ///< bytes from the start of the local buffer
    uint32_t local_bytes;   ///< bytes between the first and the last local byte touched
    uint32_t args[5];
};
static_assert(sizeof(TraceRecord) == 64, "the serialised form is fixed");
static_assert(sizeof(TraceHeader) == 32, "the serialised form is fixed");

}  // namespace twin
