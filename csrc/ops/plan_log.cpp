#include "ops/plan_log.h"

#include <atomic>
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

/// An atomic outside of the log, since every call reads it and must not take the log's mutex.
std::atomic<bool> only_plans_are_wanted{false};

}  // namespace

void StartPlanLog(bool only_plans) {
    Log& log = TheLog();
    const std::lock_guard<std::mutex> lock(log.mutex);
    if (log.plans) throw std::logic_error("plans are being logged already");
    log.plans.emplace();
    only_plans_are_wanted = only_plans;
}

std::vector<LoggedPlan> TakePlanLog() {
    Log& log = TheLog();
    const std::lock_guard<std::mutex> lock(log.mutex);
    only_plans_are_wanted = false;
    return std::exchange(log.plans, std::nullopt).value_or(std::vector<LoggedPlan>());
}

bool OnlyPlans() { return only_plans_are_wanted.load(std::memory_order_relaxed); }

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
