// Everything the prefetch kernel has to know. Passed by value.
#pragma once

#include "plan/warm_plan.h"

struct PrefetchPlan {
    WarmPlan warm;
    WarmWindow window;
};
