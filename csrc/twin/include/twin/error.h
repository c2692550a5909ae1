// What the twin reports when a kernel breaks a rule of the hardware.
#pragma once

#include <stdexcept>
#include <string>

namespace twin {

/// A broken rule, with the place in the kernel source that broke it.
///
/// `what()` is one paragraph: rule, kernel, core, source line and the values involved. The twin can
/// be used again after it: all cores of the launch have been unwound.
class Error : public std::runtime_error {
public:
    /// Throws std::logic_error for a code that is not one of kErrorCodes (twin/codes.h).
    Error(std::string code, std::string kernel, std::string core, std::string file, int line,
          const std::string& message);

    const std::string code;    ///< of the rule, e.g. "out-of-bounds"; one of kErrorCodes
    const std::string kernel;  ///< name given to the launch
    const std::string core;    ///< e.g. "AIC 3"; "host" for errors of the launch itself
    const std::string file;
    const int line;
};

}  // namespace twin
