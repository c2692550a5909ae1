// What the twin reports when a kernel breaks a rule of the hardware.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace twin {

/// Who touched the bytes that a report is about.
struct Access {
    std::string core;         ///< e.g. "AIV 3"
    std::string pipe;         ///< e.g. "MTE2"
    std::string instruction;  ///< e.g. "DataCopy"
    std::string file;
    int line = 0;
    bool writes = false;
    std::string where;            ///< e.g. "UB" or "GM tensor 'out'"
    uint64_t first_byte = 0;      ///< there, of all that the instruction reads, or writes
    uint64_t bytes = 0;           ///< from its first to its last byte
    uint64_t conflict_first = 0;  ///< of the bytes in question, which lie in the above
    uint64_t conflict_bytes = 0;
};

/// A broken rule, with the place in the kernel source that broke it.
///
/// `what()` is one paragraph: rule, kernel, core, source line and the values involved; then a line
/// for each access. The twin can be used again after it: all cores of the launch have been unwound.
class Error : public std::runtime_error {
public:
    /// Throws std::logic_error for a code that is not one of kErrorCodes (twin/codes.h).
    Error(std::string code, std::string kernel, std::string core, std::string file, int line,
          std::string message, std::vector<Access> accesses = {}, std::string ordered_by = "");

    const std::string code;    ///< of the rule, e.g. "out-of-bounds"; one of kErrorCodes
    const std::string kernel;  ///< name given to the launch
    const std::string core;    ///< e.g. "AIC 3"; "host" for errors of the launch itself
    const std::string file;
    const int line;
    const std::string message;  ///< what() without the other fields
    /// Of "uninitialised" the one that reads, of races the later one and then the one that nothing
    /// orders it after; none of other codes.
    const std::vector<Access> accesses;
    const std::string ordered_by;  ///< the calls that would order them; empty without a race
};

}  // namespace twin
