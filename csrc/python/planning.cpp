#include "python/planning.h"

#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arch/timing_constants.h"
#include "ops/plan_log.h"
#include "plan/l2_room.h"
#include "plan/plan_layer.h"
#include "plan/plan_warm.h"
#include "plan/plan_windows.h"
#include "plan/window.h"

namespace py = pybind11;

namespace {

using Piece = std::tuple<uint64_t, uint64_t, std::string>;

std::vector<Piece> PlanSdma(const std::string& chip_name, const std::string& name, uint64_t bytes,
                            uint64_t warmed, const std::vector<plan::Window>& windows,
                            const std::map<std::string, double>& constants) {
    const arch::Chip& chip = arch::FindChip(chip_name);
    const plan::LayerRegion region{name, bytes, warmed, windows};
    std::vector<Piece> pieces;
    for (const plan::SdmaPiece& piece : plan::PlanSdma(
             region, chip, arch::FindTimingConstants(chip, arch::Level::kNominal, constants))) {
        pieces.emplace_back(piece.offset, piece.bytes, piece.reason);
    }
    return pieces;
}

using Weight = std::tuple<std::string, uint64_t, uint64_t, double, double>;

py::list PlanWindows(const std::string& chip_name, const std::vector<plan::LayerPart>& parts,
                     const std::vector<Weight>& weights, double most_loss_us,
                     const std::map<std::string, double>& nominal,
                     const std::map<std::string, double>& worst) {
    const arch::Chip& chip = arch::FindChip(chip_name);
    std::vector<plan::LayerWeight> listed;
    for (const auto& [name, bytes, warmed, us_per_mb, least_us_per_mb] : weights) {
        listed.push_back({name, bytes, warmed, us_per_mb / 1e6, least_us_per_mb / 1e6});
    }
    const auto find = [&](arch::Level level, const std::map<std::string, double>& constants) {
        return constants.empty() ? arch::PlanningConstants(chip, level)
                                 : arch::FindTimingConstants(chip, level, constants);
    };
    const plan::WindowCosts costs{find(arch::Level::kNominal, nominal),
                                  find(arch::Level::kHigh, worst), most_loss_us};
    py::list pieces;
    for (const plan::WindowPiece& piece : plan::PlanWindows(parts, listed, chip, costs)) {
        pieces.append(py::make_tuple(piece.part, piece.weight, plan::NameOf(piece.engine),
                                     piece.passing_bytes, piece.offset, piece.bytes, piece.saved_us,
                                     piece.bound_us, piece.reason));
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

using Lengths = std::tuple<double, double, double>;

void BindWindow(py::module_& m) {
    using plan::Window;
    py::class_<Window>(m, "Window",
                       "A time before the use of a weight in which HBM has less to do than it "
                       "could; see plan/window.h.")
        .def(py::init([](std::string name, Lengths us, std::optional<uint64_t> passing_bytes,
                         std::string begins, std::string ends, bool vector_cores, bool cube_cores) {
                 const auto& [low, nominal, high] = us;
                 return Window{std::move(name),      std::move(begins),          std::move(ends),
                               {low, nominal, high}, {vector_cores, cube_cores}, passing_bytes};
             }),
             py::arg("name"), py::arg("us"), py::arg("passing_bytes"), py::arg("begins") = "",
             py::arg("ends") = "", py::arg("vector_cores") = false, py::arg("cube_cores") = false,
             "us: for how long HBM idles, short, nominal and long. passing_bytes: bytes that pass "
             "through L2 until the use of what the window brings; None if unknown. begins, ends: "
             "what is complete then. vector_cores, cube_cores: whether it leaves them idle.")
        .def_readonly("name", &Window::name, "For reports.")
        .def_readonly("begins", &Window::begins, "What is complete when it begins.")
        .def_readonly("ends", &Window::ends, "What is complete, or starts, when it ends.")
        .def_property_readonly(
            "us",
            [](const Window& window) {
                return Lengths{window.idle.short_us, window.idle.nominal_us, window.idle.long_us};
            },
            "Short, nominal and long, us.")
        .def_readonly("passing_bytes", &Window::passing_bytes, "None where they are unknown.")
        .def_property_readonly(
            "vector_cores", [](const Window& window) { return window.leaves.vector; },
            "Whether it leaves vector cores idle.")
        .def_property_readonly(
            "cube_cores", [](const Window& window) { return window.leaves.cube; },
            "Whether it leaves cube cores idle.");
}

void BindLayerPart(py::module_& m) {
    using plan::LayerPart;
    py::class_<LayerPart>(m, "LayerPart", "What runs in a layer; see plan/plan_windows.h.")
        .def(py::init([](std::string name, std::optional<uint64_t> passing_bytes,
                         std::vector<uint32_t> reads, std::optional<plan::Window> window) {
                 return LayerPart{std::move(name), passing_bytes, std::move(reads),
                                  std::move(window)};
             }),
             py::arg("name"), py::arg("passing_bytes"), py::arg("reads") = std::vector<uint32_t>(),
             py::arg("window") = std::nullopt,
             "passing_bytes: bytes that pass through L2 while it runs, without those of the "
             "weights that it reads; None if unknown. reads: indices of these weights. window: "
             "where it leaves HBM idle.")
        .def_readonly("name", &LayerPart::name, "For reports.")
        .def_readonly("passing_bytes", &LayerPart::passing_bytes, "None where they are unknown.")
        .def_readonly("reads", &LayerPart::reads, "Indices of the weights that it reads.")
        .def_readonly("window", &LayerPart::window, "None where it leaves HBM no time.");
}

void BindEngineCost(py::module_& m) {
    using plan::EngineCost;
    py::class_<EngineCost>(m, "EngineCost",
                           "What an engine costs in a window; see plan/prefetch_engine.h.")
        .def_readonly("start_us", &EngineCost::start_us, "Until the first byte, us.")
        .def_readonly("rate", &EngineCost::rate, "Bytes per us.")
        .def_readonly("join_us", &EngineCost::join_us, "Of the join, us.")
        .def_readonly("slowing", &EngineCost::slowing,
                      "Share of the slowdown of a kernel beside it (slowed_shares).")
        .def_readonly("spike_us", &EngineCost::spike_us, "By which some rounds take longer, us.")
        .def_readonly("spike_share", &EngineCost::spike_share, "Share of such rounds.")
        .def("busy_us", &EngineCost::BusyUs, py::arg("bytes"),
             "Return for how long it moves so many bytes, us.")
        .def("expected_spike_us", &EngineCost::ExpectedSpike, py::arg("slack_us"),
             "Return by how many us spikes hold up a join that has slack_us to spare; expected.");
}

}  // namespace

void BindPlanning(py::module_& m) {
    BindWindow(m);
    BindLayerPart(m);
    BindEngineCost(m);
    m.def("start_plan_log", &ops::StartPlanLog, py::arg("only_plans") = false,
          "Record what the planner decides for every later op. With only_plans, calls on CPU "
          "tensors launch nothing.");
    m.def("take_plan_log", &TakePlanLog,
          "Stop the record of decisions and return (op, expected us, decisions) of every op since "
          "its start; a decision is (weight, window, idle us, bytes, reason).");
    m.def("plan_sdma", &PlanSdma, py::arg("chip"), py::arg("name"), py::arg("bytes"),
          py::arg("warmed"), py::arg("windows"),
          py::arg("constants") = std::map<std::string, double>{},
          "Plan what the SDMA engine fetches of a weight in each window, at the window's short "
          "length, and return (offset, bytes, reason) for each; see plan/plan_layer.h.");
    m.def("plan_windows", &PlanWindows, py::arg("chip"), py::arg("parts"), py::arg("weights"),
          py::arg("most_loss_us"), py::arg("constants") = std::map<std::string, double>{},
          py::arg("worst_constants") = std::map<std::string, double>{},
          "Plan what is prefetched in the windows of a layer (plan/plan_windows.h) and return "
          "(part, weight, engine, bytes that pass through L2 from the window to the use, or None, "
          "offset, bytes, saved us, bound us, reason) of each piece. A "
          "weight is (name, bytes, bytes at its start that kernels prefetch, us per MB that its "
          "reader gains, and the least that it gains at any constants). The other constants "
          "replace those of the table at nominal and high.");
    m.def(
        "slowed_shares",
        [] { return Lengths{plan::kSlowedShort, plan::kSlowedNominal, plan::kSlowedLong}; },
        "Return by which share a kernel is slowed down while a prefetch beside it moves bytes, for "
        "windows of short, nominal and long length; see plan/plan_windows.h.");
    m.def(
        "engine_cost",
        [](const std::string& chip_name, const std::string& engine, const std::string& level,
           const std::map<std::string, double>& constants) {
            const arch::Chip& chip = arch::FindChip(chip_name);
            return plan::CostOf(plan::FindEngine(engine), chip,
                                arch::FindTimingConstants(chip, arch::FindLevel(level), constants));
        },
        py::arg("chip"), py::arg("engine"), py::arg("level") = "nominal",
        py::arg("constants") = std::map<std::string, double>{},
        "Return what an engine costs that prefetches in a window.");
    m.def(
        "l2_room",
        [](const std::string& chip, std::optional<uint64_t> passing, uint64_t in_flight) {
            return plan::L2Room(arch::FindChip(chip), in_flight, passing);
        },
        py::arg("chip"), py::arg("passing_bytes"), py::arg("in_flight_bytes") = 0,
        "Return the bytes that may be prefetched beside those in flight, where passing_bytes pass "
        "through L2 before they are used. None, unknown, counts as all of L2. This is rule 1 of "
        "the planner.");
}
