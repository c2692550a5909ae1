#include "python/planning.h"

#include <pybind11/stl.h>

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "arch/timing_constants.h"
#include "ops/plan_log.h"
#include "plan/plan_layer.h"
#include "plan/plan_warm.h"

namespace py = pybind11;

namespace {

using Window = std::tuple<std::string, double, uint64_t>;
using Piece = std::tuple<uint64_t, uint64_t, std::string>;

std::vector<Piece> PlanSdma(const std::string& chip_name, const std::string& name, uint64_t bytes,
                            uint64_t warmed, const std::vector<Window>& windows,
                            const std::map<std::string, double>& constants) {
    const arch::Chip& chip = arch::FindChip(chip_name);
    plan::LayerRegion region{name, bytes, warmed, {}};
    for (const auto& [window, idle_us, passing] : windows) {
        region.windows.push_back({window, idle_us, passing});
    }
    std::vector<Piece> pieces;
    for (const plan::SdmaPiece& piece : plan::PlanSdma(
             region, chip, arch::FindTimingConstants(chip, arch::Level::kNominal, constants))) {
        pieces.emplace_back(piece.offset, piece.bytes, piece.reason);
    }
    return pieces;
}

py::list TakePlanLog() {
    py::list plans;
    for (const ops::LoggedPlan& plan : ops::TakePlanLog()) {
        py::list decisions;
        for (const plan::PrefetchDecision& decision : plan.report.decisions) {
            decisions.append(py::make_tuple(decision.weight, decision.window, decision.idle_us,
                                            decision.bytes, decision.reason));
        }
        plans.append(py::make_tuple(plan.op, plan.report.us, decisions));
    }
    return plans;
}

}  // namespace

void BindPlanning(py::module_& m) {
    m.def("start_plan_log", &ops::StartPlanLog, py::arg("only_plans") = false,
          "Record what the planner decides for every later op. With only_plans, calls on CPU "
          "tensors launch nothing.");
    m.def("take_plan_log", &TakePlanLog,
          "Stop the record of decisions and return (op, expected us, decisions) of every op since "
          "its start; a decision is (weight, window, idle us, bytes, reason).");
    m.def("plan_sdma", &PlanSdma, py::arg("chip"), py::arg("name"), py::arg("bytes"),
          py::arg("warmed"), py::arg("windows"),
          py::arg("constants") = std::map<std::string, double>{},
          "Plan what the SDMA engine fetches of a weight in each window, and return (offset, "
          "bytes, reason) for each. A window is (name, idle us, bytes that pass through L2 before "
          "the use); see plan/plan_layer.h.");
    m.def(
        "usable_l2_bytes",
        [](const std::string& chip) { return plan::UsableL2Bytes(arch::FindChip(chip)); },
        py::arg("chip"),
        "Return the bytes of L2 beyond which a prefetch evicts what it has brought.");
}
