// A small broken kernel and its corrected form for every rule of the twin: whether the rule is
// still found, and found where it is broken.
#pragma once

#include <string>
#include <vector>

namespace twin {

/// What became of one pair of kernels. Both run in full mode (SanitizeMode::kFull), unless that
/// finds another mistake before.
struct CheckResult {
    std::string code;  ///< that the broken kernel ends in
    std::string name;  ///< what is wrong with it
    std::string site;  ///< "file:line" of the instruction that breaks the rule
    /// Reported with this code at this line and with the values that belong there, and the twin
    /// works afterwards.
    bool broken_detected = false;
    bool fixed_clean = false;
    std::string report;        ///< what the broken kernel ended in; empty when nothing was found
    std::string fixed_report;  ///< likewise of the corrected one
};

/// Runs all pairs, in the order of kErrorCodes (codes.h). Takes well under a second.
std::vector<CheckResult> RunChecks();

}  // namespace twin
