// What twin::Error holds, and the table of its codes.
#include <set>
#include <string>

#include "twin/codes.h"
#include "twin_fixture.h"

TEST(codes_are_told_apart_and_have_a_line_each) {
    std::set<std::string> seen;
    for (const auto& [code, summary] : twin::kErrorCodes) {
        CHECK(seen.insert(code).second);
        CHECK_EQ(twin::FindErrorCode(code)->code, std::string(code));
        const std::string line = summary;
        CHECK(line.size() >= 20 && line.size() <= 90);
        CHECK_EQ(line.find('\n'), std::string::npos);
    }
    CHECK(twin::FindErrorCode("no-such-code") == nullptr);
}

TEST(an_error_of_an_unknown_code_cannot_be_made) {
    CHECK_THROWS_WITH(twin::Error("no-such-code", "kernel", "AIC 0", "file", 1, "text"),
                      std::logic_error, "'no-such-code' is not in kErrorCodes");
}
