// Queues. Pages: 资源管理/TQue/*, 资源管理/TPipe/InitBuffer.
#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::DataCopy;
using AscendC::Muls;
using AscendC::TQue;

namespace {

LocalTensor<float> Loaded(Run& run, InQueue& queue) {
    LocalTensor<float> x = queue.AllocTensor<float>();
    DataCopy(x, run.In<float>(), kCount);
    queue.EnQue(x);
    return queue.DeQue<float>();
}

std::vector<Pair> Tensors() {
    return {
        {"free-without-alloc",
         "a tensor is freed that no queue has handed out",
         {"FreeTensor", "VECIN queue", "of UB"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             auto other = Ub(pipe);
             auto x = Loaded(run, in);
             run.Next();
             in.FreeTensor(run.fixed() ? x : other);
             if (!run.fixed()) in.FreeTensor(x);
         }},
        {"free-without-alloc",
         "a tensor is given back to a queue that is not its own",
         {"FreeTensor", "VECOUT queue"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             Ready<OutQueue> out(pipe);
             auto x = Loaded(run, in);
             auto y = out.AllocTensor<float>();
             run.Next();
             out.FreeTensor(run.fixed() ? y : x);
             in.FreeTensor(x);
         }},
        {"double-free",
         "a tensor is freed twice",
         {"FreeTensor gets ", "has been freed by FreeTensor of "},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             auto x = Loaded(run, in);
             if (!run.fixed()) in.FreeTensor(x);
             run.Next();
             in.FreeTensor(x);
         }},
        {"use-after-free",
         "a vector instruction reads a tensor that is freed",
         {"Muls: ", "FreeTensor of "},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             auto x = Loaded(run, in);
             const auto y = Ub(pipe);
             if (!run.fixed()) in.FreeTensor(x);
             run.Next();
             Muls(y, x, 2.0F, kCount);
             if (run.fixed()) in.FreeTensor(x);
         }},
        // The freed tensor has the same address as the new one, whose bytes are all written.
        {"use-after-free",
         "a vector instruction reads a freed tensor whose buffer another one has",
         {"Muls: ", "another tensor has it since "},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             auto stale = Loaded(run, in);
             in.FreeTensor(stale);
             auto x = Loaded(run, in);
             const auto y = Ub(pipe);
             run.Next();
             Muls(y, run.fixed() ? x : stale, 2.0F, kCount);
             in.FreeTensor(x);
         }},
        {"tensor-not-freed",
         "a tensor of a queue is never freed",
         {"never freed"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             run.Next();
             auto x = in.AllocTensor<float>();
             if (run.fixed()) in.FreeTensor(x);
         }},
    };
}

template <typename Queue>
void TwoInARow(Run& run) {
    TPipe pipe;
    Ready<Queue> in(pipe, 2);
    auto a = in.template AllocTensor<float>();
    auto b = in.template AllocTensor<float>();
    in.EnQue(a);
    run.Next();
    in.EnQue(b);
    a = in.template DeQue<float>();
    b = in.template DeQue<float>();
    in.FreeTensor(a);
    in.FreeTensor(b);
}

std::vector<Pair> Traffic() {
    return {
        {"queue-no-buffer",
         "a third tensor is asked for of a queue of two buffers",
         {"VECIN queue", "none of whose 2 buffers"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<TQue<TPosition::VECIN, 2>> in(pipe, run.fixed() ? 3 : 2);
             LocalTensor<float> tensors[3];
             for (auto& tensor : tensors) {
                 run.Next();
                 tensor = in.AllocTensor<float>();
             }
             for (auto& tensor : tensors) in.FreeTensor(tensor);
         }},
        {"queue-empty",
         "a tensor is taken from a queue that nothing was put into",
         {"VECIN queue"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             auto x = in.AllocTensor<float>();
             DataCopy(x, run.In<float>(), kCount);
             if (run.fixed()) in.EnQue(x);
             run.Next();
             x = in.DeQue<float>();
             in.FreeTensor(x);
         }},
        {"queue-full",
         "two tensors are put into a queue of depth 1",
         {"VECIN queue of depth 1", "holds 1"},
         Aiv(),
         [](Run& run) {
             if (run.fixed()) {
                 TwoInARow<TQue<TPosition::VECIN, 2>>(run);
             } else {
                 TwoInARow<InQueue>(run);
             }
         }},
        {"queue-foreign-tensor",
         "a tensor is put into a queue that did not hand it out",
         {"EnQue gets ", "VECOUT queue"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             Ready<OutQueue> out(pipe);
             auto x = Loaded(run, in);
             auto y = out.AllocTensor<float>();
             Muls(y, x, 2.0F, kCount);
             run.Next();
             out.EnQue(run.fixed() ? y : x);
             y = out.DeQue<float>();
             in.FreeTensor(x);
             out.FreeTensor(y);
         }},
        {"queue-foreign-tensor",
         "a tensor of a buffer is put into a queue",
         {"EnQue gets ", "VECIN queue"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             auto other = Ub(pipe);
             auto x = in.AllocTensor<float>();
             run.Next();
             in.EnQue(run.fixed() ? x : other);
             x = in.DeQue<float>();
             in.FreeTensor(x);
         }},
        {"capacity",
         "the queues of a position have more than 8 buffers",
         {"VECIN queue", "of at most 8"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             InQueue first;
             InQueue second;
             pipe.InitBuffer(first, 8, 32);
             if (run.fixed()) first.FreeAllEvent();
             run.Next();
             pipe.InitBuffer(second, 1, 32);
         }},
        {"queue-order",
         "a tensor is freed that is still in the queue",
         {"FreeTensor gets ", "call DeQue first"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             auto x = in.AllocTensor<float>();
             in.EnQue(x);
             if (run.fixed()) x = in.DeQue<float>();
             run.Next();
             in.FreeTensor(x);
         }},
    };
}

}  // namespace

std::vector<Pair> QueuePairs() {
    std::vector<Pair> pairs = Tensors();
    const std::vector<Pair> traffic = Traffic();
    pairs.insert(pairs.end(), traffic.begin(), traffic.end());
    return pairs;
}

}  // namespace twin::checks
