// The lifetimes of the framework's objects: TPipe, TBuf, TQue and the tensors that they hand out.
// Pages: 资源管理/TPipe/{TPipe构造函数, Init, Destroy, Reset, InitBuffer}, 资源管理/TBuf/Get,
// 资源管理/TQue/*.
#include <optional>

#include "kernel_parts.h"
#include "pair.h"

namespace twin::checks {

using AscendC::DataCopy;
using AscendC::Duplicate;
using AscendC::Muls;
using AscendC::TBuf;

namespace {

std::vector<Pair> Pipes() {
    return {
        {"no-pipe",
         "a kernel asks for its TPipe and has none",
         {"GetTPipePtr"},
         Aiv(),
         [](Run& run) {
             std::optional<TPipe> pipe;
             if (run.fixed()) pipe.emplace();
             run.Next();
             static_cast<void>(AscendC::GetTPipePtr());
         }},
        {"no-pipe",
         "a TPipe hands out a buffer after Destroy",
         {"InitBuffer is called on a TPipe that is not alive"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             TBuf<> buffer;
             pipe.Destroy();
             if (run.fixed()) pipe.Init();
             run.Next();
             pipe.InitBuffer(buffer, kBytes);
         }},
        {"no-pipe",
         "an event id is asked of a TPipe that another one has followed",
         {"AllocEventID is called on a TPipe that is not alive: another one is"},
         Aiv(),
         [](Run& run) {
             TPipe first;
             first.Destroy();
             TPipe second;
             TPipe& pipe = run.fixed() ? second : first;
             run.Next();
             const auto id = pipe.AllocEventID<HardEvent::V_MTE3>();
             pipe.ReleaseEventID<HardEvent::V_MTE3>(id);
         }},
        {"two-pipes",
         "a core constructs a second TPipe while the first one is alive",
         {"TPipe"},
         Aiv(),
         [](Run& run) {
             std::optional<TPipe> first(std::in_place);
             if (run.fixed()) first.reset();
             run.Next();
             const TPipe second;
         }},
        {"two-pipes",
         "Init of a TPipe that is alive",
         {"TPipe::Init", "call Destroy first"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             if (run.fixed()) pipe.Destroy();
             run.Next();
             pipe.Init();
         }},
    };
}

std::vector<Pair> Beginnings() {
    return {
        // A prolog once did this in LoadSums, where its plan had no shares. With the toolkits, Get
        // returns a tensor at an arbitrary address.
        {"not-initialised",
         "a buffer that InitBuffer has not seen is asked for a tensor",
         {"TBuf::Get before InitBuffer"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             TBuf<> buffer;
             if (run.fixed()) pipe.InitBuffer(buffer, kBytes);
             run.Next();
             static_cast<void>(buffer.Get<float>());
         }},
        {"not-initialised",
         "a part is taken of a buffer that InitBuffer has not seen",
         {"TBuf::GetWithOffset before InitBuffer"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             TBuf<> buffer;
             if (run.fixed()) pipe.InitBuffer(buffer, kBytes);
             run.Next();
             static_cast<void>(buffer.GetWithOffset<float>(8, 32));
         }},
        {"not-initialised",
         "a queue that InitBuffer has not seen is asked for a tensor",
         {"AllocTensor is called on a VECIN queue before InitBuffer"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             InQueue in;
             if (run.fixed()) pipe.InitBuffer(in, 1, kBytes);
             run.Next();
             auto x = in.AllocTensor<float>();
             in.FreeTensor(x);
         }},
        {"not-initialised",
         "a vector instruction writes to a tensor that stands for no memory",
         {"Duplicate: dst"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             LocalTensor<float> x;
             if (run.fixed()) x = Ub(pipe);
             run.Next();
             Duplicate(x, 1.0F, kCount);
         }},
        {"not-initialised",
         "a load reads a GM tensor that has no address",
         {"DataCopy: a GlobalTensor without SetGlobalBuffer"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto x = Ub(pipe);
             GlobalTensor<float> gm;
             if (run.fixed()) gm = run.In<float>();
             run.Next();
             DataCopy(x, gm[8], kCount);
         }},
        {"initialised-twice",
         "InitBuffer is called again for a buffer",
         {"InitBuffer is called for a TBuf, which already has its memory"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             TBuf<> buffer;
             pipe.InitBuffer(buffer, kBytes);
             if (run.fixed()) pipe.Reset();
             run.Next();
             pipe.InitBuffer(buffer, 2 * kBytes);
         }},
        {"initialised-twice",
         "InitBuffer is called again for a queue",
         {"InitBuffer is called for a queue, which already has its memory"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             if (run.fixed()) pipe.Reset();
             run.Next();
             pipe.InitBuffer(in, 2, kBytes);
         }},
    };
}

std::vector<Pair> Ends() {
    return {
        {"use-after-pipe",
         "a tensor is used whose TPipe has ended",
         {"Duplicate: dst (byte 0 of UB) is of a TPipe that has ended"},
         Aiv(),
         [](Run& run) {
             std::optional<TPipe> pipe(std::in_place);
             const auto x = Ub(*pipe);
             if (!run.fixed()) pipe.reset();
             run.Next();
             Duplicate(x, 1.0F, kCount);
         }},
        // Both tensors lie at byte 0 of UB, so a device would overwrite the new one.
        {"use-after-pipe",
         "a tensor is used over which a later TPipe has laid another one",
         {"Duplicate: dst (byte 0 of UB)", "another one hands out its bytes now"},
         Aiv(),
         [](Run& run) {
             LocalTensor<float> x;
             {
                 TPipe pipe;
                 x = Ub(pipe);
             }
             TPipe pipe;
             const auto y = Ub(pipe);
             run.Next();
             Duplicate(run.fixed() ? y : x, 1.0F, kCount);
         }},
        {"use-after-pipe",
         "a tensor is read whose TPipe was reset",
         {"GetValue: tensor"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             const auto x = Ub(pipe);
             x.SetValue(0, 1.0F);
             if (!run.fixed()) pipe.Reset();
             run.Next();
             static_cast<void>(x.GetValue(0));
         }},
        {"use-after-pipe",
         "a buffer of a TPipe that was destroyed is asked for a tensor",
         {"TBuf::Get: the buffer"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             TBuf<> buffer;
             pipe.InitBuffer(buffer, kBytes);
             pipe.Destroy();
             pipe.Init();
             if (run.fixed()) pipe.InitBuffer(buffer, kBytes);
             run.Next();
             static_cast<void>(buffer.Get<float>());
         }},
        {"use-after-pipe",
         "a queue is asked for a tensor after its TPipe was reset",
         {"AllocTensor is called on a VECIN queue whose TPipe has ended"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             pipe.Reset();
             if (run.fixed()) pipe.InitBuffer(in, 1, kBytes);
             run.Next();
             auto x = in.AllocTensor<float>();
             in.FreeTensor(x);
         }},
        {"tensor-not-freed",
         "a TPipe is reset while a tensor of a queue is in use",
         {"never freed"},
         Aiv(),
         [](Run& run) {
             TPipe pipe;
             Ready<InQueue> in(pipe);
             run.Next();
             auto x = in.AllocTensor<float>();
             if (run.fixed()) in.FreeTensor(x);
             pipe.Reset();
         }},
    };
}

}  // namespace

std::vector<Pair> LifePairs() {
    std::vector<Pair> all;
    for (const auto& part : {Pipes(), Beginnings(), Ends()})
        all.insert(all.end(), part.begin(), part.end());
    return all;
}

}  // namespace twin::checks
