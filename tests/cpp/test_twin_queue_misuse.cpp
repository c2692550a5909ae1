// What goes wrong with queues: for every check a kernel that is wrong and the same one put right.
// Pages: 资源管理/TQue/*, 资源管理/TQueBind/FreeAllEvent, 资源管理/TPipe/InitBuffer.
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "twin_queue_fixture.h"

using namespace fixture;

// ---- misuse ----

TEST(free_of_a_tensor_that_no_queue_handed_out) {
    Misuse("free-without-alloc", {"FreeTensor", "VECIN queue", "of UB"},
           [](Tiles& aiv, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               pipe.InitBuffer(in, 1, kBytes);
               auto other = Allocate<TPosition::VECCALC, float>(pipe, kCount);
               auto x = Loaded(in, aiv);
               mark.Next();
               in.FreeTensor(mended ? x : other);
               if (!mended) in.FreeTensor(x);
           });
}

TEST(free_of_another_queues_tensor) {
    Misuse("free-without-alloc", {"FreeTensor", "VECIN queue"},
           [](Tiles& aiv, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               InQueue other;
               pipe.InitBuffer(in, 1, kBytes);
               pipe.InitBuffer(other, 1, kBytes);
               auto x = Loaded(in, aiv);
               InQueue& queue = mended ? in : other;
               mark.Next();
               queue.FreeTensor(x);
           });
}

TEST(double_free) {
    Misuse("double-free", {"FreeTensor gets ", "has been freed by FreeTensor of "},
           [](Tiles& aiv, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               pipe.InitBuffer(in, 1, kBytes);
               auto x = Loaded(in, aiv);
               if (!mended) in.FreeTensor(x);
               mark.Next();
               in.FreeTensor(x);
           });
    // The buffer has a new owner meanwhile.
    Misuse("double-free", {"another tensor's since"}, [](Tiles& aiv, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = Loaded(in, aiv);
        auto stale = x;
        in.FreeTensor(x);
        x = Loaded(in, aiv);
        mark.Next();
        in.FreeTensor(mended ? x : stale);
    });
}

TEST(use_after_free) {
    Misuse("use-after-free", {"Muls: ", "FreeTensor of "}, [](Tiles& aiv, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = Loaded(in, aiv);
        const auto y = Allocate<TPosition::VECCALC, float>(pipe, kCount);
        if (!mended) in.FreeTensor(x);
        mark.Next();
        Muls(y, x, 2.0F, kCount);
        if (mended) in.FreeTensor(x);
    });
    // Views and scalar accesses of it too, and EnQue.
    Misuse("use-after-free", {"SetValue: "}, [](Tiles& aiv, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = Loaded(in, aiv);
        const auto view = x.ReinterpretCast<int32_t>()[8];
        if (!mended) in.FreeTensor(x);
        PipeBarrier<PIPE_ALL>();
        mark.Next();
        view.SetValue(0, 1);
        if (mended) in.FreeTensor(x);
    });
    Misuse("use-after-free", {"EnQue gets "}, [](Tiles& aiv, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = in.AllocTensor<float>();
        DataCopy(x, Gm(aiv.in), kCount);
        if (!mended) in.FreeTensor(x);
        mark.Next();
        in.EnQue(x);
        x = in.DeQue<float>();
        in.FreeTensor(x);
    });
}

// The stale tensor has the address of the new one, and all its bytes are written.
TEST(use_of_a_stale_tensor_after_its_buffer_was_given_away) {
    Misuse("use-after-free", {"Muls: ", "another tensor has it since "},
           [](Tiles& aiv, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               pipe.InitBuffer(in, 1, kBytes);
               auto stale = Loaded(in, aiv);
               in.FreeTensor(stale);
               auto x = Loaded(in, aiv);
               const auto y = Allocate<TPosition::VECCALC, float>(pipe, kCount);
               mark.Next();
               Muls(y, mended ? x : stale, 2.0F, kCount);
               in.FreeTensor(x);
           });
}

TEST(use_of_a_tensor_whose_pipe_has_ended) {
    Misuse("use-after-pipe", {"Duplicate: ", "of a TPipe that has ended"},
           [](Tiles&, bool mended, Mark& mark) {
               LocalTensor<float> x;
               InQueue in;
               {
                   TPipe pipe;
                   pipe.InitBuffer(in, 1, kBytes);
                   x = in.AllocTensor<float>();
                   in.FreeTensor(x);
               }
               PipeBarrier<PIPE_ALL>();
               TPipe pipe;
               if (mended) {
                   pipe.InitBuffer(in, 1, kBytes);
                   x = in.AllocTensor<float>();
               }
               mark.Next();
               Duplicate(x, 1.0F, kCount);
               in.FreeTensor(x);
           });
}

// HasIdleBuffer: "返回值为false，继续AllocTensor会报错".
TEST(alloc_without_an_idle_buffer) {
    Misuse("queue-no-buffer", {"VECIN queue", "none of whose 2 buffers"},
           [](Tiles&, bool mended, Mark& mark) {
               TPipe pipe;
               TQue<TPosition::VECIN, 2> in;
               pipe.InitBuffer(in, mended ? 3 : 2, kBytes);
               LocalTensor<float> tensors[3];
               for (auto& tensor : tensors) {
                   mark.Next();
                   tensor = in.AllocTensor<float>();
               }
               for (auto& tensor : tensors) in.FreeTensor(tensor);
           });
    Misuse("not-initialised", {"AllocTensor is called on a VECIN queue"},
           [](Tiles&, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               if (mended) pipe.InitBuffer(in, 1, kBytes);
               mark.Next();
               auto x = in.AllocTensor<float>();
               in.FreeTensor(x);
           });
}

TEST(every_use_of_a_queue_comes_after_its_initialisation) {
    const std::vector<std::pair<std::string, std::function<void(InQueue&)>>> uses = {
        {"AllocTensor", [](InQueue& in) { in.AllocTensor<float>(); }},
        {"DeQue", [](InQueue& in) { in.DeQue<float>(); }},
        {"EnQue", [](InQueue& in) { in.EnQue(LocalTensor<float>()); }},
        {"FreeAllEvent", [](InQueue& in) { in.FreeAllEvent(); }},
        {"VacantInQue", [](InQueue& in) { in.VacantInQue(); }},
        {"HasTensorInQue", [](InQueue& in) { in.HasTensorInQue(); }},
        {"GetTensorCountInQue", [](InQueue& in) { in.GetTensorCountInQue(); }},
        {"HasIdleBuffer", [](InQueue& in) { in.HasIdleBuffer(); }}};
    for (const auto& [name, use] : uses) {
        AivBreaks("not-initialised", {name + " is called on a VECIN queue before InitBuffer"}, {},
                  [&use = use] {
                      TPipe pipe;
                      InQueue in;
                      use(in);
                  });
        AivBreaks("use-after-pipe", {name + " is called on a VECIN queue whose TPipe has ended"},
                  {}, [&use = use] {
                      TPipe pipe;
                      InQueue in;
                      pipe.InitBuffer(in, 1, kBytes);
                      pipe.Reset();
                      use(in);
                  });
    }
}

// DeQue: "对空队列执行DeQue是一种异常行为".
TEST(deque_of_an_empty_queue) {
    Misuse("queue-empty", {"VECIN queue"}, [](Tiles& aiv, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        auto x = in.AllocTensor<float>();
        DataCopy(x, Gm(aiv.in), kCount);
        if (mended) in.EnQue(x);
        mark.Next();
        x = in.DeQue<float>();
        in.FreeTensor(x);
    });
}

// TQue简介: n EnQue in a row take a depth of n. VacantInQue: "继续入队操作（Enque）将报错".
TEST(enque_beyond_the_depth) {
    Misuse("queue-full", {"VECIN queue of depth 1", "holds 1"},
           [](Tiles&, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               pipe.InitBuffer(in, 2, kBytes);
               auto a = in.AllocTensor<float>();
               auto b = in.AllocTensor<float>();
               in.EnQue(a);
               if (mended) a = in.DeQue<float>();
               mark.Next();
               in.EnQue(b);
               b = in.DeQue<float>();
               in.FreeTensor(a);
               in.FreeTensor(b);
           });
}

TEST(enque_of_a_foreign_tensor) {
    Misuse("queue-foreign-tensor", {"EnQue gets ", "VECOUT queue"},
           [](Tiles& aiv, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               OutQueue out;
               pipe.InitBuffer(in, 1, kBytes);
               pipe.InitBuffer(out, 1, kBytes);
               auto x = Loaded(in, aiv);
               auto y = out.AllocTensor<float>();
               Muls(y, x, 2.0F, kCount);
               mark.Next();
               out.EnQue(mended ? y : x);
               y = out.DeQue<float>();
               in.FreeTensor(x);
               out.FreeTensor(y);
           });
}

TEST(a_tensor_in_the_queue_is_not_to_be_freed_or_queued_again) {
    for (const bool again : {false, true}) {
        Misuse("queue-order", {again ? "EnQue gets " : "FreeTensor gets ", "call DeQue first"},
               [again](Tiles&, bool mended, Mark& mark) {
                   TPipe pipe;
                   TQue<TPosition::VECIN, 2> in;
                   pipe.InitBuffer(in, 1, kBytes);
                   auto x = in.AllocTensor<float>();
                   if (again) {
                       in.EnQue(x);
                       if (mended) {
                           x = in.DeQue<float>();
                           in.FreeTensor(x);  // and back to the pipe that fills it
                           x = in.AllocTensor<float>();
                       }
                       mark.Next();
                       in.EnQue(x);
                   }
                   if (!again) in.EnQue(x);
                   if (mended) x = in.DeQue<float>();
                   if (!again) mark.Next();
                   in.FreeTensor(x);
               });
    }
    // Put in for one pipe, taken out by another.
    Misuse("queue-order", {"waits for V_MTE3", "with MTE2_V"}, [](Tiles&, bool mended, Mark& mark) {
        TPipe pipe;
        TQueBind<TPosition::VECIN, TPosition::VECOUT, 1> queue;
        pipe.InitBuffer(queue, 1, kBytes);
        auto x = queue.AllocTensor<float>();
        queue.EnQue<TPosition::GM, TPosition::VECIN, float>(x);
        if (mended) {
            x = queue.DeQue<TPosition::GM, TPosition::VECIN, float>();
            queue.EnQue<TPosition::VECOUT, TPosition::GM, float>(x);
        }
        mark.Next();
        x = queue.DeQue<TPosition::VECOUT, TPosition::GM, float>();
        queue.FreeTensor(x);
    });
}

// FreeTensor: "注意配对使用".
TEST(a_tensor_that_is_never_freed) {
    Misuse("tensor-not-freed", {"never freed"}, [](Tiles& aiv, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 2, kBytes);
        auto x = Loaded(in, aiv);
        in.FreeTensor(x);
        mark.Next();
        x = in.AllocTensor<float>();
        if (mended) in.FreeTensor(x);
    });
    // Nor taken out of the queue.
    Misuse("tensor-not-freed", {"never freed"}, [](Tiles&, bool mended, Mark& mark) {
        TPipe pipe;
        InQueue in;
        pipe.InitBuffer(in, 1, kBytes);
        mark.Next();
        auto x = in.AllocTensor<float>();
        in.EnQue(x);
        if (!mended) return;
        x = in.DeQue<float>();
        in.FreeTensor(x);
    });
}

// ---- limits ----

// "TQue的深度，一般不超过4"; 0 asks for operations in place, which CANN 8.1 does not declare.
TEST(the_depth_of_a_queue) {
    Misuse("parameter-range", {"depth of the queue is 5", "1 to 4"},
           [](Tiles&, bool mended, Mark& mark) {
               TPipe pipe;
               TQue<TPosition::VECIN, 5> deep;
               TQue<TPosition::VECIN, 4> in;
               if (mended) {
                   pipe.InitBuffer(in, 1, kBytes);
               } else {
                   mark.Next();
                   pipe.InitBuffer(deep, 1, kBytes);
               }
           });
    AivBreaks("unsupported", {"depth 0"}, {}, [] {
        TPipe pipe;
        TQue<TPosition::VECIN, 0> in;
        pipe.InitBuffer(in, 1, kBytes);
    });
}

// TQue Buffer限制: eight buffers for each position; num is uint8_t in the toolkits.
TEST(the_number_of_buffers) {
    for (const int num : {9, 0, 257}) {
        Misuse("parameter-range", {"num is " + std::to_string(num), "1 to 8"},
               [num](Tiles&, bool mended, Mark& mark) {
                   TPipe pipe;
                   InQueue in;
                   mark.Next();
                   pipe.InitBuffer(in, mended ? 8 : num, kBytes);
               });
    }
    Misuse("capacity", {"2 buffers of a VECIN queue", "have 7, of at most 8"},
           [](Tiles&, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               InQueue other;
               OutQueue out;  // another position
               pipe.InitBuffer(out, 8, kBytes);
               pipe.InitBuffer(in, 7, kBytes);
               mark.Next();
               pipe.InitBuffer(other, mended ? 1 : 2, kBytes);
           });
}

// "多次申请TQue": FreeAllEvent gives the events back.
TEST(buffers_of_a_queue_that_gave_its_events_back) {
    Misuse("capacity", {"have 8, of at most 8", "FreeAllEvent"},
           [](Tiles& aiv, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               InQueue other;
               pipe.InitBuffer(in, 8, kBytes);
               auto x = Loaded(in, aiv);
               in.FreeTensor(x);
               if (mended) in.FreeAllEvent();
               mark.Next();
               pipe.InitBuffer(other, 1, kBytes);
               x = Loaded(other, aiv);
               other.FreeTensor(x);
           });
}

// AllocTensor, constraints: eight tensors of a position at a time.
TEST(tensors_in_use_at_a_position) {
    Misuse("capacity", {"8 tensors of the queues of this position"},
           [](Tiles&, bool mended, Mark& mark) {
               TPipe pipe;
               InQueue in;
               InQueue other;
               pipe.InitBuffer(in, 8, kBytes);
               in.FreeAllEvent();
               pipe.InitBuffer(other, 1, kBytes);
               LocalTensor<float> tensors[8];
               for (auto& tensor : tensors) tensor = in.AllocTensor<float>();
               if (mended) in.FreeTensor(tensors[7]);
               mark.Next();
               auto x = other.AllocTensor<float>();
               other.FreeTensor(x);
               other.FreeAllEvent();  // the eight ids are for the others
               PipeBarrier<PIPE_ALL>();
               for (int i = 0; i < 7; ++i) in.FreeTensor(tensors[i]);
           });
}

TEST(queues_share_the_capacity_of_their_buffer) {
    Misuse("capacity", {"for 65536 bytes in UB", "131104 of 188160"},
           [](Tiles&, bool mended, Mark& mark) {
               TPipe pipe;
               AscendC::TBuf<TPosition::VECCALC> buffer;
               InQueue in;
               pipe.InitBuffer(buffer, 32);
               mark.Next();
               pipe.InitBuffer(in, mended ? 2 : 3, 65536);
           });
    Breaks("wrong-core", {"an AIV has no L1"}, [] {
        OnAiv({}, [] {
            TPipe pipe;
            TQue<TPosition::A1, 1> in;
            pipe.InitBuffer(in, 1, kBytes);
        });
    });
}
