// The table of what orders what (twin/ordering.h): every row has a kernel here that is clean
// because of it, and is reported when the row does not hold.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "twin_sanitizer_fixture.h"

using namespace fixture;
using twin::Order;

namespace {

struct Row {
    KernelKind kind;
    std::string code;  ///< when the row does not hold
    std::function<void(Aiv& aiv, Aic& aic)> kernel;
};

/// Two products into the same L0C, as large as the cube needs to order them itself.
void Accumulate(Aic& aic) {
    Cube cube(160);
    DataCopy(cube.l1, Gm(aic.in), 160 * 16);
    Sync<HardEvent::MTE2_MTE1>();
    LoadData(cube.l0a, cube.l1, Fractals(10));
    LoadData(cube.l0b, cube.l1, Fractals());
    Sync<HardEvent::MTE1_M>();
    Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(160, 16, 16));
    Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(160, 16, 16, false));
}

const std::map<Order, Row>& Rows() {
    static const std::map<Order, Row> rows = {
        {Order::kItself,
         {KernelKind::kAivOnly, "missing-barrier",
          [](Aiv&, Aic&) {
              TPipe pipe;
              const auto ub = Ones(pipe);
              Muls(ub, ub, 2.0F, kCount);
          }}},
        {Order::kEvent,
         {KernelKind::kAivOnly, "pipe-race",
          [](Aiv& aiv, Aic&) {
              TPipe pipe;
              const auto ub = Ub(pipe);
              DataCopy(ub, Gm(aiv.in), kCount);
              Sync<HardEvent::MTE2_V>();
              Muls(ub, ub, 2.0F, kCount);
          }}},
        {Order::kPipeBarrier,
         {KernelKind::kAivOnly, "missing-barrier",
          [](Aiv& aiv, Aic&) {
              TPipe pipe;
              const auto ub = Ub(pipe);
              DataCopy(ub, Gm(aiv.in), kCount);
              PipeBarrier<PIPE_MTE2>();
              DataCopy(ub, Gm(aiv.in)[kCount], kCount);
          }}},
        {Order::kAllBarrier,
         {KernelKind::kAivOnly, "pipe-race",
          [](Aiv& aiv, Aic&) {
              TPipe pipe;
              const auto ub = Ub(pipe);
              DataCopy(ub, Gm(aiv.in), kCount);
              PipeBarrier<PIPE_ALL>();
              ub.SetValue(0, 1.0F);
              PipeBarrier<PIPE_ALL>();
              DataCopy(Gm(aiv.out), ub, kCount);
          }}},
        {Order::kAccumulation,
         {KernelKind::kAicOnly, "missing-barrier", [](Aiv&, Aic& aic) { Accumulate(aic); }}},
        {Order::kScalar,
         {KernelKind::kAivOnly, "missing-barrier",
          [](Aiv&, Aic&) {
              TPipe pipe;
              const auto ub = Ub(pipe);
              ub.SetValue(0, 1.0F);
              static_cast<void>(ub.GetValue(0));
          }}},
        {Order::kIssue,
         {KernelKind::kAivOnly, "pipe-race",
          [](Aiv& aiv, Aic&) {
              TPipe pipe;
              const auto ub = Ub(pipe);
              DataCopy(ub, Gm(aiv.in), kCount);
              Sync<HardEvent::MTE2_S>();
              Muls(ub, ub, 2.0F, kCount);
          }}},
        {Order::kCrossFlag,
         {KernelKind::kMixAiv1Aic0, "core-race",
          [](Aiv& aiv, Aic&) {
              TPipe pipe;
              const auto ub = Ones(pipe);
              if (GetBlockIdx() == 0) DataCopy(Gm(aiv.out), ub, kCount);
              CrossCoreSetFlag<0, PIPE_MTE3>(0);
              CrossCoreWaitFlag(0);
              if (GetBlockIdx() == 1) DataCopy(ub, Gm(aiv.out), kCount);
          }}},
        {Order::kCrossWait,
         {KernelKind::kMixAiv1Aic0, "core-race",
          [](Aiv& aiv, Aic&) {
              TPipe pipe;
              const auto ub = Ones(pipe);
              if (GetBlockIdx() == 0) DataCopy(Gm(aiv.out), ub, kCount);
              CrossCoreSetFlag<0, PIPE_MTE3>(0);
              CrossCoreWaitFlag(0);
              if (GetBlockIdx() == 1) DataCopy(Gm(aiv.out), ub, kCount);
          }}},
        {Order::kAtomic,
         {KernelKind::kAivOnly, "core-race",
          [](Aiv& aiv, Aic&) {
              TPipe pipe;
              const auto ub = Ones(pipe);
              AscendC::SetAtomicAdd<float>();
              DataCopy(Gm(aiv.out), ub, kCount);
          }}},
    };
    return rows;
}

}  // namespace

TEST(every_row_of_the_table_orders_what_nothing_else_does) {
    for (const twin::OrderingRow& row : twin::kOrdering) {
        const auto found = Rows().find(row.order);
        check::Report(found != Rows().end(), __FILE__, __LINE__,
                      std::string("no kernel for: ") + row.accesses);
        if (found == Rows().end()) continue;
        Aiv aiv;
        Aic aic;
        const Row& expected = found->second;
        auto config = Full(expected.kind,
                           {Input("in", aiv.in), Output("out", aiv.out), Input("left", aic.in)}, 2);
        if (expected.code != "core-race") config.block_count = 1;
        const auto kernel = [&] { expected.kernel(aiv, aic); };
        const auto check = [&](const std::string& code, const std::string& expected_code) {
            check::Report(code == expected_code, __FILE__, __LINE__,
                          std::string(row.accesses) + ": \"" + code + "\", expected \"" +
                              expected_code + "\"");
        };
        check(CodeOf(config, kernel), "");
        config.without = &row.order;
        check(CodeOf(config, kernel), expected.code);
    }
}

// Order::kAccumulation is about sums: a product that starts anew over one that nothing has taken
// is none, and neither is one beside a small one.
TEST(the_cube_orders_large_sums_only) {
    Aic aic;
    const auto code = [&](uint16_t first, uint16_t second, bool starts_anew) {
        return CodeOf(aic.Config(), [&] {
            Cube cube(160);
            DataCopy(cube.l1, Gm(aic.in), 160 * 16);
            Sync<HardEvent::MTE2_MTE1>();
            LoadData(cube.l0a, cube.l1, Fractals(10));
            LoadData(cube.l0b, cube.l1, Fractals());
            Sync<HardEvent::MTE1_M>();
            Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(160, 16, 16));
            PipeBarrier<PIPE_M>();
            Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(first, 16, 16, false));
            Mmad(cube.l0c, cube.l0a, cube.l0b, Shape(second, 16, 16, starts_anew));
        });
    };
    CHECK_EQ(code(160, 160, false), std::string());
    CHECK_EQ(code(160, 160, true), std::string("missing-barrier"));
    CHECK_EQ(code(144, 160, false), std::string("missing-barrier"));
    CHECK_EQ(code(160, 144, false), std::string("missing-barrier"));
}

// The end of a TPipe orders nothing: the next one hands out the same bytes.
TEST(a_later_pipe_takes_a_barrier) {
    Aiv aiv;
    Pair("pipe-race", {"DataCopy on MTE2 writes", "Muls on V"}, aiv.Config(),
         [&](bool mended, Mark& mark) {
             {
                 TPipe pipe;
                 const auto ub = Ones(pipe);
                 Muls(ub, ub, 2.0F, kCount);
             }
             if (mended) All();
             TPipe pipe;
             const auto ub = Ub(pipe);
             mark.Next();
             DataCopy(ub, Gm(aiv.in), kCount);
         });
}

// PipeBarrier<PIPE_ALL> waits for the scalar unit and holds it; a barrier of a pipe does neither.
TEST(a_barrier_of_all_pipes_is_one_of_the_scalar_unit_too) {
    Aiv aiv;
    Pair("pipe-race", {"Muls on V", "SetValue on S"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Ones(pipe);
        ub.SetValue(0, 1.0F);
        if (mended) All();
        PipeBarrier<PIPE_V>();
        mark.Next();
        Muls(ub, ub, 2.0F, kCount);
    });
    Pair("pipe-race", {"GetValue on S", "Muls on V"}, aiv.Config(), [&](bool mended, Mark& mark) {
        TPipe pipe;
        const auto ub = Ones(pipe);
        Muls(ub, ub, 2.0F, kCount);
        PipeBarrier<PIPE_V>();
        if (mended) All();
        mark.Next();
        static_cast<void>(ub.GetValue(0));
    });
}

// A cross-core set follows its own pipe only, also for the core's own later work.
TEST(a_cross_core_set_follows_its_pipe) {
    Aiv aiv;
    Pair("pipe-race", {"DataCopy on MTE2 reads", "DataCopy on MTE3"},
         aiv.Config(KernelKind::kMixAiv1Aic0), [&](bool mended, Mark& mark) {
             TPipe pipe;
             const auto ub = Ones(pipe);
             const auto other = Ub(pipe);
             DataCopy(Gm(aiv.out), ub, kCount);
             if (mended) CrossCoreSetFlag<0, PIPE_MTE3>(0);
             if (!mended) CrossCoreSetFlag<0, PIPE_MTE2>(0);
             CrossCoreWaitFlag(0);
             mark.Next();
             DataCopy(other, Gm(aiv.out), kCount);
         });
}
