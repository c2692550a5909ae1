// Launches that note the calls of a kernel, leave them out or weaken them (twin/mutation.h).
#include <set>
#include <string>

#include "kernels/events.h"
#include "kernels/partition.h"
#include "twin_sanitizer_fixture.h"

using namespace fixture;
using twin::CallLog;
using twin::CallSite;
using twin::Mutation;
using twin::MutationKind;

namespace {

std::string Here(int line = __builtin_LINE(), const char* file = __builtin_FILE()) {
    return file + (":" + std::to_string(line));
}

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

CallLog LogOf(twin::LaunchConfig config, const std::function<void()>& kernel) {
    CallLog log;
    config.calls = &log;
    CHECK_EQ(CodeOf(config, kernel), std::string());
    return log;
}

std::string CodeWithout(twin::LaunchConfig config, const Mutation& mutation,
                        const std::function<void()>& kernel) {
    config.mutation = &mutation;
    const std::string code = CodeOf(config, kernel);
    CHECK(TwinWorks());
    return code;
}

/// The only call of `kind`.
CallSite Only(const CallLog& log, const std::string& kind) {
    CallSite found;
    for (const auto& [call, after] : log.calls) {
        if (call.kind != kind) continue;
        CHECK_EQ(found.kind, std::string());
        found = call;
    }
    CHECK_EQ(found.kind, kind);
    return found;
}

}  // namespace

TEST(a_log_lists_what_was_reached) {
    Aiv aiv;
    auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    const auto kernel = [&] { Synchronised(aiv); };
    const CallLog log = LogOf(config, kernel);
    std::multiset<std::string> kinds;
    for (const auto& [call, after] : log.calls) {
        kinds.insert(call.kind);
        CHECK(call.site.find("test_twin_mutation.cpp:") != std::string::npos);
        CHECK(after == "start" || after.find("test_twin_mutation.cpp:") != std::string::npos);
    }
    CHECK_EQ(kinds, (std::multiset<std::string>{
                        "CrossCoreSetFlag<1, MTE3>(1)", "CrossCoreSetFlag<2, MTE2>(0)",
                        "CrossCoreWaitFlag(0)", "CrossCoreWaitFlag(1)", "PipeBarrier<ALL>",
                        "PipeBarrier<V>", "SetFlag<MTE2_V>", "WaitFlag<MTE2_V>"}));
    const auto only = [&](const char* kind) { return Only(log, kind); };
    CHECK(log.met == (std::set<std::pair<CallSite, CallSite>>{
                         {only("SetFlag<MTE2_V>"), only("WaitFlag<MTE2_V>")},
                         {only("CrossCoreSetFlag<1, MTE3>(1)"), only("CrossCoreWaitFlag(1)")},
                         {only("CrossCoreSetFlag<2, MTE2>(0)"), only("CrossCoreWaitFlag(0)")}}));
    // Lists without the sanitizer too.
    config.sanitize = SanitizeMode::kOff;
    CHECK(LogOf(config, kernel).calls == log.calls);
}

TEST(a_call_that_is_left_out_is_missed) {
    Aiv aiv;
    const auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    const auto kernel = [&] { Synchronised(aiv); };
    for (const auto& [call, after] : LogOf(config, kernel).calls) {
        const std::string code = CodeWithout(config, {{call}}, kernel);
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
    }
}

// Nothing is left that could be unpaired: what is missing is the order.
TEST(pairs_that_are_left_out_are_missed) {
    Aiv aiv;
    const auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    const auto kernel = [&] { Synchronised(aiv); };
    const CallLog log = LogOf(config, kernel);
    const auto without = [&](const char* set, const char* wait) {
        return CodeWithout(config, {{Only(log, set), Only(log, wait)}}, kernel);
    };
    CHECK_EQ(without("SetFlag<MTE2_V>", "WaitFlag<MTE2_V>"), std::string("pipe-race"));
    CHECK_EQ(without("CrossCoreSetFlag<1, MTE3>(1)", "CrossCoreWaitFlag(1)"),
             std::string("core-race"));
    // Nobody does anything behind this one.
    CHECK_EQ(without("CrossCoreSetFlag<2, MTE2>(0)", "CrossCoreWaitFlag(0)"), std::string());
    // Nor does a call matter that no core reaches.
    CHECK_EQ(CodeWithout(config, {{{"PipeBarrier<V>", Here()}}}, kernel), std::string());
}

// The store is on MTE3: behind another pipe the flag says nothing of it.
TEST(a_set_behind_another_pipe_is_missed) {
    Aiv aiv;
    const auto config = aiv.Config(KernelKind::kMixAic1Aiv2);
    const auto kernel = [&] { Synchronised(aiv); };
    const CallLog log = LogOf(config, kernel);
    const CallSite set = Only(log, "CrossCoreSetFlag<1, MTE3>(1)");
    CHECK(log.weakened.count(set) == 1);
    CHECK_EQ(CodeWithout(config, {{set}, MutationKind::kWeaken}, kernel), std::string("core-race"));
}

TEST(a_set_right_behind_a_wait_has_nothing_to_weaken) {
    Aiv aiv;
    const CallLog log = LogOf(aiv.Config(KernelKind::kMixAic1Aiv2), [&] {
        if ASCEND_IS_AIC {
            CrossCoreWaitFlag(0);
            CrossCoreSetFlag<2, PIPE_FIX>(1);
            return;
        }
        TPipe pipe;
        if (GetSubBlockIdx() == 0) DataCopy(Gm(aiv.out), Ones(pipe), kCount);
        CrossCoreSetFlag<2, PIPE_MTE3>(0);
        CrossCoreWaitFlag(1);
    });
    CHECK(log.weakened.count(Only(log, "CrossCoreSetFlag<2, MTE3>(0)")) == 1);
    CHECK(log.weakened.count(Only(log, "CrossCoreSetFlag<2, FIX>(1)")) == 0);
}

// A superfluous call can be left out: a barrier that another one follows.
TEST(a_superfluous_barrier_is_not_missed) {
    Aiv aiv;
    std::string superfluous;
    const auto kernel = [&] {
        TPipe pipe;
        const auto ub = Ub(pipe);
        const auto other = Ub(pipe);
        Duplicate(ub, 1.0F, kCount);
        PipeBarrier<PIPE_V>();
        superfluous = Here(__LINE__ - 1);
        Duplicate(other, 1.0F, kCount);
        PipeBarrier<PIPE_V>();
        Muls(ub, ub, 2.0F, kCount);
    };
    for (const auto& [call, after] : LogOf(aiv.Config(), kernel).calls) {
        // Without the second one the first one does its work.
        CHECK_EQ(CodeWithout(aiv.Config(), {{call}}, kernel), std::string());
    }
    Mutation both{{{"PipeBarrier<V>", superfluous}}};
    for (const auto& [call, after] : LogOf(aiv.Config(), kernel).calls) both.calls.insert(call);
    CHECK_EQ(both.calls.size(), size_t{2});
    CHECK_EQ(CodeWithout(aiv.Config(), both, kernel), std::string("missing-barrier"));
}

// Helpers of the kernels stand for their callers: two of them on lines of their own are two calls.
TEST(helpers_stand_for_their_callers) {
    Aiv aiv;
    int first = 0;
    const CallLog log = LogOf(aiv.Config(), [&] {
        TPipe pipe;
        const auto ub = Ub(pipe);
        DataCopy(ub, Gm(aiv.in), kCount);
        first = __LINE__ + 1;
        kernels::HandOver<HardEvent::MTE2_V>(&pipe);
        Muls(ub, ub, 2.0F, kCount);
        kernels::HandOver<HardEvent::V_MTE3>(&pipe);
        DataCopy(Gm(aiv.out), ub, kCount);
    });
    CHECK_EQ(log.calls.size(), size_t{4});
    CHECK_EQ(Only(log, "SetFlag<MTE2_V>").site, Here(first));
    CHECK_EQ(Only(log, "WaitFlag<MTE2_V>").site, Here(first));
    CHECK_EQ(Only(log, "WaitFlag<V_MTE3>").site, Here(first + 2));
}

TEST(roundings_are_left_out_and_rounded_down) {
    Aiv aiv;
    auto config = aiv.Config();
    uint32_t up = 0;
    uint64_t quotient = 0;
    const auto kernel = [&] {
        up = kernels::RoundUp(37U, 16U);
        quotient = kernels::CeilDiv<uint64_t>(uint64_t{1} << 40, 3);
    };
    const CallLog log = LogOf(config, kernel);
    CHECK_EQ(up, 48U);
    CHECK_EQ(quotient, 366503875926U);
    const Mutation left_out{{Only(log, "RoundUp"), Only(log, "CeilDiv")}};
    CHECK_EQ(CodeWithout(config, left_out, kernel), std::string());
    CHECK_EQ(up, 37U);
    CHECK_EQ(quotient, 366503875925U);
    // Rounded down is all that a quotient can be: left out already.
    CHECK(log.weakened == std::set<CallSite>{Only(log, "RoundUp")});
    CHECK_EQ(CodeWithout(config, {log.weakened, MutationKind::kWeaken}, kernel), std::string());
    CHECK_EQ(up, 32U);
}

// Without the pair the id is handed out a second time.
TEST(event_ids_are_taken_by_pairs) {
    Aiv aiv;
    const auto kernel = [] {
        TPipe pipe;
        const auto first = pipe.AllocEventID<HardEvent::MTE2_V>();
        const auto second = pipe.AllocEventID<HardEvent::MTE2_V>();
        SetFlag<HardEvent::MTE2_V>(first);
        SetFlag<HardEvent::MTE2_V>(second);
        WaitFlag<HardEvent::MTE2_V>(first);
        WaitFlag<HardEvent::MTE2_V>(second);
        pipe.ReleaseEventID<HardEvent::MTE2_V>(first);
        pipe.ReleaseEventID<HardEvent::MTE2_V>(second);
    };
    const CallLog log = LogOf(aiv.Config(), kernel);
    int pairs = 0;
    for (const auto& [taken, released] : log.met) {
        if (taken.kind.find("AllocEventID") != 0) continue;
        ++pairs;
        const std::string code = CodeWithout(aiv.Config(), {{taken, released}}, kernel);
        // The last id is not asked for again.
        CHECK_EQ(code, std::string(pairs == 1 ? "event-set-twice" : ""));
    }
    CHECK_EQ(pairs, 2);
}
