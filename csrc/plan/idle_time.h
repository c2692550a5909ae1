// When HBM idles in a fused kernel, in closed form: what the planner spends on prefetches.
//
// The weights of a kernel are one stream that runs ahead of the products by what L1 holds. Products
// wait for vector cores and for each other; once the last weight is on its way HBM has nothing left
// to do. The timing model (csrc/model) replays the same events one by one, from the same constants.
#pragma once

#include <vector>

#include "arch/timing_constants.h"
#include "plan/o_proj_plan.h"
#include "plan/prolog_plan.h"

namespace plan {

/// A window of the vector cores behind the end of the weight stream.
struct IdleTime {
    bool open;       ///< the stream ends before the window does, whatever the timing
    double idle_us;  ///< of HBM in it
};

struct KernelTimes {
    double stream_us;  ///< from the start until the last weight has arrived
    double us;         ///< of the kernel, without launch and prefetches
    /// Windows in the order of the kernel: of a prolog while q_b, the indexer's q and the absorbed
    /// q_nope are pending; of o_proj one.
    std::vector<IdleTime> windows;
};

KernelTimes TimeProlog(const PrologPlan& plan, const arch::TimingConstants& constants,
                       uint32_t cube_cores);
KernelTimes TimeOProj(const OProjPlan& plan, const arch::TimingConstants& constants,
                      uint32_t cube_cores);

}  // namespace plan
