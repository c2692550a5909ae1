// Modes of the sanitizer.
#include <string>

#include "twin_sanitizer_fixture.h"

using namespace fixture;

// ---- modes ----

TEST(each_mode_looks_for_its_own) {
    Aiv aiv;
    const auto code = [&](SanitizeMode mode, const auto& kernel) {
        auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
        config.sanitize = mode;
        return CodeOf(config, [&] {
            if ASCEND_IS_AIC
                return;
            TPipe pipe;
            kernel(pipe);
        });
    };
    const auto pipe_race = [&](TPipe& pipe) {
        const auto ub = Ub(pipe);
        const auto to = Ub(pipe);
        DataCopy(ub, Gm(aiv.in), kCount);
        Muls(to, ub, 2.0F, kCount);
    };
    const auto no_barrier = [&](TPipe& pipe) {
        const auto ub = Ub(pipe);
        Duplicate(ub, 1.0F, kCount);
        Duplicate(ub, 1.0F, kCount);
    };
    const auto core_race = [&](TPipe& pipe) { DataCopy(Gm(aiv.out), Ones(pipe), kCount); };
    const auto unwritten = [&](TPipe& pipe) { Muls(Ub(pipe), Ub(pipe), 2.0F, kCount); };
    for (const auto mode : {SanitizeMode::kOff, SanitizeMode::kMemory, SanitizeMode::kFull}) {
        const bool full = mode == SanitizeMode::kFull;
        const bool off = mode == SanitizeMode::kOff;
        CHECK_EQ(code(mode, pipe_race), std::string(full ? "pipe-race" : ""));
        CHECK_EQ(code(mode, no_barrier), std::string(full ? "missing-barrier" : ""));
        CHECK_EQ(code(mode, core_race), std::string(full ? "core-race" : ""));
        CHECK_EQ(code(mode, unwritten), std::string(off ? "" : "uninitialised"));
    }
}
