// Usage: test_x [--list | NAME...]
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "check.h"

namespace check {
namespace {

int checks = 0;
int failed_checks = 0;

bool Run(const Test& test) {
    checks = 0;
    failed_checks = 0;
    try {
        test.run();
        if (checks == 0) {
            std::printf("%s: checked nothing\n", test.name);
            ++failed_checks;
        }
    } catch (const std::exception& error) {
        std::printf("%s: exception: %s\n", test.name, error.what());
        ++failed_checks;
    }
    std::printf("%s %s\n", failed_checks ? "FAILED" : "ok", test.name);
    std::fflush(stdout);  // a later crash must not take this line along
    return failed_checks == 0;
}

}  // namespace

std::vector<Test>& Registry() {
    static std::vector<Test> tests;
    return tests;
}

void Report(bool holds, const char* file, int line, const std::string& message) {
    ++checks;
    if (!holds) {
        ++failed_checks;
        std::printf("%s:%d: %s\n", file, line, message.c_str());
    }
}

}  // namespace check

int main(int argc, char** argv) {
    const auto& tests = check::Registry();
    if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
        for (const auto& test : tests) {
            std::printf("%s\n", test.name);
        }
        return 0;
    }
    std::vector<check::Test> selected;
    for (int i = 1; i < argc; ++i) {
        const auto found = std::find_if(tests.begin(), tests.end(), [&](const check::Test& test) {
            return std::strcmp(test.name, argv[i]) == 0;
        });
        if (found == tests.end()) {
            std::fprintf(stderr, "%s: no test named %s\n", argv[0], argv[i]);
            return 2;
        }
        selected.push_back(*found);
    }
    const auto& to_run = argc == 1 ? tests : selected;
    const auto passed = std::count_if(to_run.begin(), to_run.end(), check::Run);
    const auto failed = static_cast<long>(to_run.size()) - passed;
    std::printf("%ld passed, %ld failed\n", static_cast<long>(passed), failed);
    return failed == 0 ? 0 : 1;
}
