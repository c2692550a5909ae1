// Every check of the plan walk finds what it is for: broken plans of real cases, and instructions
// that no plan of today leads to.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "check.h"
#include "kernel_operator.h"
#include "plan/plan_phases.h"
#include "plan/rounding.h"
#include "plan_walk/machine.h"
#include "plan_walk/walk.h"

namespace {

using namespace AscendC;
using walk::Cores;
using walk::Draws;

const walk::Model kModel = {"small", 2048, 16, 1536, 512, 128, 128, 64, 128};
constexpr uint32_t kTokens = 72;  // odd rows of fractals, where two slots of L0C are one tile

/// A plain 16-bit layer, whatever was drawn.
walk::PrologCase PlainProlog(uint32_t tokens = kTokens) {
    Draws draws(7);
    walk::Model dense = kModel;
    dense.indexer_heads = 0;
    walk::PrologCase prolog =
        walk::DrawProlog(dense, 1, tokens, arch::FindChip("Ascend910B1"), draws);
    prolog.problem.qkv_a = plan::Plain(plan::WeightLayout::kOutIn);
    prolog.problem.q_b = plan::Plain(plan::WeightLayout::kOutIn);
    prolog.problem.quantize_q_nope = false;
    prolog.padding = false;
    prolog.cache_blocks = 2;
    prolog.problem.latent_cache = {
        {uint64_t{128} * 512, 128, 512, 0, 0}, {uint64_t{128} * 64, 128, 64, 0, 0}, 0};
    prolog.prefetch = {};
    prolog.prefetch.regions = {{0, 1 << 20}, {0, 1 << 20}};
    prolog.prefetch.bytes = 2 << 20;
    walk::PlacePrefetch(prolog.prefetch);
    return prolog;
}

walk::PrologCase SparseInt8Prolog() {
    walk::PrologCase prolog = PlainProlog();
    const LinearFormat int8 = plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);
    prolog.problem.qkv_a = int8;
    prolog.problem.q_b = int8;
    prolog.problem.quantize_q_nope = true;
    plan::IndexerProblem& indexer = prolog.problem.indexer;
    indexer.heads = 64;
    indexer.head_dim = 128;
    indexer.cache = {uint64_t{128} * 128, 128, 128, 0, 0};
    indexer.wq_b = int8;
    return prolog;
}

/// What the walk says of plans; "" where it says nothing.
std::string Said(const walk::PrologCase& prolog, const walk::PrologPlans& plans) {
    Draws draws(1);
    try {
        walk::Walk(prolog, plans, Cores::kAll, draws);
    } catch (const walk::Fault& fault) {
        return fault.what();
    }
    return "";
}

/// The same of a case whose shape plan was changed.
std::string Said(const walk::PrologCase& prolog, const std::function<void(PrologPlan&)>& change) {
    walk::PrologPlans plans = walk::PlanProlog(prolog);
    change(plans.shape);
    return Said(prolog, plans);
}

/// The same of a case whose call plan was changed.
std::string SaidOfWarm(const walk::PrologCase& prolog,
                       const std::function<void(PrologWarm&)>& change) {
    walk::PrologPlans plans = walk::PlanProlog(prolog);
    change(plans.warm);
    return Said(prolog, plans);
}

void CheckSaid(const std::string& said, const std::string& expected) {
    CHECK(!expected.empty() && said.find(expected) != std::string::npos);
    if (said.find(expected) == std::string::npos) {
        CHECK_EQ(said, expected);  // prints both
    }
}

/// What the machine says of instructions of a core; `aic` of its role.
std::string SaidOf(bool aic, const std::function<void()>& kernel) {
    walk::Machine machine;
    machine.Add("input", 1 << 20, false);
    machine.Add("output", 1 << 20, true);
    try {
        machine.Run({aic, 0, 1}, kernel);
    } catch (const walk::Fault& fault) {
        return fault.what();
    }
    return "";
}

template <typename T>
GlobalTensor<T> Gm(int tensor, uint64_t offset = 0) {
    GlobalTensor<T> gm;
    gm.SetGlobalBuffer(reinterpret_cast<T*>((static_cast<uint64_t>(tensor) << 40) + offset));
    return gm;
}
template <typename T>
GlobalTensor<T> Input(uint64_t offset = 0) {
    return Gm<T>(1, offset);
}
template <typename T>
GlobalTensor<T> Output(uint64_t offset = 0) {
    return Gm<T>(2, offset);
}

/// Buffers of a core, and what a test does with them.
struct Cube {
    Cube() {
        pipe.InitBuffer(l1, 64 * 1024);
        pipe.InitBuffer(l0a, 32 * 1024);
        pipe.InitBuffer(l0b, 32 * 1024);
        pipe.InitBuffer(l0c, 64 * 1024);
    }
    TPipe pipe;
    TBuf<TPosition::A1> l1;
    TBuf<TPosition::A2> l0a;
    TBuf<TPosition::B2> l0b;
    TBuf<TPosition::CO1> l0c;
};

struct Vector {
    Vector() {
        pipe.InitBuffer(a, 4096);
        pipe.InitBuffer(b, 4096);
    }
    TPipe pipe;
    TBuf<TPosition::VECIN> a;
    TBuf<TPosition::VECOUT> b;
};

using OnCube = std::function<void(Cube&)>;
using OnVector = std::function<void(Vector&)>;

void CheckCube(const std::string& expected, const OnCube& body) {
    CheckSaid(SaidOf(true,
                     [&] {
                         Cube cube;
                         body(cube);
                     }),
              expected);
}

void CheckVector(const std::string& expected, const OnVector& body) {
    CheckSaid(SaidOf(false,
                     [&] {
                         Vector vector;
                         body(vector);
                     }),
              expected);
}

Nd2NzParams Nd2Nz() { return {1, 16, 16, 0, 16, 16, 1, 0}; }
MmadParams Mmad16() { return {16, 16, 16, 0, false, true}; }
FixpipeParamsV220 Fixpipe16() {
    FixpipeParamsV220 params(16, 16, 16, 16, false);
    return params;
}
LoadData2DParams Load2D() { return {0, 1, 1, 0, 0, false, 0}; }

}  // namespace

TEST(plans_of_the_planners_pass) {
    CHECK_EQ(Said(PlainProlog(), [](PrologPlan&) {}), "");
    CHECK_EQ(Said(SparseInt8Prolog(), [](PrologPlan&) {}), "");
}

// Before the planner rounded half a tile up, other products of the kernel multiplied into a second
// slot there: 65 to 80 and 97 to 112 tokens.
TEST(finds_a_second_slot_of_sums_between_two_blocks) {
    walk::PrologCase prolog = PlainProlog(105);
    prolog.problem.hidden_size = 7168;
    prolog.problem.heads = 2;
    CHECK_EQ(Said(prolog, [](PrologPlan&) {}), "");
    const std::string said = Said(prolog, [](PrologPlan& plan) {
        plan.buffers.l0c_slot_bytes = 0;
        for (const GemmPlan& gemm :
             {plan::GemmOf(plan, prolog::kQkvA), plan::GemmOf(plan, prolog::kQueryB),
              plan::GemmOf(plan, prolog::kAbsorb)}) {
            const uint64_t sums = plan::RoundUp(gemm.tile_m, plan::kStrip) * gemm.tile_n * 4;
            plan.buffers.l0c_slot_bytes =
                std::max(plan.buffers.l0c_slot_bytes, static_cast<uint32_t>(sums / gemm.l0c_slots));
        }
        CHECK_EQ(plan.buffers.l0c_slot_bytes % 1024, 512);
    });
    CheckSaid(said, "misaligned: Mmad: dst starts at byte");
}

TEST(finds_overlapping_and_too_small_workspaces) {
    CheckSaid(Said(PlainProlog(), [](PrologPlan& plan) { plan.workspace_query -= 512; }),
              "workspace: query at byte");
    CheckSaid(Said(PlainProlog(), [](PrologPlan& plan) { plan.workspace_bytes -= 513; }),
              "of a workspace of");
    CheckSaid(Said(SparseInt8Prolog(),
                   [](PrologPlan& plan) { plan.indexer.workspace_k = plan.workspace_query; }),
              "workspace: sums of indexer_wk at byte");
}

TEST(finds_tiles_beyond_their_slots) {
    const auto check = [](const char* expected, const std::function<void(PrologPlan&)>& change) {
        CheckSaid(Said(PlainProlog(), change), std::string("slot: ") + expected);
    };
    check("qkv_a: a tile of the weight", [](PrologPlan& plan) { plan.buffers.b_slot_bytes /= 2; });
    check("qkv_a: a piece of the left matrix",
          [](PrologPlan& plan) { plan.buffers.a_slot_bytes = 1024; });
    check("q_b: a step of the weight in L0B",
          [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).l0_k = 4096; });
    check("q_b: a step of the left matrix in L0A", [](PrologPlan& plan) {
        plan::GemmOf(plan, prolog::kQueryB).tile_n = 16;
        plan::GemmOf(plan, prolog::kQueryB).l0_k = 1024;
    });
    check("q_b: a step of the weight in L0B",
          [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).l0_k = 0; });
    check("qkv_a: a tile of sums", [](PrologPlan& plan) { plan.buffers.l0c_slot_bytes = 1024; });
    check("qkv_a: the weight stream has 5 slots",
          [](PrologPlan& plan) { plan.buffers.b_slots = 5; });
}

TEST(finds_shares_that_leave_out_or_repeat) {
    // Five groups of cores: four cores of 24 have no part.
    CheckSaid(Said(PlainProlog(),
                   [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).depth_shares = 5; }),
              "share: ");
    // Strips that do not divide the columns.
    CheckSaid(Said(PlainProlog(),
                   [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).strip = 80; }),
              "share: ");
    // Every product is made, but some sums land on others.
    CheckSaid(
        Said(PlainProlog(),
             [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kAbsorb).c_batch_stride -= 16; }),
        "share: q_nope: byte");
    // Columns of a result that nobody writes.
    CheckSaid(Said(PlainProlog(), [](PrologPlan& plan) { plan.rows_per_core = 1; }), "share: q_c");
    CheckSaid(Said(PlainProlog(), [](PrologPlan& plan) { plan.vector_cores += 1; }),
              "share: q_rope");
}

TEST(finds_windows_that_skip_or_repeat_chunks) {
    const auto check = [](const char* expected, const std::function<void(PrologWarm&)>& change) {
        CheckSaid(SaidOfWarm(PlainProlog(), change), expected);
    };
    check("window: a window starts with chunk",
          [](PrologWarm& warm) { warm.windows[1].first_chunk += 1; });
    check("window: windows have", [](PrologWarm& warm) { warm.windows[1].chunk_count += 1000; });
    check("window: a window has cores", [](PrologWarm& warm) { warm.windows[1].core_count = 49; });
    check("window: chunks have nowhere to land", [](PrologWarm& warm) { warm.plan.pad_slots = 0; });
    check("capacity: InitBuffer", [](PrologWarm& warm) { warm.plan.pad_slots = 12; });
    check("out-of-bounds: DataCopy touches",
          [](PrologWarm& warm) { warm.plan.regions[1].address += 64; });
    check("share: prefetch[0]: byte 196608 is touched twice",
          [](PrologWarm& warm) { warm.plan.regions[1] = warm.plan.regions[0]; });
    Draws draws(3);
    for (const auto type : {plan::LoadingCores::kVector, plan::LoadingCores::kCube}) {
        walk::PrefetchCase prefetch{{{{0, (1 << 20) + 5}, 0, (1 << 20) + 5}}, type, 24};
        walk::Walk(prefetch, Cores::kAll, draws);
        CHECK_THROWS_WITH(walk::Walk(prefetch, Cores::kAll, draws,
                                     [](PrefetchPlan& plan) { plan.window.chunk_count -= 1; }),
                          walk::Fault, "share: tensor 1: expected 1048581 bytes");
        CHECK_THROWS_WITH(walk::Walk(prefetch, Cores::kAll, draws,
                                     [](PrefetchPlan& plan) { plan.warm.pad_slots *= 2; }),
                          walk::Fault, "capacity: InitBuffer");
    }
}

TEST(finds_copies_beyond_rows_and_pads) {
    Draws draws(4);
    walk::CopyCase copy{{0, 64, 512, 16, 512, 1, 1, 4}, true, 24};
    walk::Walk(copy, Cores::kAll, draws);
    copy.plan.tile_bytes = 544;
    CHECK_THROWS_WITH(walk::Walk(copy, Cores::kAll, draws), walk::Fault, "parameter-range");
    copy.plan.tile_bytes = 512;
    copy.plan.slots = 64;
    CHECK_THROWS_WITH(walk::Walk(copy, Cores::kAll, draws), walk::Fault, "capacity");
}

TEST(finds_flags_that_do_not_meet) {
    CheckSaid(SaidOfWarm(PlainProlog(), [](PrologWarm& warm) { warm.plan.await_stream = 0; }),
              "deadlock: an AIV waits for flag 3");
    CheckSaid(SaidOfWarm(PlainProlog(),
                         [](PrologWarm& warm) {
                             for (WarmWindow& window : warm.windows) window.after_stream = 0;
                         }),
              "unpaired-cross-core-flag: flag 3 of an AIV is set 1 times more");
    using walk::FlagCall;
    const FlagCall set = {true, 1, 2};
    const FlagCall wait = {false, 1, 0};
    walk::RequireFlagsMeet({set}, {wait});
    CHECK_THROWS_WITH(walk::RequireFlagsMeet(std::vector<FlagCall>(16, set), {}), walk::Fault,
                      "cross-core-counter: flag 1 is set 16 times");
    CHECK_THROWS_WITH(walk::RequireFlagsMeet({wait}, {wait}), walk::Fault, "deadlock");
    CHECK_THROWS_WITH(walk::RequireSameBarriers({{true, 0, 0}}, {}), walk::Fault,
                      "deadlock: an AIC comes to 1 barriers");
}

TEST(finds_rows_beyond_the_fields_and_the_tensors) {
    const auto check = [](const char* expected, const std::function<void(PrologPlan&)>& change) {
        CheckSaid(Said(PlainProlog(), change), expected);
    };
    check("field-overflow: Nd2NzParams.srcDValue is 65536",
          [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).b_stride = 65536; });
    check("field-overflow: Nd2NzParams.srcDValue is 65536",
          [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).a_row_stride = 131072; });
    check("out-of-bounds: DataCopy (ND2NZ) touches",
          [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).b_stride += 16; });
    check("out-of-bounds: DataCopy (ND2NZ) touches",
          [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).a_row_stride += 16; });
    check("out-of-bounds: Fixpipe touches",
          [](PrologPlan& plan) { plan::GemmOf(plan, prolog::kQueryB).c_row_stride += 16; });
    check("capacity: InitBuffer", [](PrologPlan& plan) { plan.buffers.a_slot_bytes = 256 * 1024; });
    check("capacity: InitBuffer",
          [](PrologPlan& plan) { plan.buffers.l0c_slot_bytes = 65 * 1024; });
    check("capacity: InitBuffer", [](PrologPlan& plan) { plan.widest = 16 * 1024; });
    check("out-of-bounds: ", [](PrologPlan& plan) { plan.widest = 512; });
    check("out-of-bounds: DataCopy touches",
          [](PrologPlan& plan) { plan.latent_cache.latent.block_stride *= 2; });
    check("out-of-bounds: DataCopy",
          [](PrologPlan& plan) { plan.latent_cache.latent.row_stride += 16; });
    check("out-of-bounds: DataCopyPad", [](PrologPlan& plan) { plan.heads.rope_column += 64; });
    check("out-of-bounds: DataCopyPad", [](PrologPlan& plan) { plan.slot_bytes = 16; });
}

TEST(finds_transfers_that_the_hardware_does_not_take) {
    CheckVector("parameter-range: DataCopy: blockCount", [](Vector& v) {
        DataCopy(v.a.Get<float>(), Input<float>(), DataCopyParams(4096, 1, 0, 0));
    });
    CheckVector("parameter-range: DataCopy: blockLen", [](Vector& v) {
        DataCopy(v.a.Get<float>(), Input<float>(), DataCopyParams(1, 0, 0, 0));
    });
    CheckVector("field-overflow: DataCopyParams.blockLen", [](Vector& v) {
        DataCopy(v.a.Get<float>(), Input<float>(), DataCopyParams(1, 65536, 0, 0));
    });
    CheckVector("misaligned: DataCopy: 4 elements",
                [](Vector& v) { DataCopy(v.a.Get<float>(), Input<float>(), 4); });
    CheckVector("parameter-range: DataCopy: length in blocks",
                [](Vector& v) { DataCopy(v.a.Get<float>(), Input<float>(), 65536 * 8); });
    CheckVector("misaligned: DataCopy: dst",
                [](Vector& v) { DataCopy(v.a.Get<float>()[4], Input<float>(), 8); });
    CheckVector("misaligned: DataCopy: the GM address",
                [](Vector& v) { DataCopy(v.a.Get<float>(), Input<float>(2), 8); });
    CheckVector("out-of-bounds: DataCopy: dst",
                [](Vector& v) { DataCopy(v.a.Get<float>(), Input<float>(), 1032); });
    CheckVector("out-of-bounds: DataCopy touches",
                [](Vector& v) { DataCopy(v.a.Get<float>(), Input<float>((1 << 20) - 16), 8); });
    CheckVector("write-to-input: DataCopy",
                [](Vector& v) { DataCopy(Input<float>(), v.a.Get<float>(), 8); });
    CheckCube("wrong-core: DataCopy",
              [](Cube& c) { DataCopy(Output<half>(), c.l1.Get<half>(), 16); });
    CheckVector("parameter-range: DataCopyPad: blockLen must be", [](Vector& v) {
        DataCopyPad(v.a.Get<float>(), Input<float>(), DataCopyExtParams(1, 1 << 21, 0, 0, 0),
                    DataCopyPadExtParams<float>());
    });
    CheckVector("parameter-range: DataCopyPad: blockLen is 6 bytes", [](Vector& v) {
        DataCopyPad(Output<float>(), v.a.Get<float>(), DataCopyExtParams(1, 6, 0, 0, 0));
    });
    CheckVector("parameter-range: DataCopyPad: blockCount", [](Vector& v) {
        DataCopyPad(Output<float>(), v.a.Get<float>(), DataCopyExtParams(0, 4, 0, 0, 0));
    });
    CheckVector("parameter-range: DataCopyPad: rightPadding", [](Vector& v) {
        DataCopyPad(v.a.Get<float>(), Input<float>(), DataCopyExtParams(1, 4, 0, 0, 0),
                    DataCopyPadExtParams<float>(true, 0, 9, 0));
    });
    CheckVector("parameter-range: DataCopyPad: leftPadding", [](Vector& v) {
        DataCopyPad(v.a.Get<float>(), Input<float>(), DataCopyExtParams(1, 4, 0, 0, 0),
                    DataCopyPadExtParams<float>(true, 9, 0, 0));
    });
    CheckVector("wrong-core: DataCopy (ND2NZ)",
                [](Vector& v) { DataCopy(v.a.Get<half>(), Input<half>(), Nd2Nz()); });
}

TEST(finds_loads_of_matrices_that_the_hardware_does_not_take) {
    const auto check = [](const char* expected, const std::function<void(Nd2NzParams&)>& change) {
        CheckCube(expected, [&](Cube& c) {
            Nd2NzParams params = Nd2Nz();
            change(params);
            DataCopy(c.l1.Get<half>(), Input<half>(), params);
        });
    };
    check("parameter-range: DataCopy (ND2NZ): ndNum", [](Nd2NzParams& p) { p.ndNum = 4096; });
    check("parameter-range: DataCopy (ND2NZ): nValue", [](Nd2NzParams& p) { p.nValue = 16385; });
    check("parameter-range: DataCopy (ND2NZ): dValue", [](Nd2NzParams& p) { p.dValue = 0; });
    check("parameter-range: DataCopy (ND2NZ): srcDValue must be",
          [](Nd2NzParams& p) { p.srcDValue = 0; });
    check("parameter-range: DataCopy (ND2NZ): srcDValue is 15",
          [](Nd2NzParams& p) { p.srcDValue = 15; });
    check("parameter-range: DataCopy (ND2NZ): dstNzC0Stride",
          [](Nd2NzParams& p) { p.dstNzC0Stride = 16385; });
    check("parameter-range: DataCopy (ND2NZ): dstNzNStride",
          [](Nd2NzParams& p) { p.dstNzNStride = 0; });
    check("parameter-range: DataCopy (ND2NZ): dstNzMatrixStride",
          [](Nd2NzParams& p) { p.dstNzMatrixStride = 16385; });
    check("field-overflow: Nd2NzParams.srcDValue", [](Nd2NzParams& p) { p.srcDValue = 65536; });
    check("out-of-bounds: DataCopy (ND2NZ): dst", [](Nd2NzParams& p) { p.nValue = 4096; });
    CheckCube("parameter-range: LoadData: repeatTimes", [](Cube& c) {
        LoadData2DParams params = Load2D();
        params.repeatTimes = 0;
        LoadData(c.l0a.Get<half>(), c.l1.Get<half>(), params);
    });
    CheckCube("field-overflow: LoadData2DParams.repeatTimes", [](Cube&) {
        LoadData2DParams params = Load2D();
        params.repeatTimes = 256;
    });
    CheckCube("parameter-range: LoadData: ifTranspose", [](Cube& c) {
        LoadData2DParams params = Load2D();
        params.ifTranspose = true;
        LoadData(c.l0b.Get<int8_t>(), c.l1.Get<int8_t>(), params);
    });
    CheckCube("out-of-bounds: LoadData: src", [](Cube& c) {
        LoadData2DParams params = Load2D();
        params.startIndex = 128;
        LoadData(c.l0a.Get<half>(), c.l1.Get<half>(), params);
    });
    CheckCube("out-of-bounds: LoadData: dst", [](Cube& c) {
        LoadData2DParams params = Load2D();
        params.repeatTimes = 65;
        LoadData(c.l0a.Get<half>(), c.l1.Get<half>(), params);
    });
    CheckCube("misaligned: LoadData: dst",
              [](Cube& c) { LoadData(c.l0a.Get<half>()[16], c.l1.Get<half>(), Load2D()); });
    CheckCube("wrong-buffer: LoadData: src",
              [](Cube& c) { LoadData(c.l0a.Get<half>(), c.l0b.Get<half>(), Load2D()); });
    CheckCube("wrong-buffer: LoadData: dst",
              [](Cube& c) { LoadData(c.l1.Get<half>(), c.l1.Get<half>(), Load2D()); });
    const auto squares = [](const char* expected, const LoadData2dTransposeParams& params) {
        CheckCube(expected, [&](Cube& c) {
            LoadDataWithTranspose(c.l0b.Get<int8_t>(), c.l1.Get<int8_t>(), params);
        });
    };
    squares("parameter-range: LoadDataWithTranspose: repeatTimes", {0, 0, 1, 1, 0});
    squares("parameter-range: LoadDataWithTranspose: addrMode", {0, 1, 1, 1, 0, 1});
    squares("overlap: LoadDataWithTranspose", {0, 2, 1, 0, 0});
    squares("out-of-bounds: LoadDataWithTranspose: src", {64, 1, 1, 1, 0});
    squares("out-of-bounds: LoadDataWithTranspose: dst", {0, 33, 1, 1, 0});
}

TEST(finds_products_that_the_hardware_does_not_take) {
    const auto check = [](const char* expected, const std::function<void(MmadParams&)>& change,
                          uint32_t a = 0, uint32_t b = 0, uint32_t sums = 0) {
        CheckCube(expected, [&](Cube& c) {
            MmadParams params = Mmad16();
            change(params);
            Mmad(c.l0c.Get<float>()[sums], c.l0a.Get<half>()[a], c.l0b.Get<half>()[b], params);
        });
    };
    const auto same = [](MmadParams&) {};
    check("parameter-range: Mmad: m", [](MmadParams& p) { p.m = 1; });
    check("parameter-range: Mmad: m", [](MmadParams& p) { p.m = 4096; });
    check("parameter-range: Mmad: n", [](MmadParams& p) { p.n = 0; });
    check("parameter-range: Mmad: k", [](MmadParams& p) { p.k = 4096; });
    check("misaligned: Mmad: fm", same, 16);
    check("misaligned: Mmad: filter", same, 0, 16);
    check("misaligned: Mmad: dst", same, 0, 0, 128);
    check("out-of-bounds: Mmad: fm", [](MmadParams& p) { p.m = 2048; });
    check("out-of-bounds: Mmad: filter", [](MmadParams& p) { p.n = 2048; });
    check("out-of-bounds: Mmad: dst", same, 0, 0, 16 * 1024 - 128 + 128);
    const auto fixpipe = [](const char* expected,
                            const std::function<void(FixpipeParamsV220&)>& change,
                            uint32_t sums = 0) {
        CheckCube(expected, [&](Cube& c) {
            FixpipeParamsV220 params = Fixpipe16();
            change(params);
            Fixpipe<float, float, CFG_ROW_MAJOR>(Output<float>(), c.l0c.Get<float>()[sums], params);
        });
    };
    fixpipe("parameter-range: Fixpipe: nSize must", [](FixpipeParamsV220& p) { p.nSize = 4096; });
    fixpipe("parameter-range: Fixpipe: nSize is 8", [](FixpipeParamsV220& p) { p.nSize = 8; });
    fixpipe("parameter-range: Fixpipe: mSize", [](FixpipeParamsV220& p) { p.mSize = 8193; });
    fixpipe("parameter-range: Fixpipe: srcStride", [](FixpipeParamsV220& p) { p.srcStride = 8; });
    fixpipe("parameter-range: Fixpipe: dstStride must",
            [](FixpipeParamsV220& p) { p.dstStride = 0; });
    fixpipe("parameter-range: Fixpipe: dstStride is 8",
            [](FixpipeParamsV220& p) { p.dstStride = 8; });
    fixpipe("out-of-bounds: Fixpipe: src", [](FixpipeParamsV220&) {}, 16 * 1024 - 128);
    fixpipe("misaligned: Fixpipe: src", [](FixpipeParamsV220&) {}, 8);
    fixpipe("out-of-bounds: Fixpipe touches", [](FixpipeParamsV220& p) { p.dstStride = 1 << 20; });
}

// A value alone too starts at a multiple of two elements; where it ends is a matter of the order.
TEST(holds_the_destination_of_a_maximum) {
    const auto said = [](auto element, uint32_t dst, int32_t repeats, ReduceOrder order) {
        using T = decltype(element);
        return SaidOf(false, [&] {
            Vector v;
            const auto lanes = static_cast<int32_t>(256 / sizeof(T));
            WholeReduceMax(v.a.Get<T>()[dst], v.b.Get<T>(), lanes, repeats, 1, 1, 8, order);
        });
    };
    const std::string fine;
    for (const auto order : {ReduceOrder::ORDER_ONLY_VALUE, ReduceOrder::ORDER_ONLY_INDEX,
                             ReduceOrder::ORDER_VALUE_INDEX}) {
        CheckSaid(said(float{}, 1, 1, order), "misaligned: WholeReduceMax: dst");
        CheckSaid(said(half{}, 1, 1, order), "misaligned: WholeReduceMax: dst");
        CHECK_EQ(said(float{}, 2, 1, order), fine);
        CHECK_EQ(said(half{}, 2, 1, order), fine);
    }
    CHECK_EQ(said(float{}, 1022, 2, ReduceOrder::ORDER_ONLY_VALUE), fine);
    CheckSaid(said(float{}, 1022, 2, ReduceOrder::ORDER_VALUE_INDEX),
              "out-of-bounds: WholeReduceMax: dst");
    CHECK_EQ(said(half{}, 2046, 1, ReduceOrder::ORDER_ONLY_INDEX), fine);
    CheckSaid(said(half{}, 2046, 2, ReduceOrder::ORDER_ONLY_INDEX),
              "out-of-bounds: WholeReduceMax: dst");
}

TEST(finds_vector_instructions_that_the_hardware_does_not_take) {
    const auto f = [](TBuf<TPosition::VECIN>& buffer) { return buffer.Get<float>(); };
    CheckVector("parameter-range: Add: count", [&](Vector& v) { Add(f(v.a), f(v.a), f(v.a), 0); });
    CheckVector("parameter-range: Mul: repeatTime",
                [&](Vector& v) { Mul(f(v.a), f(v.a), f(v.a), 64, 256, {1, 1, 0, 8, 8, 0}); });
    CheckVector("parameter-range: Mul: mask",
                [&](Vector& v) { Mul(f(v.a), f(v.a), f(v.a), 65, 1, {1, 1, 0, 8, 8, 0}); });
    CheckVector("parameter-range: Mul: dstBlkStride",
                [&](Vector& v) { Mul(f(v.a), f(v.a), f(v.a), 64, 1, {0, 1, 0, 8, 8, 0}); });
    CheckVector("field-overflow: BinaryRepeatParams.dstRepStride", [&](Vector&) {
        const BinaryRepeatParams params(1, 1, 0, 256, 8, 0);
        static_cast<void>(params);
    });
    CheckVector("misaligned: Sub: dst", [&](Vector& v) { Sub(f(v.a)[4], f(v.a), f(v.a), 8); });
    CheckVector("out-of-bounds: Sub: dst",
                [&](Vector& v) { Sub(f(v.a)[1016], f(v.a), f(v.a), 16); });
    CheckVector("out-of-bounds: Sub: src0",
                [&](Vector& v) { Sub(f(v.a), f(v.a)[1016], f(v.a), 16); });
    CheckVector("out-of-bounds: Sub: src1",
                [&](Vector& v) { Sub(f(v.a), f(v.a), f(v.a)[1016], 16); });
    CheckVector("out-of-bounds: Cast: dst",
                [&](Vector& v) { Cast(v.b.Get<half>()[2032], f(v.a), RoundMode::CAST_RINT, 32); });
    CheckVector("out-of-bounds: Cast: src", [&](Vector& v) {
        Cast(v.b.Get<half>(), f(v.a), RoundMode::CAST_RINT, 64, 5, UnaryRepeatParams(1, 1, 8, 64));
    });
    CheckVector("out-of-bounds: Abs: src", [&](Vector& v) { Abs(f(v.a), f(v.a)[1016], 16); });
    CheckVector("out-of-bounds: Mul: dst",
                [&](Vector& v) { Muls(f(v.a)[1016], f(v.a), 1.0f, 16); });
    CheckVector("out-of-bounds: Duplicate: dst", [&](Vector& v) { Duplicate(f(v.a), 1.0f, 1025); });
    CheckVector("parameter-range: Brcb: repeatTime",
                [&](Vector& v) { Brcb(f(v.a), f(v.a), 256, {1, 8}); });
    CheckVector("parameter-range: Brcb: dstBlkStride",
                [&](Vector& v) { Brcb(f(v.a), f(v.a), 1, {0, 8}); });
    CheckVector("out-of-bounds: Brcb: dst",
                [&](Vector& v) { Brcb(f(v.a)[1016], f(v.a), 1, {1, 8}); });
    CheckVector("misaligned: Brcb: src", [&](Vector& v) { Brcb(f(v.a), f(v.a)[4], 1, {1, 8}); });
    CheckVector("parameter-range: WholeReduceSum: srcRepStride",
                [&](Vector& v) { WholeReduceSum(f(v.a), f(v.a), 64, 1, 1, 1, 65536); });
    CheckVector("out-of-bounds: WholeReduceMax: src",
                [&](Vector& v) { WholeReduceMax(f(v.a), f(v.a), 64, 17, 1, 1, 8); });
    CheckVector("out-of-bounds: WholeReduceSum: dst",
                [&](Vector& v) { WholeReduceSum(f(v.a)[1023], f(v.a), 64, 2, 1, 1, 8); });
    CheckVector("parameter-range: GatherMask: repeatTimes", [&](Vector& v) {
        uint64_t kept = 0;
        GatherMask(f(v.a), f(v.a), static_cast<uint8_t>(1), false, 0,
                   GatherMaskParams(1, 256, 8, 0), kept);
    });
    CheckVector("out-of-bounds: GatherMask: src0", [&](Vector& v) {
        uint64_t kept = 0;
        GatherMask(f(v.a), f(v.a), static_cast<uint8_t>(1), false, 0, GatherMaskParams(1, 17, 8, 0),
                   kept);
    });
    CheckVector("out-of-bounds: GatherMask: dst", [&](Vector& v) {
        uint64_t kept = 0;
        GatherMask(f(v.a)[1016], f(v.a), static_cast<uint8_t>(1), false, 0,
                   GatherMaskParams(1, 1, 8, 0), kept);
    });
    CheckVector("misaligned: Gather: srcBaseAddr",
                [&](Vector& v) { Gather(f(v.a), f(v.a), v.b.Get<uint32_t>(), 2, 64); });
    CheckVector("out-of-bounds: Gather: src",
                [&](Vector& v) { Gather(f(v.a), f(v.a), v.b.Get<uint32_t>(), 4096, 64); });
    CheckCube("wrong-core: Add",
              [](Cube& c) { Add(c.l1.Get<float>(), c.l1.Get<float>(), c.l1.Get<float>(), 8); });
}

TEST(finds_misused_events_and_buffers) {
    constexpr HardEvent kEvent = HardEvent::MTE2_V;
    CheckVector("event-set-twice", [](Vector&) {
        SetFlag<kEvent>(0);
        SetFlag<kEvent>(0);
    });
    CheckVector("unpaired-event: WaitFlag", [](Vector&) { WaitFlag<kEvent>(0); });
    CheckVector("unpaired-event: event 0", [](Vector&) { SetFlag<kEvent>(0); });
    CheckVector("event-id: SetFlag", [](Vector&) { SetFlag<kEvent>(6); });
    CheckVector("event-id: no event id", [](Vector& v) {
        for (int i = 0; i < 7; ++i) v.pipe.AllocEventID<kEvent>();
    });
    CheckVector("event-id: event 0 of kind 4 is taken",
                [](Vector& v) { v.pipe.AllocEventID<kEvent>(); });
    CheckVector("event-id: ReleaseEventID(1)", [](Vector& v) { v.pipe.ReleaseEventID<kEvent>(1); });
    CheckVector("wrong-core: SetFlag", [](Vector&) { SetFlag<HardEvent::M_FIX>(0); });
    CheckCube("wrong-core: SetFlag", [](Cube&) { SetFlag<HardEvent::S_MTE2>(0); });
    CheckCube("cross-core-flag", [](Cube&) { CrossCoreSetFlag<2, PIPE_FIX>(11); });
    CheckCube("parameter-range: CrossCoreWaitFlag: flagId", [](Cube&) { CrossCoreWaitFlag(16); });
    CheckVector("two-pipes", [](Vector&) { TPipe second; });
    CheckCube("capacity: InitBuffer of 32800 bytes", [](Cube& c) {
        TBuf<TPosition::A2> more;
        c.pipe.InitBuffer(more, 32 * 1024 + 1);
    });
    CheckCube("capacity: InitBuffer of 65568 bytes", [](Cube& c) {
        TBuf<TPosition::CO1> more;
        c.pipe.InitBuffer(more, 64 * 1024 + 32);
    });
    CheckCube("capacity: InitBuffer", [](Cube& c) {
        TBuf<TPosition::A1> more;
        c.pipe.InitBuffer(more, 448 * 1024);  // 256 bytes are the framework's
    });
    CheckVector("capacity: InitBuffer", [](Vector& v) {
        TBuf<> more;
        v.pipe.InitBuffer(more, 184 * 1024 - 8192);
    });
    CheckVector("capacity: InitBuffer of buffer 65", [](Vector& v) {
        for (int i = 0; i < 64; ++i) {
            TBuf<> more;
            v.pipe.InitBuffer(more, 32);
        }
    });
    CheckVector("not-initialised: TBuf::Get before InitBuffer", [](Vector&) {
        TBuf<> none;
        none.Get<float>();
    });
    CheckVector("initialised-twice: InitBuffer of a TBuf",
                [](Vector& v) { v.pipe.InitBuffer(v.a, 32); });
    CheckVector("wrong-core: InitBuffer", [](Vector& v) {
        TBuf<TPosition::A1> more;
        v.pipe.InitBuffer(more, 32);
    });
    CheckVector("out-of-bounds: slot 0 is read", [](Vector& v) { v.a.Get<int32_t>().GetValue(0); });
    CheckVector("out-of-bounds: TBuf", [](Vector& v) { v.a.Get<float>(1025); });
}
