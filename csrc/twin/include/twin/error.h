// What the twin reports when a kernel breaks a rule of the hardware.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace twin {

/// One of the accesses to the bytes that a report is about.
struct Access {
    std::string core;         ///< e.g. "AIV 3"
    std::string pipe;         ///< e.g. "MTE2"
    std::string instruction;  ///< e.g. "DataCopy"
    std::string file;
    int line = 0;
    bool writes = false;
    std::string where;            ///< e.g. "UB" or "GM tensor 'out'"
    uint64_t first_byte = 0;      ///< offset in `where` of the first byte that it reads or writes
    uint64_t bytes = 0;           ///< from the first to the last byte that it reads or writes
    uint64_t conflict_first = 0;  ///< first of the conflicting bytes, which lie in that range
    uint64_t conflict_bytes = 0;
};

/// A broken rule, with the place in the kernel source that broke it.
///
/// `what()` is one paragraph with the rule, the kernel, the core, the source line and the values
/// involved, followed by a line for each access. The twin can be used again afterwards: all cores
/// of the launch have been unwound.
class Error : public std::runtime_error {
public:
    /// Throws std::logic_error for a code that is not one of kErrorCodes (twin/codes.h).
    Error(std::string code, std::string kernel, std::string core, std::string file, int line,
          std::string message, std::vector<Access> accesses = {}, std::string ordered_by = "");

    const std::string code;    ///< code of the rule, e.g. "out-of-bounds"; one of kErrorCodes
    const std::string kernel;  ///< name given to the launch
    const std::string core;    ///< e.g. "AIC 3"; "host" for errors of the launch itself
    const std::string file;
    const int line;
    const std::string message;  ///< what() without the other fields
    /// For "uninitialised": the access that reads. For races: the later access, then the earlier
    /// one, after which nothing orders it. Empty for other codes.
    const std::vector<Access> accesses;
    const std::string ordered_by;  ///< the calls that would order the two; empty without a race
};

}  // namespace twin
