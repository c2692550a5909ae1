// The closed form's counts of what a vector core does with a row, against traces of the stages on
// the twin.
//
// The closed form counts what others wait for. A trace has more by what stands here: instructions
// that follow another one without a barrier, biases and tables that are there already, stores that
// pass while the next instructions run. A change of either side has to change this table too.
#include "plan/vector_work.h"

#include <functional>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "check.h"
#include "dry_tensors.h"
#include "plan/plan_prolog.h"
#include "plan/prolog_phases.h"
#include "plan_problems.h"
#include "twin/launch.h"

extern "C" void prolog_stage_bf16_w8a8(PrologAddresses addresses, PrologPlan plan, uint32_t stage);

namespace {

constexpr uint64_t kTensorBytes = uint64_t{1} << 36;
constexpr LinearFormat kStatic =
    plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kStatic);
constexpr LinearFormat kDynamic =
    plan::W8A8(plan::WeightLayout::kInOut, plan::LinearScales::kDynamic);

/// What the first vector core does in a stage of 48 x `rows` tokens, every optional tensor present;
/// a pass is an instruction over `width` elements.
std::vector<double> Counts(plan::PrologProblem problem, prolog::Stage stage, uint32_t width,
                           uint32_t rows) {
    const arch::Chip& chip = arch::FindChip("Ascend910_9391");
    problem.tokens = rows * chip.aiv_count;
    const PrologPlan plan = plan::PlanProlog(problem, chip).kernel;
    twin::Trace trace;
    twin::LaunchConfig config;
    config.name = "stage";
    config.chip = &chip;
    config.kind = twin::KernelKind::kAivOnly;
    config.dry = true;
    config.trace = &trace;
    const auto addresses = AddDryTensors<PrologAddresses>(config, kTensorBytes);
    twin::Launch(config, [&] { prolog_stage_bf16_w8a8(addresses, plan, stage); });
    std::vector<double> counts(4);
    for (const twin::TraceRecord& record : trace.cores[0]) {
        // An instruction between fp16 and int8 has 128 elements in a repeat.
        const bool pass = record.args[0] * 2 * plan::kLanes >= width;
        if (record.op == twin::TraceOp::kVector) counts[0] += 1;
        if (record.op == twin::TraceOp::kVector && pass) counts[1] += 1;
        if (record.op == twin::TraceOp::kLoad) counts[2] += 1;
        if (record.op == twin::TraceOp::kStore) counts[3] += 1;
    }
    return counts;
}

/// Of each further row: instructions, passes, loads, stores.
std::vector<double> PerRow(const plan::PrologProblem& problem, prolog::Stage stage,
                           uint32_t width) {
    const std::vector<double> one = Counts(problem, stage, width, 1);
    std::vector<double> two = Counts(problem, stage, width, 2);
    for (size_t i = 0; i < two.size(); ++i) two[i] -= one[i];
    return two;
}

/// The closed form's counts, and by how much more a trace has of each.
void Check(const std::vector<double>& traced, const plan::VectorWork& planned,
           const std::vector<double>& more) {
    const double counts[] = {planned.instructions, planned.passes, planned.loads, planned.stores};
    for (size_t i = 0; i < 4; ++i) CHECK_EQ(traced[i], counts[i] + more[i]);
}

plan::PrologProblem Prolog(const LinearFormat& qkv_a, const LinearFormat& q_b) {
    plan::PrologProblem problem = DeepSeekV3(48, 16);
    problem.hidden_size = 256;  // one piece, and no depth to deal out
    problem.qkv_a = qkv_a;
    problem.q_b = q_b;
    return problem;
}

}  // namespace

TEST(rows_that_are_normed) {
    constexpr LinearFormat kPlain = plan::Plain(plan::WeightLayout::kOutIn);
    const uint32_t width = 1536;
    Check(PerRow(Prolog(kPlain, kPlain), prolog::kNormQuery, width), plan::Norm(width),
          {2, 1, 0, 0});
    Check(PerRow(Prolog(kPlain, kStatic), prolog::kNormQuery, width),
          plan::Norm(width) + plan::QuantiseInUb(width, false), {3, 3, 0, 1});
    Check(PerRow(Prolog(kPlain, kDynamic), prolog::kNormQuery, width),
          plan::Norm(width) + plan::QuantiseInUb(width, true), {6, 2, 0, 2});
}

TEST(rows_that_are_quantised) {
    constexpr LinearFormat kPlain = plan::Plain(plan::WeightLayout::kOutIn);
    plan::PrologProblem problem = Prolog(kStatic, kPlain);
    problem.hidden_size = 1536;
    Check(PerRow(problem, prolog::kQuantiseHidden, 1536), plan::Quantise(1536, 1536, false),
          {0, 0, 0, 0});
    problem.qkv_a = kDynamic;
    Check(PerRow(problem, prolog::kQuantiseHidden, 1536), plan::Quantise(1536, 1536, true),
          {3, 1, 0, 1});
}

TEST(steps_that_are_rotated) {
    constexpr LinearFormat kPlain = plan::Plain(plan::WeightLayout::kOutIn);
    const HeadsPlan heads = {8, 192, 128, 8};
    Check(PerRow(Prolog(kPlain, kPlain), prolog::kRotateQuery, 512), plan::Rotate(heads),
          {3, 6, 2, 0});
}

// A vector core's tokens are half of all, of which a tile takes 24; its columns are no rotated
// ones.
TEST(tiles_that_are_dequantised) {
    constexpr LinearFormat kPlain = plan::Plain(plan::WeightLayout::kOutIn);
    for (const LinearFormat& format : {kStatic, kDynamic}) {
        Check(PerRow(Prolog(kPlain, format), prolog::kDequantiseQuery, 24 * 64),
              plan::DequantiseTile(24, 64, plan::Dynamic(format)),
              {1, 1, plan::Dynamic(format) ? 1.0 : 0.0, 0});
    }
}
