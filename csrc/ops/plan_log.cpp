#include "ops/plan_log.h"

#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace ops {

namespace {

struct Log {
    std::mutex mutex;
    std::optional<std::vector<LoggedPlan>> plans;
};

Log& TheLog() {
    static Log log;
    return log;
}

}  // namespace

void StartPlanLog() {
    Log& log = TheLog();
    const std::lock_guard<std::mutex> lock(log.mutex);
    if (log.plans) throw std::logic_error("plans are being logged already");
    log.plans.emplace();
}

std::vector<LoggedPlan> TakePlanLog() {
    Log& log = TheLog();
    const std::lock_guard<std::mutex> lock(log.mutex);
    return std::exchange(log.plans, std::nullopt).value_or(std::vector<LoggedPlan>());
}

PlanLogger::PlanLogger(const char* op) : plan_{op, {}} {
    Log& log = TheLog();
    const std::lock_guard<std::mutex> lock(log.mutex);
    asked_ = log.plans.has_value();
}

PlanLogger::~PlanLogger() {
    if (!asked_) return;
    Log& log = TheLog();
    const std::lock_guard<std::mutex> lock(log.mutex);
    if (log.plans) log.plans->push_back(std::move(plan_));
}

}  // namespace ops
