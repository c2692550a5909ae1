// What the planner decides for the ops that are called, for people who ask why.
#pragma once

#include <string>
#include <vector>

#include "plan/plan_warm.h"

namespace ops {

struct LoggedPlan {
    std::string op;
    plan::PlanReport report;
};

/// Between Start and Take every op adds one of these. A second Start before Take throws
/// std::logic_error. With `only_plans` calls on CPU tensors stop there: they launch nothing, and
/// their results mean nothing.
void StartPlanLog(bool only_plans);
std::vector<LoggedPlan> TakePlanLog();

/// Whether a log is on that wants plans alone.
bool OnlyPlans();

/// Hands a planner its report, and keeps it if anybody asked.
class PlanLogger {
public:
    explicit PlanLogger(const char* op);
    ~PlanLogger();
    PlanLogger(const PlanLogger&) = delete;
    PlanLogger& operator=(const PlanLogger&) = delete;

    /// Null where nobody asked.
    plan::PlanReport* report() { return asked_ ? &plan_.report : nullptr; }

private:
    bool asked_;
    LoggedPlan plan_;
};

}  // namespace ops
