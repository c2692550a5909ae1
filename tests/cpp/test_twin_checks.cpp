// Every rule of the twin has a kernel that breaks it and is reported, and a corrected one that is
// clean.
#include <set>
#include <string>
#include <utility>

#include "check.h"
#include "twin/checks.h"
#include "twin/codes.h"

TEST(every_broken_kernel_is_reported_at_its_line) {
    for (const twin::CheckResult& result : twin::RunChecks()) {
        check::Report(result.broken_detected, __FILE__, __LINE__,
                      result.code + " (" + result.name + ") at " + result.site + ": \"" +
                          result.report + "\"");
    }
}

TEST(every_corrected_kernel_is_clean) {
    for (const twin::CheckResult& result : twin::RunChecks()) {
        check::Report(result.fixed_clean, __FILE__, __LINE__,
                      result.code + " (" + result.name + ") at " + result.site + ": \"" +
                          result.fixed_report + "\"");
    }
}

TEST(every_code_has_a_pair_and_every_pair_a_name_of_its_own) {
    std::set<std::string> codes;
    std::set<std::pair<std::string, std::string>> names;
    for (const twin::CheckResult& result : twin::RunChecks()) {
        codes.insert(result.code);
        CHECK(names.emplace(result.code, result.name).second);
    }
    for (const auto& [code, summary] : twin::kErrorCodes) {
        check::Report(codes.count(code) == 1, __FILE__, __LINE__, code + std::string(": no pair"));
    }
}
