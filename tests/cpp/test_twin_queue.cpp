// Queues: the order they give, and the events they take.
// Pages: 资源管理/TQue/*, 资源管理/TQueBind/*, 资源管理/TPipe/InitBuffer; guide:
//        TPipe-TQue框架编程原理 (which events the operations stand for).
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "twin_queue_fixture.h"

using namespace fixture;

namespace {

/// Operations of the double-buffered kernel that can be left out.
enum class Without {
    kNothing,
    kEnQueIn,
    kDeQueIn,
    kBothIn,
    kFreeIn,
    kAllocAndFreeIn,
    kEnQueOut,
    kDeQueOut,
    kBothOut,
    kFreeOut,
    kAllocAndFreeOut
};

/// out = 2 * in, tile by tile, two buffers on either side.
void Double(Tiles& aiv, Without left_out) {
    const auto without = [&](Without operation) { return left_out == operation; };
    const bool keep_in = without(Without::kAllocAndFreeIn);
    const bool keep_out = without(Without::kAllocAndFreeOut);
    TPipe pipe;
    InQueue in;
    OutQueue out;
    pipe.InitBuffer(in, 2, kBytes);
    pipe.InitBuffer(out, 2, kBytes);
    LocalTensor<float> x;
    LocalTensor<float> y;
    for (uint32_t tile = 0; tile < kTiles; ++tile) {
        if (!keep_in || tile == 0) x = in.AllocTensor<float>();
        DataCopy(x, Gm(aiv.in)[tile * kCount], kCount);
        if (!without(Without::kEnQueIn) && !without(Without::kBothIn)) in.EnQue(x);

        if (!without(Without::kDeQueIn) && !without(Without::kBothIn)) x = in.DeQue<float>();
        if (!keep_out || tile == 0) y = out.AllocTensor<float>();
        Muls(y, x, 2.0F, kCount);
        if (!without(Without::kEnQueOut) && !without(Without::kBothOut)) out.EnQue(y);
        if (!without(Without::kFreeIn) && !keep_in) in.FreeTensor(x);

        if (!without(Without::kDeQueOut) && !without(Without::kBothOut)) y = out.DeQue<float>();
        DataCopy(Gm(aiv.out)[tile * kCount], y, kCount);
        if (!without(Without::kFreeOut) && !keep_out) out.FreeTensor(y);
    }
    if (keep_in) in.FreeTensor(x);
    if (keep_out) out.FreeTensor(y);
}

}  // namespace

// ---- order ----

TEST(two_buffers_on_either_side_of_a_computation) {
    Tiles aiv;
    CHECK_EQ(CodeOf(aiv.Config(), [&] { Double(aiv, Without::kNothing); }), std::string());
    CHECK_EQ(aiv.out, aiv.Doubled());
}

// Without AllocTensor and FreeTensor nothing orders what fills a buffer after what filled it
// before.
TEST(a_queue_operation_that_is_left_out_is_reported) {
    const std::pair<Without, std::string> cases[] = {
        {Without::kEnQueIn, "queue-empty"},
        {Without::kDeQueIn, "pipe-race"},
        {Without::kBothIn, "pipe-race"},
        {Without::kFreeIn, "queue-no-buffer"},
        {Without::kAllocAndFreeIn, "missing-barrier"},
        {Without::kEnQueOut, "queue-empty"},
        {Without::kDeQueOut, "pipe-race"},
        {Without::kBothOut, "pipe-race"},
        {Without::kFreeOut, "queue-no-buffer"},
        {Without::kAllocAndFreeOut, "missing-barrier"},
    };
    for (const auto& [left_out, code] : cases) {
        Tiles aiv;
        CHECK_EQ(CodeOf(aiv.Config(), [&, without = left_out] { Double(aiv, without); }), code);
    }
}

// EnQue and DeQue order two pipes, not three.
TEST(a_queue_orders_the_pipes_it_connects_only) {
    Tiles aiv;
    Pair("pipe-race", {"DataCopy on MTE3", "after DataCopy on MTE2", "SetFlag<MTE2_MTE3>"},
         aiv.Config(), [&](bool mended, Mark& mark) {
             TPipe pipe;
             InQueue in;
             pipe.InitBuffer(in, 1, kBytes);
             auto x = Loaded(in, aiv);
             if (mended) PipeBarrier<PIPE_ALL>();
             mark.Next();
             DataCopy(Gm(aiv.out), x, kCount);
             PipeBarrier<PIPE_ALL>();
             in.FreeTensor(x);
         });
}

// Vector after vector on one tensor still takes a barrier.
TEST(a_queue_orders_no_pipe_after_itself) {
    Tiles aiv;
    Pair("missing-barrier", {"Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = Loaded(in, aiv);
        Muls(x, x, 2.0F, kCount);
        if (mended) PipeBarrier<PIPE_V>();
        mark.Next();
        Muls(x, x, 2.0F, kCount);
        in.FreeTensor(x);
    });
}

// "non-inplace接口分配的Tensor内容可能包含随机值": also where the buffer held something before.
TEST(an_allocated_tensor_holds_nothing) {
    Tiles aiv;
    Pair("uninitialised", {"Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = Loaded(in, aiv);
        in.FreeTensor(x);
        x = in.AllocTensor<float>();
        if (mended) DataCopy(x, Gm(aiv.in), kCount);
        in.EnQue(x);
        x = in.DeQue<float>();
        mark.Next();
        Muls(x, x, 2.0F, kCount);
        in.FreeTensor(x);
    });
}

// TQueBind<VECIN, VECOUT>: one buffer for the way in and the way out.
TEST(input_and_output_share_a_buffer) {
    Tiles aiv;
    Pair("pipe-race", {"DataCopy on MTE3"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        TQueBind<TPosition::VECIN, TPosition::VECOUT, 1> queue;
        pipe.InitBuffer(queue, 2, kBytes);
        for (uint32_t tile = 0; tile < kTiles; ++tile) {
            auto x = queue.AllocTensor<float>();
            DataCopy(x, Gm(aiv.in)[tile * kCount], kCount);
            if (mended) {
                queue.EnQue(x);
                x = queue.DeQue<float>();
            }
            mark.Next();
            DataCopy(Gm(aiv.out)[tile * kCount], x, kCount);
            queue.FreeTensor(x);
        }
    });
    CHECK_EQ(aiv.out, aiv.in);

    Tiles computed;
    Pair("pipe-race", {"DataCopy on MTE3", "after Muls on V"}, computed.Config(),
         [&](bool mended, Mark& mark) {
             TPipe pipe;
             TQueBind<TPosition::VECIN, TPosition::VECOUT, 1> queue;
             pipe.InitBuffer(queue, 2, kBytes);
             for (uint32_t tile = 0; tile < kTiles; ++tile) {
                 auto x = queue.AllocTensor<float>();
                 DataCopy(x, Gm(computed.in)[tile * kCount], kCount);
                 queue.EnQue<TPosition::GM, TPosition::VECIN, float>(x);
                 x = queue.DeQue<TPosition::GM, TPosition::VECIN, float>();
                 Muls(x, x, 2.0F, kCount);
                 if (mended) {
                     queue.EnQue<TPosition::VECOUT, TPosition::GM, float>(x);
                     x = queue.DeQue<TPosition::VECOUT, TPosition::GM, float>();
                 }
                 mark.Next();
                 DataCopy(Gm(computed.out)[tile * kCount], x, kCount);
                 queue.FreeTensor(x);
             }
         });
    CHECK_EQ(computed.out, computed.Doubled());
}

// TQueBind简介, table 1: GM -> A1, A1 -> A2, B1 -> B2, CO1 -> CO2.
TEST(queues_of_a_cube_core) {
    std::vector<half> in(512);
    for (size_t i = 0; i < 256; ++i) in[i] = Half(i % 17 == 0 ? 2.0F : 0.0F);  // 2 on the diagonal
    for (size_t i = 256; i < 512; ++i) in[i] = Half(static_cast<float>(i % 16));
    for (const int queues : {4, 3, 2, 1, 0}) {
        std::vector<float> out(256, -1.0F);
        const auto code =
            CodeOf(Full(KernelKind::kAicOnly, {Input("in", in), Output("out", out)}), [&] {
                const auto through = [&](int number, auto& queue, auto& tensor) {
                    if (number >= queues) return;
                    queue.EnQue(tensor);
                    using T = typename std::decay_t<decltype(tensor)>::PrimType;
                    tensor = queue.template DeQue<T>();
                };
                TPipe pipe;
                TQue<TPosition::A1, 1> l1;
                TQue<TPosition::A2, 1> left;
                TQue<TPosition::B2, 1> right;
                TQue<TPosition::CO1, 1> product;
                pipe.InitBuffer(l1, 1, 1024);
                pipe.InitBuffer(left, 1, 512);
                pipe.InitBuffer(right, 1, 512);
                pipe.InitBuffer(product, 1, 1024);
                for (int round = 0; round < 2; ++round) {
                    auto matrices = l1.AllocTensor<half>();
                    DataCopy(matrices, Gm(in), 512);
                    through(0, l1, matrices);
                    auto a = left.AllocTensor<half>();
                    auto b = right.AllocTensor<half>();
                    AscendC::LoadData2DParams fractal;
                    fractal.repeatTimes = 1;
                    fractal.srcStride = 1;
                    LoadData(a, matrices, fractal);
                    fractal.ifTranspose = true;
                    LoadData(b, matrices[256], fractal);
                    l1.FreeTensor(matrices);
                    through(1, left, a);
                    through(2, right, b);
                    auto c = product.AllocTensor<float>();
                    Mmad(c, a, b, Shape(16, 16, 16));
                    left.FreeTensor(a);
                    right.FreeTensor(b);
                    through(3, product, c);
                    AscendC::FixpipeParamsV220 store;
                    store.nSize = 16;
                    store.mSize = 16;
                    store.srcStride = 16;
                    store.dstStride = 16;
                    AscendC::Fixpipe(Gm(out), c, store);
                    product.FreeTensor(c);
                    // The store of the next round overwrites this one.
                    PipeBarrier<PIPE_FIX>();
                }
            });
        // Tensors of A2 and B2 come from one pipe: the event of either covers both.
        CHECK_EQ(code, std::string(queues == 4 ? "" : "pipe-race"));
        if (queues < 4) continue;
        for (size_t i = 0; i < 256; ++i) CHECK_EQ(out[i], 2.0F * static_cast<float>(i % 16));
    }
}

// ---- events ----

TEST(queue_operations_are_in_the_trace_as_events) {
    Tiles aiv;
    auto config = aiv.Config();
    twin::Trace trace;
    config.trace = &trace;
    twin::Launch(config, [&] {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        for (int round = 0; round < 2; ++round) {
            auto x = Loaded(in, aiv);
            in.FreeTensor(x);
        }
    });
    using twin::TraceOp;
    using twin::TracePipe;
    std::vector<std::string> events;
    for (const auto& record : trace.cores[0]) {
        const bool set = record.op == TraceOp::kSetFlag;
        if (!set && record.op != TraceOp::kWaitFlag) continue;
        CHECK(record.pipe == static_cast<TracePipe>(record.args[set ? 0 : 1]));
        CHECK_EQ(record.args[2], 0U);
        const bool load = record.args[0] == static_cast<uint32_t>(TracePipe::kMte2);
        CHECK_EQ(record.args[1], static_cast<uint32_t>(load ? TracePipe::kV : TracePipe::kMte2));
        CHECK_EQ(record.args[0], static_cast<uint32_t>(load ? TracePipe::kMte2 : TracePipe::kV));
        events.push_back(std::string(set ? "set " : "wait ") + (load ? "MTE2_V" : "V_MTE2"));
    }
    const std::vector<std::string> expected = {"set MTE2_V",  "wait MTE2_V", "set V_MTE2",
                                               "wait V_MTE2",  // AllocTensor of the second round
                                               "set MTE2_V",  "wait MTE2_V", "set V_MTE2",
                                               "wait V_MTE2"};  // ~TPipe
    CHECK(events == expected);
}

// SetFlag-WaitFlag(ISASI): with queues, ids come from AllocEventID or FetchEventID.
TEST(a_queue_takes_event_ids_like_everybody_else) {
    Misuse("event-set-twice", {"MTE2_V", "(0)"}, [](Tiles& aiv, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = in.AllocTensor<float>();
        DataCopy(x, Gm(aiv.in), kCount);
        in.EnQue(x);
        const auto id =
            mended ? pipe.AllocEventID<HardEvent::MTE2_V>() : static_cast<AscendC::TEventID>(0);
        mark.Next();
        AscendC::SetFlag<HardEvent::MTE2_V>(id);
        AscendC::WaitFlag<HardEvent::MTE2_V>(id);
        if (mended) pipe.ReleaseEventID<HardEvent::MTE2_V>(id);
        x = in.DeQue<float>();
        in.FreeTensor(x);
    });
}

// A1 and B1 hand over with the same event: eight ids for both.
TEST(a_tensor_in_a_queue_holds_an_event_id) {
    std::vector<half> in(16, Half(1.0F));
    Pair("event-id", {"EnQue is called on a B1 queue", "all 8 event ids of MTE2_MTE1"},
         Full(KernelKind::kAicOnly, {Input("in", in)}), [&](bool mended, Mark& mark) {
             TPipe pipe;
             TQue<TPosition::A1, 4> a[2];
             TQue<TPosition::B1, 1> b;
             for (auto& queue : a) pipe.InitBuffer(queue, 4, 32);
             pipe.InitBuffer(b, 1, 32);
             for (int i = 0; i < (mended ? 7 : 8); ++i) {
                 auto tensor = a[i / 4].AllocTensor<half>();
                 DataCopy(tensor, Gm(in), 16);
                 a[i / 4].EnQue(tensor);
             }
             auto tensor = b.AllocTensor<half>();
             DataCopy(tensor, Gm(in), 16);
             mark.Next();
             b.EnQue(tensor);
             for (int i = 0; i < 7; ++i) {
                 auto other = a[i / 4].DeQue<half>();
                 a[i / 4].FreeTensor(other);
             }
             tensor = b.DeQue<half>();
             b.FreeTensor(tensor);
         });
}

// A tensor that goes back into its queue without FreeTensor and AllocTensor: the second set may
// overtake the first wait.
TEST(a_tensor_goes_back_by_way_of_free_and_alloc) {
    Tiles aiv;
    Pair("event-reuse", {"MTE2_V", "(0)"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = Loaded(in, aiv);
        if (mended) {
            in.FreeTensor(x);
            x = in.AllocTensor<float>();
        }
        mark.Next();
        in.EnQue(x);
        x = in.DeQue<float>();
        in.FreeTensor(x);
    });
}

// ---- queries ----

TEST(a_queue_counts_its_tensors) {
    Tiles aiv;
    std::vector<int> seen;
    twin::Launch(aiv.Config(), [&] {
        TPipe pipe;
        TQue<TPosition::VECOUT, 2> queue;
        const auto look = [&] {
            seen.push_back(queue.GetTensorCountInQue() * 1000 + queue.HasTensorInQue() * 100 +
                           queue.VacantInQue() * 10 + queue.HasIdleBuffer());
        };
        pipe.InitBuffer(queue, 3, 33);
        look();
        auto a = queue.AllocTensor<float>();
        auto b = queue.AllocTensor<float>();
        CHECK_EQ(a.GetSize(), 16U);  // 33 bytes are two blocks
        CHECK_EQ(a.local().offset, uint64_t{0});
        CHECK_EQ(b.local().offset, uint64_t{64});
        look();
        CHECK(queue.EnQue(b));
        look();
        CHECK(queue.EnQue(a));
        look();
        auto c = queue.AllocTensor<float>();
        look();
        CHECK_EQ(queue.DeQue<float>().local().offset, uint64_t{64});
        CHECK_EQ(queue.DeQue<float>().local().offset, uint64_t{0});
        queue.FreeTensor(a);
        look();
        queue.FreeTensor(b);
        queue.FreeTensor(c);
    });
    CHECK_EQ(seen, (std::vector<int>{11, 11, 1111, 2101, 2100, 11}));
}

// ---- LaunchConfig::{calls, mutation} ----

// A DeQue or AllocTensor that is left out hands out its tensor without waiting; AllocTensor counts
// from the second use of a buffer on.
TEST(every_queue_operation_can_be_left_out_and_is_missed) {
    Tiles aiv;
    auto config = aiv.Config();
    twin::CallLog log;
    config.calls = &log;
    twin::Launch(config, [&] { Double(aiv, Without::kNothing); });
    config.calls = nullptr;
    std::map<std::string, std::string> found;
    for (const auto& [call, after] : log.calls) {
        const twin::Mutation mutation = {{call}, twin::MutationKind::kLeaveOut};
        config.mutation = &mutation;
        found[call.kind] += CodeOf(config, [&] { Double(aiv, Without::kNothing); });
        CHECK(TwinWorks());
    }
    const std::map<std::string, std::string> expected = {
        {"AllocTensor<V_MTE2>", "missing-barrier"},
        {"EnQue<MTE2_V>", "queue-empty"},
        {"DeQue<MTE2_V>", "pipe-race"},
        {"FreeTensor<V_MTE2>", "queue-no-buffer"},
        {"AllocTensor<MTE3_V>", "pipe-race"},
        {"EnQue<V_MTE3>", "queue-empty"},
        {"DeQue<V_MTE3>", "pipe-race"},
        {"FreeTensor<MTE3_V>", "queue-no-buffer"},
    };
    CHECK(found == expected);
    CHECK_EQ(log.calls.size(), size_t{8});
}
