// The codes of twin::Error: every rule that the twin enforces, with what breaking it means.
#pragma once

#include <string_view>

namespace twin {

struct ErrorCode {
    const char* code;     ///< stable; what Error::code holds
    const char* summary;  ///< one sentence: what the kernel does wrong
};

/// All codes. The constructor of Error rejects any other.
inline constexpr ErrorCode kErrorCodes[] = {
    {"out-of-bounds",
     "An access leaves its allocation, every GM tensor, or the size given to SetGlobalBuffer."},
    {"write-to-input", "The kernel writes to a GM tensor that the launch registered as an input."},
    {"misaligned", "A start address or a length is not a multiple of the documented alignment."},
    {"parameter-range", "A count, stride, mask or repeat is outside of its documented range."},
    {"field-overflow",
     "A count, length, stride or repeat does not fit into the bits of its field."},
    {"capacity",
     "InitBuffer asks for more than a buffer holds, or for more buffers than a kernel has."},
    {"wrong-core", "This core type does not have the instruction, the pipe or the buffer."},
    {"wrong-buffer", "An operand is in a buffer that the instruction does not take it from."},
    {"overlap", "Operands overlap in a way whose result is not documented."},
    {"round-mode", "Cast has a rounding mode that this pair of types does not take."},
    {"integer-overflow", "Integer arithmetic leaves its type; the result is not documented."},
    {"negative-to-unsigned", "Cast converts a negative number to an unsigned type."},
    {"not-positive", "Sqrt takes a number that is not positive; the result is not documented."},
    {"event-id",
     "An event id is out of range, not taken or never released, or no id is left to take."},
    {"event-set-twice", "SetFlag sets an event that is already set and has not been waited for."},
    {"unpaired-event", "WaitFlag has no SetFlag before it, or a SetFlag is never waited for."},
    {"free-without-alloc", "FreeTensor gets a tensor that this queue has not handed out."},
    {"double-free", "FreeTensor gets a tensor that has already been freed."},
    {"use-after-free", "An instruction or EnQue uses a tensor that has been freed."},
    {"queue-no-buffer", "AllocTensor is called on a queue that has no idle buffer."},
    {"queue-full", "EnQue is called on a queue that already holds as many tensors as its depth."},
    {"queue-empty", "DeQue is called on an empty queue."},
    {"queue-foreign-tensor", "EnQue gets a tensor that this queue has not handed out."},
    {"queue-order",
     "EnQue or FreeTensor gets a queued tensor, or DeQue is for another pipe than EnQue was."},
    {"tensor-not-freed", "A tensor of a queue is never freed."},
    {"cross-core-flag",
     "The kernel type, or the way the flag is used, does not allow this cross-core call."},
    {"cross-core-counter", "A cross-core flag is set more than 15 times ahead of its waits."},
    {"unpaired-cross-core-flag", "A cross-core flag is set more often than it is waited for."},
    {"deadlock", "No core can go on: all wait for cross-core flags that no core sets."},
    {"kernel-type", "The kernel declares another type than the one it is launched as."},
    {"no-pipe", "A call needs a TPipe, and none is alive."},
    {"two-pipes", "A second TPipe is constructed while the first one is alive."},
    {"not-initialised", "A TBuf, queue or tensor is used before it has been given memory."},
    {"initialised-twice", "InitBuffer is called for a TBuf or queue that already has its memory."},
    {"use-after-pipe", "A TBuf, queue or tensor is used after its TPipe has ended or was reset."},
    {"unsupported", "The twin does not have this documented form of an instruction."},
    {"uninitialised", "The kernel uses bytes that nothing has written."},
    {"pipe-race",
     "Two pipes of a core touch the same bytes, one writes, and no event orders them."},
    {"missing-barrier", "A pipe touches bytes that its own earlier instruction may still work on."},
    {"event-reuse", "An event is set again before its pipe can know that the last wait is over."},
    {"cross-core-repeat",
     "A cross-core flag is set again before its last wait is known to be over."},
    {"cross-core-order", "A cross-core wait could be met by either of two signals of one flag id."},
    {"core-race", "Two cores touch the same GM bytes, one writes, and no flag orders them."},
};

/// Returns null for a string that is not a code.
constexpr const ErrorCode* FindErrorCode(std::string_view code) {
    for (const ErrorCode& known : kErrorCodes) {
        if (code == known.code) return &known;
    }
    return nullptr;
}

}  // namespace twin
