// Captures on the double of ACL: every mistake has the code that the runtime has for it.
#include <cstdint>
#include <string>
#include <vector>

#include "../check.h"
#include "acl_double.h"
#include "captures.h"

namespace {

using Calls = std::vector<std::string>;

const auto kMain = reinterpret_cast<aclrtStream>(uintptr_t{0x10});
const auto kSide = reinterpret_cast<aclrtStream>(uintptr_t{0x20});
const auto kThird = reinterpret_cast<aclrtStream>(uintptr_t{0x30});

struct Fixture {
    Fixture() {
        acl_double::Reset();
        for (aclrtEvent* event : {&fork, &join, &third}) {
            aclrtCreateEventExWithFlag(event, ACL_EVENT_SYNC);
        }
    }

    static aclError Begin(aclrtStream stream) {
        return aclmdlRICaptureBegin(stream, ACL_MODEL_RI_CAPTURE_MODE_GLOBAL);
    }
    aclError End(aclrtStream stream) { return aclmdlRICaptureEnd(stream, &graph); }
    static aclError Work(aclrtStream stream) {
        return aclrtCmoAsync(nullptr, 1, ACL_RT_CMO_TYPE_PREFETCH, stream);
    }
    aclError Connect(aclrtStream from, aclrtEvent event, aclrtStream to) {
        if (const aclError error = aclrtRecordEvent(event, from)) return error;
        return aclrtStreamWaitEvent(to, event);
    }

    aclrtEvent fork, join, third;
    aclmdlRI graph = nullptr;
};

}  // namespace

TEST(a_capture_executes_nothing_and_a_replay_everything) {
    Fixture f;
    CHECK_EQ(f.Begin(kMain), ACL_SUCCESS);
    CHECK_EQ(f.Connect(kMain, f.fork, kSide), ACL_SUCCESS);
    CHECK_EQ(f.Work(kSide), ACL_SUCCESS);
    CHECK_EQ(f.Connect(kSide, f.join, kMain), ACL_SUCCESS);
    CHECK_EQ(f.End(kMain), ACL_SUCCESS);
    CHECK_EQ(acl_double::Calls().size(), 0u);
    for (size_t replay = 1; replay < 4; ++replay) {
        CHECK_EQ(aclmdlRIExecuteAsync(f.graph, kMain), ACL_SUCCESS);
        CHECK_EQ(acl_double::Calls().size(), 5 * replay);
    }
    CHECK_EQ(aclmdlRIDestroy(f.graph), ACL_SUCCESS);
    CHECK_EQ(aclmdlRIExecuteAsync(f.graph, kMain), 107000);
    // The streams are free again.
    CHECK_EQ(f.Work(kSide), ACL_SUCCESS);
    CHECK_EQ(acl_double::Calls().size(), 16u);
}

TEST(an_unjoined_fork) {
    Fixture f;
    f.Begin(kMain);
    f.Connect(kMain, f.fork, kSide);
    f.Work(kSide);
    CHECK_EQ(f.End(kMain), acl_double::kStreamUnjoined);
    // The capture is over.
    CHECK_EQ(f.End(kMain), acl_double::kStreamNotCaptured);
    CHECK_EQ(f.Begin(kMain), ACL_SUCCESS);
    CHECK_EQ(f.End(kMain), ACL_SUCCESS);
}

TEST(a_fork_without_work_is_unjoined_too) {
    Fixture f;
    f.Begin(kMain);
    f.Connect(kMain, f.fork, kSide);
    CHECK_EQ(f.End(kMain), acl_double::kStreamUnjoined);
}

TEST(a_record_that_nobody_awaits) {
    Fixture f;
    f.Begin(kMain);
    f.Connect(kMain, f.fork, kSide);
    aclrtRecordEvent(f.join, kSide);
    CHECK_EQ(f.End(kMain), acl_double::kStreamUnjoined);
}

TEST(a_side_stream_that_is_used_after_its_join) {
    Fixture f;
    f.Begin(kMain);
    f.Connect(kMain, f.fork, kSide);
    f.Connect(kSide, f.join, kMain);
    f.Work(kSide);
    CHECK_EQ(f.End(kMain), acl_double::kStreamUnjoined);
}

TEST(a_join_to_another_stream_than_the_first) {
    Fixture f;
    f.Begin(kMain);
    f.Connect(kMain, f.fork, kSide);
    f.Connect(kSide, f.join, kThird);  // which joins the capture, and does not return
    CHECK_EQ(f.End(kMain), acl_double::kStreamUnjoined);
    // It may return by a detour.
    f.Begin(kMain);
    f.Connect(kMain, f.fork, kSide);
    f.Connect(kSide, f.join, kThird);
    f.Connect(kThird, f.third, kMain);
    CHECK_EQ(f.End(kMain), ACL_SUCCESS);
}

TEST(a_join_of_what_was_forked_before_the_capture) {
    Fixture f;
    f.Connect(kMain, f.fork, kSide);
    f.Work(kSide);
    f.Begin(kMain);
    CHECK_EQ(f.Connect(kSide, f.join, kMain), acl_double::kCaptureDependency);
    CHECK_EQ(f.End(kMain), ACL_SUCCESS);
}

TEST(an_event_of_an_earlier_capture) {
    Fixture f;
    f.Begin(kMain);
    f.Connect(kMain, f.fork, kSide);
    f.Connect(kSide, f.join, kMain);
    f.End(kMain);
    f.Begin(kMain);
    CHECK_EQ(aclrtStreamWaitEvent(kMain, f.join), acl_double::kCaptureDependency);
    // Recorded again it is an event of this one.
    CHECK_EQ(f.Connect(kMain, f.fork, kSide), ACL_SUCCESS);
    CHECK_EQ(f.Connect(kSide, f.join, kMain), ACL_SUCCESS);
    CHECK_EQ(f.End(kMain), ACL_SUCCESS);
}

TEST(an_event_of_another_capture_that_runs) {
    Fixture f;
    f.Begin(kMain);
    f.Begin(kThird);
    aclrtRecordEvent(f.fork, kMain);
    CHECK_EQ(aclrtStreamWaitEvent(kThird, f.fork), acl_double::kCaptureConflict);
    CHECK_EQ(f.End(kMain), acl_double::kCaptureInvalidated);
    CHECK_EQ(f.End(kThird), acl_double::kCaptureInvalidated);
    f.Begin(kMain);
    f.Begin(kThird);
    aclrtRecordEvent(f.fork, kMain);
    CHECK_EQ(aclrtRecordEvent(f.fork, kThird), acl_double::kCaptureConflict);
}

TEST(captures_that_begin_or_end_on_the_wrong_stream) {
    Fixture f;
    CHECK_EQ(f.Begin(nullptr), acl_double::kCaptureImplicit);
    CHECK_EQ(f.End(kMain), acl_double::kStreamNotCaptured);
    f.Begin(kMain);
    CHECK_EQ(f.Begin(kMain), acl_double::kStreamCaptured);
    f.Connect(kMain, f.fork, kSide);
    CHECK_EQ(f.End(kSide), acl_double::kCaptureUnmatched);
    f.Connect(kSide, f.join, kMain);
    CHECK_EQ(f.End(kMain), ACL_SUCCESS);
}
