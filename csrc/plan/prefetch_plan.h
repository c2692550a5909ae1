// The argument of the prefetch kernel, passed by value.
#pragma once

#include "plan/warm_plan.h"

struct PrefetchPlan {
    WarmPlan warm;
    WarmWindow window;
};
