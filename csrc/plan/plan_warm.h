// Static schedule of the weight warmer of mla_prolog.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/chip.h"
#include "plan/mla_prolog_plan.h"
#include "plan/plan_gemm.h"

namespace plan {

/// A region the caller wants in L2 after the op, e.g. the o_proj weight; in deadline order.
struct PrefetchRegion {
    uint64_t address = 0;
    uint64_t bytes = 0;
};

constexpr size_t kMostPrefetchRegions = 8;

/// Fills `plan.warm`. The GEMMs and sizes of `plan` are set already.
///
/// Without a budget each window gets what HBM has left while the cube streams the phase it covers:
/// the share by which the vector cores' best read rate exceeds the cube's. A budget (bytes in all,
/// at most the usable share of L2) is spent in deadline order: q_b, W_UK, then the regions; the
/// part for the op's own weights stays within the default.
void PlanWarm(MlaPrologPlan& plan, const arch::Chip& chip,
              const std::vector<PrefetchRegion>& regions, std::optional<uint64_t> budget_bytes);

}  // namespace plan
