// A log of what the planner decides for the ops that are called, and why.
#pragma once

#include <string>
#include <vector>

#include "plan/plan_warm.h"

namespace ops {

struct LoggedPlan {
    std::string op;
    plan::PlanReport report;
};

/// Between StartPlanLog and TakePlanLog every call of an op adds one LoggedPlan. A second
/// StartPlanLog before TakePlanLog throws std::logic_error. With `only_plans`, calls on CPU tensors
/// are only planned: they launch no kernel, and their results are undefined.
void StartPlanLog(bool only_plans);
std::vector<LoggedPlan> TakePlanLog();

/// Whether a log started with `only_plans` is running.
bool OnlyPlans();

/// Provides the report for a planner to fill in, and logs it if a log is running.
class PlanLogger {
public:
    explicit PlanLogger(const char* op);
    ~PlanLogger();
    PlanLogger(const PlanLogger&) = delete;
    PlanLogger& operator=(const PlanLogger&) = delete;

    /// Null if no log is running.
    plan::PlanReport* report() { return asked_ ? &plan_.report : nullptr; }

private:
    bool asked_;
    LoggedPlan plan_;
};

}  // namespace ops
