// Walks plans: every core's instructions, and what all cores together do.
#pragma once

#include <cstdint>
#include <functional>

#include "lab/kernels/matmul_plan.h"
#include "plan/prefetch_plan.h"
#include "plan_walk/cases.h"

namespace walk {

/// Which cores run.
enum class Cores : uint8_t {
    kSome,  ///< the first, the last and one between, of each role
    kAll,   ///< and together they write every result once, and load every weight once
};

struct Walked {
    uint64_t products = 0;  ///< GEMMs of the plan
    uint64_t core_runs = 0;
    uint64_t instructions = 0;

    Walked& operator+=(const Walked& more) {
        products += more.products;
        core_runs += more.core_runs;
        instructions += more.instructions;
        return *this;
    }
};

/// What the kernels of a case are given.
struct PrologPlans {
    PrologPlan shape;
    PrologWarm warm;
};
struct OProjPlans {
    OProjPlan shape;
    OProjWarm warm;
};

/// Each throws Fault where the plan breaks a rule. `plan` is what the planner makes of the case, or
/// what a test makes of that.
Walked Walk(const PrologCase& prolog, const PrologPlans& plans, Cores cores, Draws& draws);
Walked Walk(const OProjCase& o_proj, const OProjPlans& plans, Cores cores, Draws& draws);
Walked Walk(const MatmulCase& matmul, const MatmulPlan& plan, Cores cores, Draws& draws);
Walked Walk(const CopyCase& copy, Cores cores, Draws& draws);
/// Plans by itself: the tensors lie where the machine puts them.
Walked Walk(const PrefetchCase& prefetch, Cores cores, Draws& draws);
/// The same with `change` applied to the plan.
Walked Walk(const PrefetchCase& prefetch, Cores cores, Draws& draws,
            const std::function<void(PrefetchPlan&)>& change);

/// The plans of a case.
PrologPlans PlanProlog(const PrologCase& prolog);
OProjPlans PlanOProj(const OProjCase& o_proj);
MatmulPlan PlanMatmul(const MatmulCase& matmul);

/// Moves the prefetch regions of a case to where the machine of its walk will put them.
void PlacePrefetch(plan::PrefetchRequest& request);

}  // namespace walk
