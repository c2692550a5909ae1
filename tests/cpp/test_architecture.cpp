// Chips that refer to an architecture: its sizes reach the plans, and kernels are there or not.
#include <stdexcept>

#include "arch/chip.h"
#include "check.h"
#include "plan/l2_room.h"
#include "plan/plan_o_proj.h"
#include "plan/plan_phases.h"
#include "plan/plan_prolog.h"
#include "plan_problems.h"

// A row of an architecture to come: a chip as others, of which nothing but the name is known.
TEST(a_chip_of_an_architecture_without_kernels_is_refused_by_name) {
    arch::Architecture next = arch::kDavC220;
    next.name = "dav-next";
    next.has_kernels = false;
    arch::Chip chip = arch::FindChip("Ascend910_9391");
    chip.name = "AscendNext";
    chip.architecture = &next;
    const char* const text =
        "chip 'AscendNext' is of architecture 'dav-next', for which there are no kernels; there "
        "are kernels for 'dav-c220'";
    const plan::PrologProblem prolog = DeepSeekV3(1, 16);
    plan::OProjProblem o_proj;
    o_proj.tokens = 1;
    o_proj.value_columns = 1024;
    o_proj.hidden_size = 7168;
    CHECK_THROWS_WITH(arch::RequireKernels(chip), std::invalid_argument, text);
    CHECK_THROWS_WITH(plan::PlanProlog(prolog, chip), std::invalid_argument, text);
    CHECK_THROWS_WITH(plan::CachedPlanProlog(prolog, chip), std::invalid_argument, text);
    CHECK_THROWS_WITH(plan::PlanOProj(o_proj, chip), std::invalid_argument, text);
    next.has_kernels = true;
    arch::RequireKernels(chip);
}

// Planners take the sizes of buffers from the chip's architecture.
TEST(a_plan_fits_the_buffers_of_its_chips_architecture) {
    arch::Architecture other = arch::kDavC220;
    arch::Chip chip = arch::FindChip("Ascend910_9391");
    chip.architecture = &other;
    const plan::PrologProblem problem = DeepSeekV3(16, 16);
    const plan::PrologShapePlan usual = plan::PlanProlog(problem, arch::FindChip("Ascend910_9391"));
    other.usable_ub_bytes += 4096;
    CHECK_EQ(plan::PlanProlog(problem, chip).room.pad_bytes, usual.room.pad_bytes + 4096);
    other.usable_ub_bytes = 32 * 1024;
    CHECK_THROWS_WITH(plan::PlanProlog(problem, chip), std::invalid_argument,
                      "widths that take at most 32768 bytes");
    other = arch::kDavC220;
    other.usable_l1_bytes = 256 * 1024;
    CHECK_THROWS_WITH(plan::PlanProlog(problem, chip), std::logic_error, "do not fit a core");
    other = arch::kDavC220;
    other.l0b_bytes /= 2;
    const auto step = [](const plan::PrologShapePlan& shape) {
        return plan::GemmOf(shape.kernel, prolog::kQueryB).l0_k;
    };
    CHECK(step(plan::PlanProlog(problem, chip)) <= step(usual) / 2);
    other = arch::kDavC220;
    other.usable_l2.value /= 2;
    CHECK_EQ(plan::UsableL2Bytes(chip), plan::UsableL2Bytes(arch::FindChip("Ascend910_9391")) / 2);
}
