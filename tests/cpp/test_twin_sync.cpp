// Order inside a core and between cores, events, buffers of a TPipe, core indices.
#include <cstdint>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::CrossCoreSetFlag;
using AscendC::CrossCoreWaitFlag;
using AscendC::DataCopy;
using AscendC::GetBlockIdx;
using AscendC::GetBlockNum;
using AscendC::GetSubBlockIdx;
using AscendC::HardEvent;
using AscendC::PipeBarrier;
using AscendC::SetFlag;
using AscendC::TBuf;
using AscendC::WaitFlag;

namespace {

constexpr auto kUb = TPosition::VECCALC;

template <typename Kernel>
void GroupBreaks(const std::string& code, std::initializer_list<std::string> parts,
                 const Kernel& kernel, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
    Breaks(code, parts, [&] { OnGroup({}, kernel); }, file, line);
}

/// One slot of 16 int32 for each core.
constexpr uint32_t kSlot = 16;

/// AIV: writes `value` to slot `index` through UB.
void StoreFromAiv(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index, int32_t value) {
    const auto ub = Allocate<kUb, int32_t>(pipe, kSlot);
    for (uint32_t i = 0; i < kSlot; ++i) ub.SetValue(i, value);
    SetFlag<HardEvent::S_MTE3>(0);
    WaitFlag<HardEvent::S_MTE3>(0);
    DataCopy(Gm(slots)[index * kSlot], ub, kSlot);
}

int32_t LoadOnAiv(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index) {
    const auto ub = Allocate<kUb, int32_t>(pipe, kSlot);
    DataCopy(ub, Gm(slots)[index * kSlot], kSlot);
    SetFlag<HardEvent::MTE2_S>(0);
    WaitFlag<HardEvent::MTE2_S>(0);
    return ub.GetValue(kSlot - 1);
}

/// AIC: writes `value` to slot `index` through L0C.
void StoreFromAic(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index, int32_t value) {
    const auto l0c = Allocate<TPosition::CO1, int32_t>(pipe, 256);
    for (uint32_t i = 0; i < kSlot; ++i) Poke(l0c, i, value);
    AscendC::FixpipeParamsV220 params;
    params.nSize = 16;
    params.mSize = 1;
    params.srcStride = 16;
    params.dstStride = 16;
    AscendC::Fixpipe(Gm(slots)[index * kSlot], l0c, params);
}

int32_t LoadOnAic(TPipe& pipe, std::vector<int32_t>& slots, uint32_t index) {
    const auto l1 = Allocate<TPosition::A1, int32_t>(pipe, kSlot);
    DataCopy(l1, Gm(slots)[index * kSlot], kSlot);
    PipeBarrier<PIPE_ALL>();
    return Peek(l1, kSlot - 1);
}

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

// "必须与ReleaseEventID搭配使用".
TEST(an_event_id_that_is_never_released_is_reported) {
    AivBreaks("event-id", {"MTE2_V", "never released"}, {}, [] {
        TPipe pipe;
        static_cast<void>(pipe.AllocEventID<HardEvent::MTE2_V>());
    });
}

// TBuf/Get and GetWithOffset: "size*sizeof(T) + bufOffset不能超过TBuf初始化时的长度", offsets of 32
// bytes.
TEST(parts_of_a_buffer_lie_inside_it) {
    OnAiv({}, [&] {
        TPipe pipe;
        TBuf<> buffer;
        pipe.InitBuffer(buffer, 128);
        CHECK_EQ(buffer.Get<float>(32).GetSize(), 32u);
        CHECK_EQ(buffer.GetWithOffset<float>(16, 64).GetSize(), 16u);
    });
    const auto breaks = [](const char* code, auto take) {
        AivBreaks(code, {"TBuf"}, {}, [&] {
            TPipe pipe;
            TBuf<> buffer;
            pipe.InitBuffer(buffer, 128);
            take(buffer);
        });
    };
    breaks("out-of-bounds", [](TBuf<>& buffer) { static_cast<void>(buffer.Get<float>(33)); });
    breaks("out-of-bounds",
           [](TBuf<>& buffer) { static_cast<void>(buffer.GetWithOffset<float>(17, 64)); });
    breaks("misaligned",
           [](TBuf<>& buffer) { static_cast<void>(buffer.GetWithOffset<float>(4, 16)); });
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

// ---- 资源管理/TPipe/{TPipe构造函数, InitBuffer}, 资源管理/GetTPipePtr, 资源管理/TBuf ----

// "TPipe对象同一时刻全局只能存在一份".
TEST(a_core_has_one_pipe_at_a_time) {
    AivBreaks("two-pipes", {"TPipe"}, {}, [] {
        TPipe first;
        TPipe second;
    });
    OnGroup({}, [&] {
        TPipe pipe;  // of each core its own
        CHECK(AscendC::GetTPipePtr() == &pipe);
    });
}

// "InitBuffer申请的内存会在TPipe对象销毁时通过析构函数自动释放".
TEST(a_pipe_frees_its_buffers_at_its_end) {
    OnAiv({}, [&] {
        for (int i = 0; i < 2; ++i) {
            TPipe pipe;
            CHECK_EQ((Allocate<kUb, uint8_t>(pipe, 188160).local().offset), 0u);
        }
    });
}

// Destroy, Init and Reset: what was handed out goes, ids of events as well.
TEST(a_pipe_that_is_reset_starts_anew) {
    OnAiv({}, [&] {
        TPipe pipe;
        AscendC::TBuf<> buffer;
        for (int i = 0; i < 3; ++i) {
            for (int id = 0; id < 6; ++id) pipe.AllocEventID<HardEvent::V_S>();
            pipe.InitBuffer(buffer, 64 * 1024);
            CHECK_EQ(buffer.Get<float>().local().offset, 0u);
            pipe.Reset();
        }
        for (int i = 0; i < 3; ++i) {
            pipe.InitBuffer(buffer, 64 * 1024);
            CHECK_EQ(buffer.Get<float>().local().offset, 0u);
            pipe.Destroy();
            pipe.Init();
        }
        CHECK(AscendC::GetTPipePtr() == &pipe);
        pipe.Destroy();
        TPipe other;
        CHECK(AscendC::GetTPipePtr() == &other);
    });
}

// "当传入的len不满足32字节对齐时，API内部会自动向上补齐至32字节对齐"; Get() is
// "pipe分配的所有内存大小".
TEST(init_buffer_rounds_up_to_32_bytes) {
    OnAiv({}, [&] {
        TPipe pipe;
        TBuf<TPosition::VECIN> first;
        TBuf<TPosition::VECOUT> second;
        TBuf<> third;
        CHECK_EQ(pipe.InitBuffer(first, 33), true);
        pipe.InitBuffer(second, 1);
        pipe.InitBuffer(third, 64);
        CHECK_EQ(first.Get<uint8_t>().GetSize(), 64u);
        CHECK_EQ(second.Get<uint8_t>().GetSize(), 32u);
        CHECK_EQ(third.Get<uint8_t>().GetSize(), 64u);
        CHECK_EQ(first.Get<uint8_t>().local().offset, 0u);
        CHECK_EQ(second.Get<uint8_t>().local().offset, 64u);
        CHECK_EQ(third.Get<uint8_t>().local().offset, 96u);
        first.Get<uint8_t>().SetValue(63, 1);
        CHECK_EQ(first.Get<uint8_t>().GetValue(63), 1);
    });
}

// TBuf/Get and GetWithOffset, with the pages' numbers: 1024 bytes; 128 int32 from byte 0 and from
// byte 64.
TEST(tbuf_hands_out_views_of_one_memory) {
    OnAiv({}, [&] {
        TPipe pipe;
        TBuf<> buffer;
        pipe.InitBuffer(buffer, 1024);
        const auto all = buffer.Get<int32_t>();
        const auto start = buffer.Get<int32_t>(128);
        const auto later = buffer.GetWithOffset<int32_t>(128, 64);
        CHECK_EQ(all.GetSize(), 256u);
        CHECK_EQ(start.GetSize(), 128u);
        CHECK_EQ(later.GetSize(), 128u);
        for (uint32_t i = 0; i < 256; ++i) all.SetValue(i, static_cast<int32_t>(i));
        CHECK_EQ(start.GetValue(127), 127);
        CHECK_EQ(later.GetValue(0), 16);
        CHECK_EQ(later.GetValue(127), 143);
    });
}

// A view ends with its own length: element 128 of Get(128) is out of bounds although the TBuf goes
// on. "len*sizeof(T)不能超过TBuf初始化时的长度", "size*sizeof(T) +
// bufOffset不能超过TBuf初始化时的长度".
TEST(tbuf_views_end_with_their_length) {
    AivBreaks("out-of-bounds", {"UB"}, {}, [] {
        TPipe pipe;
        TBuf<> buffer;
        pipe.InitBuffer(buffer, 1024);
        buffer.Get<int32_t>(128).SetValue(128, 0);
    });
    AivBreaks("out-of-bounds", {"UB"}, {}, [] {
        TPipe pipe;
        TBuf<> buffer;
        pipe.InitBuffer(buffer, 1024);
        buffer.GetWithOffset<int32_t>(128, 64).SetValue(128, 0);
    });
    AivBreaks("out-of-bounds", {"UB"}, {}, [] {
        TPipe pipe;
        TBuf<> buffer, next;
        pipe.InitBuffer(buffer, 1024);
        pipe.InitBuffer(next, 1024);
        buffer.Get<int32_t>(300).SetValue(256, 0);
    });
    AivBreaks("out-of-bounds", {"UB"}, {}, [] {
        TPipe pipe;
        TBuf<> buffer, next;
        pipe.InitBuffer(buffer, 1024);
        pipe.InitBuffer(next, 1024);
        buffer.GetWithOffset<int32_t>(256, 32).SetValue(248, 0);
    });
    AivBreaks("out-of-bounds", {"UB"}, {}, [] {
        TPipe pipe;
        TBuf<> buffer, next;
        pipe.InitBuffer(buffer, 1024);
        pipe.InitBuffer(next, 1024);
        buffer.GetWithOffset<int32_t>(8, 1024).SetValue(0, 0);
    });
}

namespace {

template <TPosition position>
void CheckCapacity(bool aic, const char* name, uint32_t bytes) {
    const auto kind = aic ? KernelKind::kAicOnly : KernelKind::kAivOnly;
    const auto fill = [&](uint32_t more) {
        twin::Launch(Config(kind, {}), [&] {
            TPipe pipe;
            TBuf<position> half, rest, over;
            pipe.InitBuffer(half, bytes / 2);
            pipe.InitBuffer(rest, bytes / 2);
            if (more != 0) pipe.InitBuffer(over, more);
        });
    };
    fill(0);
    Breaks("capacity", {name, std::to_string(bytes)}, [&] { fill(1); });
    Breaks("capacity", {name}, [&] {
        twin::Launch(Config(kind, {}), [&] {
            TPipe pipe;
            TBuf<position> all;
            pipe.InitBuffer(all, bytes + 1);
        });
    });
}

}  // namespace

// Buffer sizes of the architecture: UB 192 KB, L1 512 KB, L0A and L0B 64 KB, L0C 128 KB
// (L1-L0A-B内存结构介绍, L0C-Buffer内存结构介绍).
TEST(capacity_of_ub) { CheckCapacity<TPosition::VECCALC>(false, "UB", 188160); }
TEST(capacity_of_l1) { CheckCapacity<TPosition::A1>(true, "L1", 524032); }
TEST(capacity_of_l0a) { CheckCapacity<TPosition::A2>(true, "L0A", 65536); }
TEST(capacity_of_l0b) { CheckCapacity<TPosition::B2>(true, "L0B", 65536); }
TEST(capacity_of_l0c) { CheckCapacity<TPosition::CO1>(true, "L0C", 131072); }

// A1 and B1 share L1; VECIN, VECOUT and VECCALC share UB; L0A and L0B are two.
TEST(positions_share_buffers) {
    AicBreaks("capacity", {"L1"}, {}, [] {
        TPipe pipe;
        static_cast<void>(Allocate<TPosition::A1, uint8_t>(pipe, 262144));
        static_cast<void>(Allocate<TPosition::B1, uint8_t>(pipe, 262176));
    });
    AivBreaks("capacity", {"UB"}, {}, [] {
        TPipe pipe;
        static_cast<void>(Allocate<TPosition::VECIN, uint8_t>(pipe, 65536));
        static_cast<void>(Allocate<TPosition::VECOUT, uint8_t>(pipe, 65536));
        static_cast<void>(Allocate<TPosition::VECCALC, uint8_t>(pipe, 65568));
    });
    OnAic({}, [&] {
        TPipe pipe;
        CHECK_EQ((Allocate<TPosition::A2, uint8_t>(pipe, 65536).local().offset), 0u);
        CHECK_EQ((Allocate<TPosition::B2, uint8_t>(pipe, 65536).local().offset), 0u);
    });
}

// Rounding 2^32 - 1 bytes up to a multiple of 32 must not arrive at 0.
TEST(a_length_that_cannot_be_rounded_up_is_refused) {
    AivBreaks("capacity", {"UB"}, {}, [] {
        TPipe pipe;
        TBuf<> buffer;
        pipe.InitBuffer(buffer, 0xFFFFFFFF);
    });
}

// "一个kernel中所有使用的Buffer数量之和不能超过64".
TEST(a_kernel_has_at_most_64_buffers) {
    const auto allocate = [](int count) {
        TPipe pipe;
        for (int i = 0; i < count; ++i) {
            TBuf<> buffer;
            pipe.InitBuffer(buffer, 32);
        }
    };
    OnAiv({}, [&] {
        allocate(64);
        CHECK(true);
    });
    AivBreaks("capacity", {"64"}, {}, [&] { allocate(65); });
}

// ---- 同步控制/核间同步/{CrossCoreSetFlag(ISASI), CrossCoreWaitFlag(ISASI), 关键特性说明} ----

// Mode 0: all AICs wait for each other, and all AIVs. Every core writes its slot and then reads the
// next core's; the two types use the same id without meeting.
TEST(mode_0_joins_all_cores_of_a_type) {
    for (const char* chip : {"Ascend910_9391", "Ascend910B3"}) {
        const uint32_t aics = arch::FindChip(chip).aic_count;
        std::vector<int32_t> slots(3 * aics * kSlot, -1);
        std::vector<int32_t> aic_saw(aics);
        std::vector<int32_t> aiv_saw(2 * aics);
        twin::Launch(Config(KernelKind::kMixAic1Aiv2, {Output("slots", slots)}, 0, chip), [&] {
            TPipe pipe;
            const auto index = static_cast<uint32_t>(GetBlockIdx());
            if ASCEND_IS_AIC {
                StoreFromAic(pipe, slots, index, 1000 + static_cast<int32_t>(index));
                CrossCoreSetFlag<0, PIPE_FIX>(3);
                CrossCoreWaitFlag(3);
                aic_saw[index] = LoadOnAic(pipe, slots, (index + 1) % aics);
            } else {
                StoreFromAiv(pipe, slots, aics + index, 2000 + static_cast<int32_t>(index));
                CrossCoreSetFlag<0, PIPE_MTE3>(3);
                CrossCoreWaitFlag(3);
                aiv_saw[index] = LoadOnAiv(pipe, slots, aics + (index + 1) % (2 * aics));
            }
        });
        for (uint32_t i = 0; i < aics; ++i) CHECK_EQ(aic_saw[i], 1000 + (i + 1) % aics);
        for (uint32_t i = 0; i < 2 * aics; ++i) CHECK_EQ(aiv_saw[i], 2000 + (i + 1) % (2 * aics));
    }
}

// The counter of a core goes up when the last core has set: a core may set twice before the others
// once.
TEST(mode_0_counts_rounds) {
    std::vector<int> order;
    OnGroup({}, [&] {
        if ASCEND_IS_AIV {
            CrossCoreSetFlag<0, PIPE_MTE3>(0);
            if (GetBlockIdx() == 0) CrossCoreSetFlag<0, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
            order.push_back(1);
            if (GetBlockIdx() == 1) CrossCoreSetFlag<0, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
            order.push_back(2);
        }
    });
    CHECK_EQ(order.size(), 4u);
    CHECK_EQ(order[0], 1);
    CHECK_EQ(order[3], 2);
}

// Mode 1: the two AIVs of a group; "不同AI Core的AIV核之间不会互相影响同步".
TEST(mode_1_joins_the_aivs_of_a_group) {
    std::vector<int32_t> slots(48 * kSlot, -1);
    std::vector<int32_t> saw(48);
    twin::Launch(Config(KernelKind::kMixAic1Aiv2, {Output("slots", slots)}, 0), [&] {
        if ASCEND_IS_AIV {
            TPipe pipe;
            const auto index = static_cast<uint32_t>(GetBlockIdx());
            if (index / 2 == 7) return;  // a group that stays away
            StoreFromAiv(pipe, slots, index, 3000 + static_cast<int32_t>(index));
            CrossCoreSetFlag<1, PIPE_MTE3>(15);
            CrossCoreWaitFlag(15);
            saw[index] = LoadOnAiv(pipe, slots, index ^ 1);
        }
    });
    for (uint32_t i = 0; i < 48; ++i) CHECK_EQ(saw[i], i / 2 == 7 ? 0 : 3000 + int32_t(i ^ 1));
}

// Mode 2: "两个AIV都执行CrossCoreSetFlag后，AIC上CrossCoreWaitFlag后续的指令才能执行", and one set
// of the AIC frees both AIVs. The same id serves both directions: each core has its own counter.
TEST(mode_2_joins_an_aic_and_its_aivs) {
    std::vector<int32_t> slots(3 * 24 * kSlot, -1);
    std::vector<int32_t> aic_saw(48);
    std::vector<int32_t> aiv_saw(48);
    twin::Launch(Config(KernelKind::kMixAic1Aiv2, {Output("slots", slots)}, 0), [&] {
        TPipe pipe;
        const auto index = static_cast<uint32_t>(GetBlockIdx());
        if ASCEND_IS_AIC {
            CrossCoreWaitFlag(0);
            for (uint32_t i = 2 * index; i < 2 * index + 2; ++i)
                aic_saw[i] = LoadOnAic(pipe, slots, i);
            StoreFromAic(pipe, slots, 48 + index, 5000 + static_cast<int32_t>(index));
            CrossCoreSetFlag<2, PIPE_FIX>(0);
        } else {
            StoreFromAiv(pipe, slots, index, 4000 + static_cast<int32_t>(index));
            CrossCoreSetFlag<2, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
            aiv_saw[index] = LoadOnAiv(pipe, slots, 48 + index / 2);
        }
    });
    for (uint32_t i = 0; i < 48; ++i) {
        CHECK_EQ(aic_saw[i], 4000 + int32_t(i));
        CHECK_EQ(aiv_saw[i], 5000 + int32_t(i / 2));
    }
}

// CrossCoreWaitFlag: on this architecture mode and pipe of the wait have no effect.
TEST(mode_and_pipe_of_a_wait_have_no_effect) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIC {
            CrossCoreSetFlag<2, PIPE_MTE2>(4);
        } else if (GetSubBlockIdx() == 0) {
            CrossCoreWaitFlag<1, PIPE_V>(4);
            CHECK(true);
        } else {
            CrossCoreWaitFlag<2, PIPE_MTE2>(4);
            CHECK(true);
        }
    });
}

// An id may serve another mode once the first is done; a core has one counter for an id.
TEST(an_id_may_change_its_mode_when_all_is_paired) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIV {
            CrossCoreSetFlag<1, PIPE_MTE3>(6);
            CrossCoreWaitFlag(6);
            CrossCoreSetFlag<1, PIPE_MTE3>(7);  // both AIVs are past their wait for 6
            CrossCoreWaitFlag(7);
            CrossCoreSetFlag<2, PIPE_MTE3>(6);
            CrossCoreWaitFlag(6);
        } else {
            CrossCoreWaitFlag(6);
            CrossCoreSetFlag<2, PIPE_FIX>(6);
            CHECK(true);
        }
    });
}

// "须在模式切换前完成前一个模式的所有同步操作".
TEST(an_id_must_not_change_its_mode_before) {
    GroupBreaks("cross-core-flag", {"AIV 0", "flag 6", "mode 1", "mode 2"}, [] {
        if ASCEND_IS_AIV {
            CrossCoreSetFlag<1, PIPE_MTE3>(6);
            CrossCoreSetFlag<2, PIPE_MTE3>(6);
            CrossCoreWaitFlag(6);
        } else {
            CrossCoreWaitFlag(6);
        }
    });
}

// Pipes of CrossCoreSetFlag, as far as the core has them.
TEST(cross_core_flags_of_each_core_type) {
    OnGroup({}, [&] {
        if ASCEND_IS_AIC {
            CrossCoreSetFlag<2, PIPE_M>(0);
            CrossCoreSetFlag<2, PIPE_MTE1>(0);
            CrossCoreSetFlag<2, PIPE_MTE2>(0);
            CrossCoreSetFlag<2, PIPE_MTE3>(0);
            CrossCoreSetFlag<2, PIPE_FIX>(0);
        } else {
            for (int i = 0; i < 5; ++i) CrossCoreWaitFlag(0);
            CrossCoreSetFlag<1, PIPE_V>(1);
            CrossCoreSetFlag<1, PIPE_MTE2>(2);
            CrossCoreSetFlag<1, PIPE_MTE3>(3);
            for (uint16_t id = 1; id < 4; ++id) CrossCoreWaitFlag(id);
            CHECK(true);
        }
    });
    GroupBreaks("wrong-core", {"AIC 0"}, [] {
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_V>(0);
    });
    GroupBreaks("wrong-core", {"AIV 0"}, [] {
        if ASCEND_IS_AIV
            CrossCoreSetFlag<2, PIPE_FIX>(0);
    });
    // Mode 1 is "AIV核之间的同步控制".
    GroupBreaks("cross-core-flag", {"AIC 0", "mode 1"}, [] {
        if ASCEND_IS_AIC
            CrossCoreSetFlag<1, PIPE_FIX>(0);
    });
}

// Mode 2 from one AIV only: the AIC waits for ever. The report names who waits for which flag and
// who has set.
TEST(mode_2_needs_both_aivs) {
    int line = 0;
    GroupBreaks("deadlock", {"AIC 0 waits for flag 5", "AIV 0"}, [&] {
        if ASCEND_IS_AIC {
            CrossCoreWaitFlag(5);
        } else if (GetSubBlockIdx() == 0) {
            CrossCoreSetFlag<2, PIPE_MTE3>(5);
        }
    });
    try {
        OnGroup({}, [&] {
            if ASCEND_IS_AIC {
                line = __LINE__ + 1;
                CrossCoreWaitFlag(5);
            } else if (GetSubBlockIdx() == 1) {
                CrossCoreSetFlag<2, PIPE_MTE3>(5);
            }
        });
        CHECK(false);
    } catch (const twin::Error& error) {
        CHECK_EQ(error.line, line);
        const std::string what = error.what();
        CHECK(what.find("AIC 0") != std::string::npos);
        CHECK(what.find("AIV 1") != std::string::npos);
    }
}

TEST(waiting_for_nobody_is_a_deadlock) {
    GroupBreaks("deadlock", {"AIV 1", "flag 9"}, [] {
        if ASCEND_IS_AIV {
            if (GetSubBlockIdx() == 1) CrossCoreWaitFlag(9);
        }
    });
    GroupBreaks("deadlock", {"AIC 0", "AIV 0", "AIV 1"}, [] {  // each waits for the other
        CrossCoreWaitFlag(0);
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(0);
        if ASCEND_IS_AIV
            CrossCoreSetFlag<2, PIPE_MTE3>(0);
    });
}

// Mode 0 without one of the 24 AICs, mode 1 without one of the two AIVs.
TEST(a_missing_core_is_a_deadlock) {
    Breaks("deadlock", {"AIC 0 waits for flag 2", "AIC 1"}, [] {
        twin::Launch(Config(KernelKind::kMixAic1Aiv2, {}, 0), [] {
            if ASCEND_IS_AIC {
                if (GetBlockIdx() == 17) return;
                CrossCoreSetFlag<0, PIPE_FIX>(2);
                CrossCoreWaitFlag(2);
            }
        });
    });
    GroupBreaks("deadlock", {"AIV 0 waits for flag 2"}, [] {
        if ASCEND_IS_AIV {
            if (GetSubBlockIdx() == 1) return;
            CrossCoreSetFlag<1, PIPE_MTE3>(2);
            CrossCoreWaitFlag(2);
        }
    });
}

// "每一个计数器计数范围为0-15...计数器的值超出该范围，则会异常报错": the AIVs hold still until all
// sets are there.
TEST(counters_end_at_15) {
    const auto kernel = [](int sets) {
        if ASCEND_IS_AIC {
            for (int i = 0; i < sets; ++i) CrossCoreSetFlag<2, PIPE_FIX>(0);
            CrossCoreSetFlag<2, PIPE_FIX>(1);
        } else {
            CrossCoreWaitFlag(1);
            for (int i = 0; i < sets; ++i) CrossCoreWaitFlag(0);
        }
    };
    OnGroup({}, [&] {
        kernel(15);
        CHECK(true);
    });
    GroupBreaks("cross-core-counter", {"flag 0", "AIV 0", "15"}, [&] { kernel(16); });
}

// "用户需要确保配套使用CrossCoreSetFlag和CrossCoreWaitFlag".
TEST(flags_are_waited_for_before_the_kernel_ends) {
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"}, [] {  // nobody waits
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(3);
    });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"}, [] {  // one of two waits
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(3);
        if ASCEND_IS_AIV {
            if (GetSubBlockIdx() == 0) CrossCoreWaitFlag(3);
        }
    });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"},
                [] {  // both AIVs set, the AIC does not wait
                    if ASCEND_IS_AIV
                        CrossCoreSetFlag<2, PIPE_MTE3>(3);
                });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"},
                [] {  // one AIV sets, which does not even count
                    if ASCEND_IS_AIV {
                        if (GetSubBlockIdx() == 0) CrossCoreSetFlag<2, PIPE_MTE3>(3);
                    }
                });
    GroupBreaks("unpaired-cross-core-flag", {"flag 3"},
                [] {  // a round of mode 0 that nobody waits for
                    if ASCEND_IS_AIV
                        CrossCoreSetFlag<0, PIPE_MTE3>(3);
                });
}

// "支持的取值范围为0-15". The hardware would take the low 4 bits, that is flag 0: no kernel means
// that.
TEST(flag_ids_are_0_to_15) {
    GroupBreaks("parameter-range", {"16", "15"}, [] {
        if ASCEND_IS_AIC
            CrossCoreSetFlag<2, PIPE_FIX>(16);
    });
    GroupBreaks("parameter-range", {"16", "15"}, [] {
        if ASCEND_IS_AIC
            CrossCoreWaitFlag(16);
    });
}

// Table 3 and its note: without the scheduling module of a mixed kernel there is no cross-core
// synchronisation; a kernel of one core type has mode 0 only.
TEST(cross_core_flags_need_a_mixed_kernel_type) {
    AicBreaks("cross-core-flag", {}, {}, [] { CrossCoreSetFlag<0, PIPE_FIX>(0); });
    AicBreaks("cross-core-flag", {}, {}, [] { CrossCoreWaitFlag(0); });
    AivBreaks("cross-core-flag", {}, {}, [] { CrossCoreSetFlag<0, PIPE_MTE3>(0); });
    AivBreaks("cross-core-flag", {}, {}, [] { CrossCoreWaitFlag(0); });

    std::vector<uint32_t> passed;
    twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}, 0), [&] {
        CrossCoreSetFlag<0, PIPE_MTE3>(0);
        CrossCoreWaitFlag(0);
        passed.push_back(static_cast<uint32_t>(GetBlockIdx()));
    });
    CHECK_EQ(passed.size(), 48u);
    twin::Launch(Config(KernelKind::kMixAic1Aiv0, {}, 0), [&] {
        CrossCoreSetFlag<0, PIPE_FIX>(0);
        CrossCoreWaitFlag(0);
        passed.push_back(static_cast<uint32_t>(GetBlockIdx()));
    });
    CHECK_EQ(passed.size(), 72u);

    Breaks("cross-core-flag", {}, [] {
        twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}, 2), [] {
            CrossCoreSetFlag<1, PIPE_MTE3>(0);
            CrossCoreWaitFlag(0);
        });
    });
    Breaks("cross-core-flag", {}, [] {
        twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}, 2),
                     [] { CrossCoreSetFlag<2, PIPE_MTE3>(0); });
    });
    Breaks("cross-core-flag", {}, [] {
        twin::Launch(Config(KernelKind::kMixAic1Aiv0, {}, 2),
                     [] { CrossCoreSetFlag<2, PIPE_FIX>(0); });
    });
}

// ---- Kernel-Tiling/设置Kernel类型 ----

TEST(a_kernel_is_launched_as_the_type_it_declares) {
    twin::Launch(Config(KernelKind::kMixAic1Aiv2, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2); });
    twin::Launch(Config(KernelKind::kAicOnly, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY); });
    twin::Launch(Config(KernelKind::kAivOnly, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY); });
    twin::Launch(Config(KernelKind::kMixAiv1Aic0, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0); });
    twin::Launch(Config(KernelKind::kMixAic1Aiv0, {}),
                 [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_0); });
    AivBreaks("kernel-type", {"KERNEL_TYPE_MIX_AIC_1_2", "KERNEL_TYPE_AIV_ONLY"}, {},
              [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2); });
    AicBreaks("kernel-type", {"KERNEL_TYPE_MIX_AIC_1_0", "KERNEL_TYPE_AIC_ONLY"}, {},
              [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_0); });
    GroupBreaks("kernel-type", {"KERNEL_TYPE_AIV_ONLY", "KERNEL_TYPE_MIX_AIC_1_2"},
                [] { KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY); });
}

// ---- 工具接口/系统资源与变量/{GetBlockIdx, GetBlockNum, GetSubBlockIdx(ISASI)} ----

namespace {

struct Core {
    bool aic;
    int64_t block;
    int64_t sub_block;
    int64_t blocks;
};

std::vector<Core> CoresOf(KernelKind kind, uint32_t blocks, const char* chip) {
    std::vector<Core> cores;
    twin::Launch(Config(kind, {}, blocks, chip), [&] {
        cores.push_back({twin::IsAic(), GetBlockIdx(), GetSubBlockIdx(), GetBlockNum()});
    });
    return cores;
}

/// Cores of the type have indices 0, 1, ... `count` - 1, each once, sub-block index % `sub_blocks`.
void CheckCores(const std::vector<Core>& cores, bool aic, size_t count, int64_t sub_blocks,
                int64_t blocks) {
    std::set<int64_t> indices;
    for (const Core& core : cores) {
        if (core.aic != aic) continue;
        CHECK(indices.insert(core.block).second);
        CHECK_EQ(core.sub_block, core.block % sub_blocks);
        CHECK_EQ(core.blocks, blocks);
    }
    CHECK_EQ(indices.size(), count);
    if (count != 0) {
        CHECK_EQ(*indices.begin(), 0);
        CHECK_EQ(*indices.rbegin(), static_cast<int64_t>(count) - 1);
    }
}

}  // namespace

// "AIC上取值范围为[0, numBlocks)，AIV上取值范围为[0, 2 * numBlocks)"; sub-blocks 0 and 1.
TEST(indices_of_a_mixed_kernel) {
    const auto a3 = CoresOf(KernelKind::kMixAic1Aiv2, 0, "Ascend910_9391");
    CheckCores(a3, true, 24, 1, 24);
    CheckCores(a3, false, 48, 2, 24);
    const auto b3 = CoresOf(KernelKind::kMixAic1Aiv2, 0, "Ascend910B3");
    CheckCores(b3, true, 20, 1, 20);
    CheckCores(b3, false, 40, 2, 20);
    const auto ten = CoresOf(KernelKind::kMixAic1Aiv2, 10, "Ascend910_9391");
    CheckCores(ten, true, 10, 1, 10);
    CheckCores(ten, false, 20, 2, 10);
}

// "仅启动AIC或AIV的场景，索引的范围为[0, numBlocks)".
TEST(indices_of_kernels_of_one_core_type) {
    CheckCores(CoresOf(KernelKind::kAivOnly, 0, "Ascend910_9391"), false, 48, 1, 48);
    CheckCores(CoresOf(KernelKind::kAivOnly, 0, "Ascend910B3"), false, 40, 1, 40);
    CheckCores(CoresOf(KernelKind::kAivOnly, 10, "Ascend910B3"), false, 10, 1, 10);
    CheckCores(CoresOf(KernelKind::kAivOnly, 10, "Ascend910B3"), true, 0, 1, 10);
    CheckCores(CoresOf(KernelKind::kAicOnly, 0, "Ascend910_9391"), true, 24, 1, 24);
    CheckCores(CoresOf(KernelKind::kAicOnly, 0, "Ascend910B3"), true, 20, 1, 20);
    CheckCores(CoresOf(KernelKind::kMixAiv1Aic0, 0, "Ascend910B3"), false, 40, 1, 40);
    CheckCores(CoresOf(KernelKind::kMixAic1Aiv0, 0, "Ascend910B3"), true, 20, 1, 20);
}

// The pages' prototypes return int64_t: in GetBlockIdx() - 1 the difference may be negative.
TEST(indices_are_signed_64_bit) {
    CHECK((std::is_same_v<decltype(GetBlockIdx()), int64_t>));
    CHECK((std::is_same_v<decltype(GetSubBlockIdx()), int64_t>));
    CHECK((std::is_same_v<decltype(GetBlockNum()), int64_t>));
}

// A launch that no chip can run is the host's mistake.
TEST(launches_that_cannot_be_are_refused) {
    const auto launch = [](KernelKind kind, uint32_t blocks) {
        twin::Launch(Config(kind, {}, blocks), [] {});
    };
    launch(KernelKind::kAivOnly, 48);
    CHECK_THROWS_WITH(launch(KernelKind::kAivOnly, 49), std::invalid_argument, "49");
    CHECK_THROWS_WITH(launch(KernelKind::kMixAic1Aiv2, 25), std::invalid_argument, "25");
    CHECK_THROWS_WITH(launch(KernelKind::kAicOnly, 25), std::invalid_argument, "25");
    twin::LaunchConfig nothing = Config(KernelKind::kAivOnly, {});
    nothing.chip = nullptr;
    CHECK_THROWS_WITH(twin::Launch(nothing, [] {}), std::invalid_argument, "chip");
    CHECK(TwinWorks());
}
