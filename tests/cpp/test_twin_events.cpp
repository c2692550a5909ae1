// Order inside a core: events between its pipes, barriers, ids that a TPipe hands out.
#include <cstdint>
#include <set>
#include <type_traits>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::GetSubBlockIdx;
using AscendC::HardEvent;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::WaitFlag;

namespace {

template <HardEvent event>
void SetAndWait() {
    for (int32_t id = 0; id < 6; ++id) {
        SetFlag<event>(id);
        WaitFlag<event>(id);
        SetFlag<event>(id);
        WaitFlag<event>(id);
    }
}

}  // namespace

// ---- 同步控制/核内同步/SetFlag-WaitFlag(ISASI), 核内同步能力概述 ----

// Tables 2 and 3 of 核内同步能力概述: the events of each core type; ids 0 to 5.
TEST(events_of_each_core_type) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIC {
            SetAndWait<HardEvent::MTE2_MTE1>();
            SetAndWait<HardEvent::MTE1_MTE2>();
            SetAndWait<HardEvent::MTE1_M>();
            SetAndWait<HardEvent::M_MTE1>();
            SetAndWait<HardEvent::M_FIX>();
            SetAndWait<HardEvent::FIX_M>();
            SetAndWait<HardEvent::MTE2_FIX>();
            SetAndWait<HardEvent::FIX_MTE2>();
            SetAndWait<HardEvent::MTE2_MTE3>();
            SetAndWait<HardEvent::MTE3_MTE2>();
        } else {
            SetAndWait<HardEvent::MTE2_V>();
            SetAndWait<HardEvent::V_MTE2>();
            SetAndWait<HardEvent::MTE3_V>();
            SetAndWait<HardEvent::V_MTE3>();
            SetAndWait<HardEvent::MTE2_MTE3>();
            SetAndWait<HardEvent::MTE3_MTE2>();
            SetAndWait<HardEvent::S_V>();
            SetAndWait<HardEvent::V_S>();
            SetAndWait<HardEvent::S_MTE2>();
            SetAndWait<HardEvent::MTE2_S>();
            SetAndWait<HardEvent::S_MTE3>();
            SetAndWait<HardEvent::MTE3_S>();
        }
        CHECK(true);
    });
}

// The same tables: "不涉及", the hardware has no such event.
TEST(events_between_pipes_that_a_core_lacks_are_refused) {
    AivBreaks("wrong-core", {"AIV 0"}, {}, [] { SetFlag<HardEvent::M_FIX>(0); });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [] { SetFlag<HardEvent::MTE2_MTE1>(0); });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [] { SetFlag<HardEvent::MTE2_FIX>(0); });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [] { WaitFlag<HardEvent::MTE1_M>(0); });
    AicBreaks("wrong-core", {"AIC 0"}, {}, [] { SetFlag<HardEvent::MTE2_V>(0); });
    AicBreaks("wrong-core", {"AIC 0"}, {}, [] { SetFlag<HardEvent::V_MTE3>(0); });
    AicBreaks("wrong-core", {"AIC 0"}, {}, [] { WaitFlag<HardEvent::MTE3_V>(0); });
}

// Table 2 has no event between the scalar pipe and another one on the AIC.
TEST(events_of_the_scalar_pipe_are_refused_on_an_aic) {
    AicBreaks("wrong-core", {"AIC 0"}, {}, [] { SetFlag<HardEvent::S_MTE2>(0); });
    AicBreaks("wrong-core", {"AIC 0"}, {}, [] { SetFlag<HardEvent::MTE2_S>(0); });
}

// Flags of different events and ids are different flags, and every core has its own.
TEST(events_are_independent) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIV {
            SetFlag<HardEvent::MTE2_V>(0);
            SetFlag<HardEvent::MTE2_V>(1);
            SetFlag<HardEvent::V_MTE3>(0);
            WaitFlag<HardEvent::V_MTE3>(0);
            WaitFlag<HardEvent::MTE2_V>(1);
            WaitFlag<HardEvent::MTE2_V>(0);
            CHECK(true);
        }
    });
}

// "相同流水、相同eventID下，连续使用SetFlag会引发未定义行为".
TEST(an_event_is_not_set_twice) {
    AivBreaks("event-set-twice", {"MTE2", "V", "3", "AIV 0"}, {}, [] {
        SetFlag<HardEvent::MTE2_V>(3);
        SetFlag<HardEvent::MTE2_V>(3);
    });
}

// "SetFlag和WaitFlag必须成对使用，且SetFlag和WaitFlag的参数必须完全一致".
TEST(an_event_is_not_waited_for_before_it_is_set) {
    AicBreaks("unpaired-event", {"MTE1", "M", "2"}, {}, [] { WaitFlag<HardEvent::MTE1_M>(2); });
    AivBreaks("unpaired-event", {}, {}, [] {  // another id
        SetFlag<HardEvent::MTE2_V>(0);
        WaitFlag<HardEvent::MTE2_V>(1);
    });
    AivBreaks("unpaired-event", {}, {}, [] {  // the other direction
        SetFlag<HardEvent::MTE2_V>(1);
        WaitFlag<HardEvent::V_MTE2>(1);
    });
    AivBreaks("unpaired-event", {}, {}, [] {  // one set does for one wait
        SetFlag<HardEvent::MTE2_V>(1);
        WaitFlag<HardEvent::MTE2_V>(1);
        WaitFlag<HardEvent::MTE2_V>(1);
    });
}

// The flags of a core are its own: AIV 1 does not see what AIV 0 set.
TEST(an_event_of_another_core_does_not_count) {
    GroupBreaks("unpaired-event", {"AIV 1"}, [] {
        if ASCEND_IS_AIV {
            if (GetSubBlockIdx() == 0) {
                SetFlag<HardEvent::MTE2_V>(0);
                CrossCoreSetFlag<1, PIPE_MTE2>(0);
                CrossCoreWaitFlag(0);
                WaitFlag<HardEvent::MTE2_V>(0);
            } else {
                CrossCoreSetFlag<1, PIPE_MTE2>(0);
                CrossCoreWaitFlag(0);
                WaitFlag<HardEvent::MTE2_V>(0);
            }
        }
    });
}

TEST(an_event_is_waited_for_before_the_kernel_ends) {
    int line = 0;
    try {
        OnAiv({}, [&] {
            line = __LINE__ + 1;
            SetFlag<HardEvent::V_MTE3>(5);
        });
        CHECK(false);
    } catch (const twin::Error& error) {
        CHECK_EQ(error.code, std::string("unpaired-event"));
        CHECK_EQ(error.core, std::string("AIV 0"));
        CHECK_EQ(error.line, line);  // the set that nobody waited for
    }
    CHECK(TwinWorks());
}

// "eventID的取值范围...数据范围为：0-7".
TEST(event_ids_are_0_to_7) {
    AivBreaks("event-id", {"8", "7"}, {}, [] { SetFlag<HardEvent::MTE2_V>(8); });
    AivBreaks("event-id", {"-1", "7"}, {}, [] { SetFlag<HardEvent::MTE2_V>(-1); });
    AivBreaks("event-id", {"8", "7"}, {}, [] { WaitFlag<HardEvent::MTE2_V>(8); });
}

// "建议使用事件ID0-5，事件ID6用于系统内部规划（当前未使用），事件ID7用于TPipe编程中的自动同步功能".
TEST(event_ids_6_and_7_are_the_frameworks) {
    for (const int32_t id : {6, 7}) {
        AivBreaks("event-id", {"SetFlag<MTE2_V>", "belong to the framework"}, {},
                  [id] { SetFlag<HardEvent::MTE2_V>(id); });
        AivBreaks("event-id", {"WaitFlag<MTE2_V>", "belong to the framework"}, {},
                  [id] { WaitFlag<HardEvent::MTE2_V>(id); });
    }
    OnAiv({}, [] {
        SetFlag<HardEvent::MTE2_V>(5);
        WaitFlag<HardEvent::MTE2_V>(5);
    });
}

// ---- 同步控制/核内同步/PipeBarrier(ISASI) ----

TEST(pipe_barriers_of_each_core_type) {
    OnGroup({}, [&] {
        PipeBarrier<PIPE_ALL>();
        PipeBarrier<PIPE_MTE2>();
        PipeBarrier<PIPE_MTE3>();
        if ASCEND_IS_AIC {
            PipeBarrier<PIPE_MTE1>();
            PipeBarrier<PIPE_M>();
            PipeBarrier<PIPE_FIX>();
        } else {
            PipeBarrier<PIPE_V>();
        }
        CHECK(true);
    });
    AicBreaks("wrong-core", {"AIC 0"}, {}, [] { PipeBarrier<PIPE_V>(); });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [] { PipeBarrier<PIPE_M>(); });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [] { PipeBarrier<PIPE_MTE1>(); });
    AivBreaks("wrong-core", {"AIV 0"}, {}, [] { PipeBarrier<PIPE_FIX>(); });
}

// ---- 资源管理/TPipe/{AllocEventID, ReleaseEventID, FetchEventID} ----

// Ids 6 and 7 are the framework's (SetFlag-WaitFlag, 约束说明): six are left for every event.
TEST(alloc_event_id_hands_out_six_of_each_event) {
    OnAiv({}, [&] {
        TPipe pipe;
        std::set<int> ids;
        for (int i = 0; i < 6; ++i) ids.insert(pipe.AllocEventID<HardEvent::MTE2_V>());
        CHECK_EQ(ids, (std::set<int>{0, 1, 2, 3, 4, 5}));
        const auto other = pipe.AllocEventID<HardEvent::V_MTE2>();
        CHECK(other >= 0 && other < 6);
        pipe.ReleaseEventID<HardEvent::V_MTE2>(other);
        pipe.ReleaseEventID<HardEvent::MTE2_V>(3);
        CHECK_EQ(pipe.AllocEventID<HardEvent::MTE2_V>(), 3);
        for (int8_t id = 0; id < 6; ++id) pipe.ReleaseEventID<HardEvent::MTE2_V>(id);
    });
    AivBreaks("event-id", {"MTE2", "V", "6"}, {}, [] {
        TPipe pipe;
        for (int i = 0; i < 7; ++i) static_cast<void>(pipe.AllocEventID<HardEvent::MTE2_V>());
    });
}

// On a cube core TPipe has set ids 0 to 2 of M_MTE1 itself (TPipe::Init in
// impl/basic_api/kernel_tpipe_impl.h of asc-devkit and of CANN 8.1), which leaves 3 to 5.
TEST(a_tpipe_keeps_three_ids_of_m_mte1_on_a_cube_core) {
    OnAic({}, [&] {
        TPipe pipe;
        CHECK_EQ(pipe.FetchEventID<HardEvent::M_MTE1>(), 3);
        std::set<int> ids;
        for (int i = 0; i < 3; ++i) ids.insert(pipe.AllocEventID<HardEvent::M_MTE1>());
        CHECK_EQ(ids, (std::set<int>{3, 4, 5}));
        for (int8_t id = 3; id < 6; ++id) pipe.ReleaseEventID<HardEvent::M_MTE1>(id);
        CHECK_EQ(pipe.FetchEventID<HardEvent::MTE1_M>(), 0);
    });
    AicBreaks("event-id", {"M_MTE1", "3 are taken"}, {}, [] {
        TPipe pipe;
        for (int i = 0; i < 4; ++i) static_cast<void>(pipe.AllocEventID<HardEvent::M_MTE1>());
    });
    AicBreaks("event-id", {"SetFlag<M_MTE1> uses event id 2", "the TPipe keeps ids 0 to 2"}, {},
              [] {
                  TPipe pipe;
                  SetFlag<HardEvent::M_MTE1>(2);
              });
    AicBreaks("event-id", {"WaitFlag<M_MTE1> uses event id 0", "the TPipe keeps ids 0 to 2"}, {},
              [] {
                  TPipe pipe;
                  WaitFlag<HardEvent::M_MTE1>(0);
              });
}

// "必须与ReleaseEventID搭配使用".
TEST(an_event_id_that_is_never_released_is_reported) {
    AivBreaks("event-id", {"MTE2_V", "never released"}, {}, [] {
        TPipe pipe;
        static_cast<void>(pipe.AllocEventID<HardEvent::MTE2_V>());
    });
}

// "ReleaseEventID传入的TEventID需由对应的AllocEventID申请而来".
TEST(release_event_id_takes_allocated_ids_only) {
    AivBreaks("event-id", {"0"}, {}, [] {
        TPipe pipe;
        pipe.ReleaseEventID<HardEvent::MTE2_V>(0);
    });
    AivBreaks("event-id", {}, {}, [] {
        TPipe pipe;
        const auto id = pipe.AllocEventID<HardEvent::MTE2_V>();
        pipe.ReleaseEventID<HardEvent::V_MTE2>(id);
    });
    AivBreaks("event-id", {}, {}, [] {
        TPipe pipe;
        const auto id = pipe.AllocEventID<HardEvent::MTE2_V>();
        pipe.ReleaseEventID<HardEvent::MTE2_V>(id);
        pipe.ReleaseEventID<HardEvent::MTE2_V>(id);
    });
}

// "此接口不会申请TEventID，仅提供可用的TEventID": twice the same, never an allocated one.
TEST(fetch_event_id_does_not_take_it) {
    OnAiv({}, [&] {
        TPipe pipe;
        const auto first = pipe.FetchEventID<HardEvent::V_S>();
        CHECK_EQ(pipe.FetchEventID<HardEvent::V_S>(), first);
        CHECK_EQ(pipe.FetchEventID(HardEvent::V_S), first);
        SetFlag<HardEvent::V_S>(first);
        WaitFlag<HardEvent::V_S>(first);
        std::set<int> taken;
        for (int i = 0; i < 5; ++i) taken.insert(pipe.AllocEventID<HardEvent::V_S>());
        CHECK_EQ(taken.size(), 5u);
        CHECK_EQ(taken.count(pipe.FetchEventID<HardEvent::V_S>()), 0u);
        taken.insert(pipe.AllocEventID<HardEvent::V_S>());
        CHECK_EQ(taken.size(), 6u);
        for (int id : taken) pipe.ReleaseEventID<HardEvent::V_S>(static_cast<int8_t>(id));
    });
    CHECK((std::is_same_v<AscendC::TEventID, int8_t>));
}
