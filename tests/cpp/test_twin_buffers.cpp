// Buffers of a TPipe: capacities, views, lives.
#include <cstdint>

#include "twin_fixture.h"

using namespace fixture;
using AscendC::HardEvent;
using AscendC::TBuf;

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
