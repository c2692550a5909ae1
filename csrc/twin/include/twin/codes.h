// The codes of twin::Error: every rule that the twin enforces, with what breaking it means.
#pragma once

#include <string_view>

namespace twin {

struct ErrorCode {
    const char* code;     ///< stable; what Error::code holds
    const char* summary;  ///< one line
};

/// All codes. The constructor of Error rejects any other.
inline constexpr ErrorCode kErrorCodes[] = {
    {"out-of-bounds",
     "an access leaves its buffer's allocation, every GM tensor, or SetGlobalBuffer's size"},
    {"write-to-input", "a write to a GM tensor that the launch registered as input"},
    {"misaligned", "a start address or a length is no multiple of the documented alignment"},
    {"parameter-range", "a count, stride, mask or repeat outside of its documented range"},
    {"field-overflow", "a count, length, stride or repeat that the bits of its field cannot hold"},
    {"capacity", "InitBuffer beyond the size of a buffer, or of more buffers than a kernel has"},
    {"wrong-core", "an instruction, pipe or buffer that this core type does not have"},
    {"wrong-buffer", "an operand in a buffer that the instruction does not take it from"},
    {"overlap", "operands that overlap in a way whose result is not documented"},
    {"round-mode", "Cast with a rounding mode that this pair of types does not take"},
    {"integer-overflow", "integer arithmetic beyond its type, whose result is not documented"},
    {"negative-to-unsigned", "Cast of a negative number to an unsigned type"},
    {"not-positive", "Sqrt of a number that is not positive, whose result is not documented"},
    {"event-id", "an event id out of range, not taken, never released, or none left to take"},
    {"event-set-twice", "SetFlag of an event that is set and has not been waited for"},
    {"unpaired-event", "WaitFlag without a SetFlag before it, or SetFlag never waited for"},
    {"free-without-alloc", "FreeTensor of a tensor that this queue has not handed out"},
    {"double-free", "FreeTensor of a tensor that has been freed"},
    {"use-after-free", "an instruction on, or EnQue of, a tensor that has been freed"},
    {"queue-no-buffer", "AllocTensor of a queue that has no idle buffer"},
    {"queue-full", "EnQue into a queue that holds as many tensors as its depth"},
    {"queue-empty", "DeQue of an empty queue"},
    {"queue-foreign-tensor", "EnQue of a tensor that this queue has not handed out"},
    {"queue-order", "EnQue or FreeTensor of a queued tensor, or DeQue for another pipe than EnQue"},
    {"tensor-not-freed", "a tensor of a queue that is never freed"},
    {"cross-core-flag", "a cross-core call that this kernel type or the flag's use does not allow"},
    {"cross-core-counter", "a cross-core flag set more than 15 times ahead of its waits"},
    {"unpaired-cross-core-flag", "a cross-core flag set more often than it is waited for"},
    {"deadlock", "no core can go on: all wait for cross-core flags that nobody sets"},
    {"kernel-type", "the kernel declares another type than it is launched as"},
    {"no-pipe", "a call that needs a live TPipe"},
    {"two-pipes", "a second TPipe while the first one lives"},
    {"not-initialised", "a TBuf, queue or tensor is used that has been given no memory"},
    {"initialised-twice", "InitBuffer of a TBuf or queue that has its memory already"},
    {"use-after-pipe", "a TBuf, queue or tensor is used whose TPipe has ended or was reset"},
    {"unsupported", "a documented form of an instruction that the twin does not have"},
    {"uninitialised", "bytes are used that nothing has written"},
    {"pipe-race", "two pipes of a core touch the same bytes, one writes, and no event orders them"},
    {"missing-barrier", "a pipe touches bytes that its own earlier instruction may still work on"},
    {"event-reuse", "an event is set again before its pipe can know that the last wait is over"},
    {"cross-core-repeat",
     "a cross-core flag is set again before its last wait is known to be over"},
    {"cross-core-order", "a cross-core wait could be met by either of two signals of one flag id"},
    {"core-race", "two cores touch the same GM bytes, one writes, and no flag orders them"},
};

/// Returns null for a string that is not a code.
constexpr const ErrorCode* FindErrorCode(std::string_view code) {
    for (const ErrorCode& known : kErrorCodes) {
        if (code == known.code) return &known;
    }
    return nullptr;
}

}  // namespace twin
