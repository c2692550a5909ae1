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
/// std::logic_error.
void StartPlanLog();
std::vector<LoggedPlan> TakePlanLog();

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
