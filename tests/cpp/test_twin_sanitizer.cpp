// Modes of the sanitizer, and synchronisation calls that do nothing.
#include <algorithm>
#include <set>
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

// ---- LaunchConfig::{sync_calls, disabled} ----

namespace {

/// Every kind of synchronisation call, each of them needed.
void Synchronised(Aiv& aiv) {
    if ASCEND_IS_AIC {
        CrossCoreWaitFlag(0);
        return;
    }
    TPipe pipe;
    const auto ub = Ub(pipe);
    if (GetSubBlockIdx() == 0) {
        DataCopy(ub, Gm(aiv.in), kCount);
        SetFlag<HardEvent::MTE2_V>(0);
        WaitFlag<HardEvent::MTE2_V>(0);
        Muls(ub, ub, 2.0F, kCount);
        PipeBarrier<PIPE_V>();
        Muls(ub, ub, 2.0F, kCount);
        PipeBarrier<PIPE_ALL>();
        DataCopy(Gm(aiv.out), ub, kCount);
    }
    CrossCoreSetFlag<1, PIPE_MTE3>(1);
    CrossCoreWaitFlag(1);
    if (GetSubBlockIdx() == 1) DataCopy(ub, Gm(aiv.out), kCount);
    CrossCoreSetFlag<2, PIPE_MTE2>(0);
}

}  // namespace

TEST(sync_calls_lists_what_was_reached) {
    Aiv aiv;
    auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    std::set<SyncCall> calls;
    config.sync_calls = &calls;
    twin::Launch(config, [&] { Synchronised(aiv); });
    std::multiset<std::string> kinds;
    for (const SyncCall& call : calls) {
        kinds.insert(call.kind);
        CHECK(call.site.find("test_twin_sanitizer.cpp:") != std::string::npos);
        CHECK(call.after == "start" ||
              call.after.find("test_twin_sanitizer.cpp:") != std::string::npos);
    }
    // Both AIVs reach the last calls, each behind an instruction of its own.
    CHECK_EQ(kinds,
             (std::multiset<std::string>{"CrossCoreSetFlag<1, MTE3>", "CrossCoreSetFlag<1, MTE3>",
                                         "CrossCoreSetFlag<2, MTE2>", "CrossCoreSetFlag<2, MTE2>",
                                         "CrossCoreWaitFlag", "CrossCoreWaitFlag",
                                         "CrossCoreWaitFlag", "PipeBarrier<ALL>", "PipeBarrier<V>",
                                         "SetFlag<MTE2_V>", "WaitFlag<MTE2_V>"}));
    // A launch adds to the set, and lists without the sanitizer too.
    std::set<SyncCall> again;
    config.sync_calls = &again;
    config.sanitize = SanitizeMode::kOff;
    twin::Launch(config, [&] { Synchronised(aiv); });
    CHECK_EQ(again.size(), calls.size());
    CHECK(std::equal(again.begin(), again.end(), calls.begin(),
                     [](const auto& a, const auto& b) { return !(a < b) && !(b < a); }));
}

// Without any one of its calls the kernel is reported.
TEST(a_disabled_call_is_missed) {
    Aiv aiv;
    auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    std::set<SyncCall> calls;
    config.sync_calls = &calls;
    twin::Launch(config, [&] { Synchronised(aiv); });
    config.sync_calls = nullptr;
    for (const SyncCall& call : calls) {
        config.disabled = &call;
        const std::string code = CodeOf(config, [&] { Synchronised(aiv); });
        const auto is = [&](const char* kind) { return call.kind.find(kind) == 0; };
        const std::set<std::string> expected =
            is("PipeBarrier<V>")     ? std::set<std::string>{"missing-barrier"}
            : is("PipeBarrier<ALL>") ? std::set<std::string>{"pipe-race"}
            : is("SetFlag")          ? std::set<std::string>{"unpaired-event"}
            : is("WaitFlag")         ? std::set<std::string>{"pipe-race"}
            : is("CrossCoreSetFlag")
                ? std::set<std::string>{"deadlock"}
                : std::set<std::string>{"core-race", "unpaired-cross-core-flag"};
        check::Report(expected.count(code) == 1, __FILE__, __LINE__,
                      "without " + call.kind + " at " + call.site + ": \"" + code + "\"");
        CHECK(TwinWorks());
    }
}

// Two calls of one kind on one line are told apart by what comes before them; all others go on.
TEST(exactly_one_call_is_disabled) {
    Aiv aiv;
    auto config = aiv.Config();
    int first = 0;
    int second = 0;
    const auto barrier = [] { PipeBarrier<PIPE_V>(); };
    const auto kernel = [&] {
        TPipe pipe;
        const auto ub = Ub(pipe);
        first = __LINE__ + 1;
        Duplicate(ub, 1.0F, kCount);
        barrier();
        second = __LINE__ + 1;
        Muls(ub, ub, 2.0F, kCount);
        barrier();
        Muls(ub, ub, 3.0F, kCount);
    };
    std::set<SyncCall> calls;
    config.sync_calls = &calls;
    CHECK_EQ(CodeOf(config, kernel), std::string());
    CHECK_EQ(calls.size(), 2u);
    const auto after = [](int line) { return __FILE__ + (":" + std::to_string(line)); };
    for (const SyncCall& call : calls) {
        CHECK(call.after == after(first) || call.after == after(second));
        config.disabled = &call;
        try {
            twin::Launch(config, kernel);
            CHECK(false);
        } catch (const twin::Error& error) {
            CHECK_EQ(error.code, std::string("missing-barrier"));
            // The instruction behind the call that is missing.
            CHECK_EQ(error.line, call.after == after(first) ? second : second + 2);
        }
    }
    // One that no core reaches changes nothing.
    const SyncCall unknown{"PipeBarrier<V>", calls.begin()->site, "start"};
    config.disabled = &unknown;
    CHECK_EQ(CodeOf(config, kernel), std::string());
}
