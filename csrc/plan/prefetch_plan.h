// The argument of the kernels prefetch and prefetch_cube, passed by value.
#pragma once

#include "plan/warm_plan.h"

struct PrefetchPlan {
    WarmPlan warm;
    WarmWindow window;
};
