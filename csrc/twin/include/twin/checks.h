// Self-test of the twin: for every rule, a small kernel that breaks it and the corrected kernel.
// Shows whether the twin still reports the rule, and reports it at the line that breaks it.
#pragma once

#include <string>
#include <vector>

namespace twin {

/// The outcome of one pair of kernels. Both run with SanitizeMode::kFull, unless that mode would
/// find another mistake first.
struct CheckResult {
    std::string code;  ///< the error code that the broken kernel has to end in
    std::string name;  ///< what is wrong with it
    std::string site;  ///< "file:line" of the instruction that breaks the rule
    /// The broken kernel was reported with this code, at this line and with the expected values,
    /// and the twin works afterwards.
    bool broken_detected = false;
    bool fixed_clean = false;  ///< nothing was reported for the corrected kernel
    std::string report;        ///< the error of the broken kernel; empty when nothing was found
    std::string fixed_report;  ///< the error of the corrected kernel; empty when it is clean
};

/// Runs all pairs, in the order of kErrorCodes (codes.h). Takes well under a second.
std::vector<CheckResult> RunChecks();

}  // namespace twin
