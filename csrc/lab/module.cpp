// The Python module ascend_prefetch._lab, the laboratory that tests and measures the kernels: twin,
// timing model and sanitizer.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "arch/chip.h"
#include "lab/ops.h"
#include "lab/timing.h"
#include "lab/twin_device.h"
#include "lab/twin_settings.h"
#include "model/prefetch_account.h"
#include "model/simulator.h"
#include "model/trace_reader.h"
#include "twin/checks.h"
#include "twin/codes.h"
#include "twin/error.h"

namespace py = pybind11;

namespace {

py::capsule TwinDevice() {
    npu::Device* device = &lab::TheTwin();
    return py::capsule(device);
}

py::list ErrorCodes() {
    py::list codes;
    for (const twin::ErrorCode& code : twin::kErrorCodes) {
        codes.append(py::make_tuple(code.code, code.summary));
    }
    return codes;
}

void SetNpu(const std::optional<py::capsule>& device, const std::string& folder) {
    lab::SetNpu(device ? device->get_pointer<npu::Device>() : nullptr, folder);
}

/// Raises a twin error as a Python exception. torch calls the ops without the GIL, and passes this
/// exception on unchanged.
[[noreturn]] void RaiseTwinError(const twin::Error& error) {
    const py::gil_scoped_acquire gil;
    const py::module_ twin = py::module_::import("ascend_prefetch.lab.twin");
    py::list accesses;
    for (const twin::Access& access : error.accesses) {
        accesses.append(twin.attr("Access")(access.core, access.pipe, access.instruction,
                                            access.file, access.line, access.writes, access.where,
                                            access.first_byte, access.bytes, access.conflict_first,
                                            access.conflict_bytes));
    }
    const py::object type = twin.attr("TwinError");
    const py::object raised = type(error.what(), error.code, error.kernel, error.core, error.file,
                                   error.line, error.message, accesses, error.ordered_by);
    PyErr_SetObject(type.ptr(), raised.ptr());
    throw py::error_already_set();
}

using Call = std::pair<std::string, std::string>;

Call ToPair(const twin::CallSite& call) { return {call.kind, call.site}; }

py::tuple TakeCallLog() {
    const twin::CallLog log = lab::TakeCallLog();
    py::dict calls;
    py::list met;
    for (const auto& [call, after] : log.calls) calls[py::cast(ToPair(call))] = after;
    for (const auto& [set, wait] : log.met) met.append(py::make_tuple(ToPair(set), ToPair(wait)));
    py::list weakened;
    for (const twin::CallSite& call : log.weakened) weakened.append(ToPair(call));
    return py::make_tuple(calls, weakened, met);
}

void SetMutation(const std::vector<Call>& calls, bool weaken) {
    twin::Mutation mutation;
    for (const Call& call : calls) mutation.calls.insert({call.first, call.second});
    mutation.kind = weaken ? twin::MutationKind::kWeaken : twin::MutationKind::kLeaveOut;
    lab::SetMutation(std::move(mutation));
}

py::list RunChecks() {
    py::list checks;
    for (const twin::CheckResult& result : twin::RunChecks()) {
        py::dict check;
        check["code"] = result.code;
        check["name"] = result.name;
        check["line"] = result.site;
        check["broken_detected"] = result.broken_detected;
        check["fixed_clean"] = result.fixed_clean;
        check["report"] = result.report;
        check["fixed_report"] = result.fixed_report;
        checks.append(check);
    }
    return checks;
}

py::list TakeTraces() {
    py::list traces;
    for (const std::string& trace : lab::TakeTraces()) traces.append(py::bytes(trace));
    return traces;
}

py::list TakeBufferUsage() {
    py::list launches;
    for (const lab::LaunchBuffers& launch : lab::TakeBufferUsage()) {
        py::list buffers;
        for (const twin::BufferUsage& usage : launch.buffers) {
            buffers.append(py::make_tuple(usage.buffer, usage.peak, usage.capacity));
        }
        launches.append(py::make_tuple(launch.kernel, buffers));
    }
    return launches;
}

using Launch = std::variant<py::bytes, std::tuple<std::string, uint64_t, uint64_t>>;

py::dict AccountPrefetch(const std::vector<Launch>& launches,
                         const std::vector<std::string>& weights) {
    std::vector<model::TraceFile> traces;
    const arch::Chip* chip = nullptr;
    for (const Launch& launch : launches) {
        const auto* trace = std::get_if<py::bytes>(&launch);
        traces.emplace_back();
        if (trace == nullptr) continue;
        traces.back() = model::ReadTrace(std::string(*trace));
        if (chip == nullptr) chip = &arch::FindChip(traces.back().chip);
    }
    for (size_t i = 0; i < launches.size(); ++i) {
        const auto* reader = std::get_if<1>(&launches[i]);
        if (reader == nullptr) continue;
        if (chip == nullptr) {
            throw std::invalid_argument("account_prefetch: expected the trace of a launch");
        }
        const auto& [name, address, bytes] = *reader;
        traces[i] = model::StreamTrace(*chip, name, address, bytes, true);
        // It computes with what it reads; without a product it would prefetch.
        twin::TraceRecord product{};
        product.op = twin::TraceOp::kMmad;
        product.pipe = twin::TracePipe::kM;
        product.tensor = twin::kNoTensor;
        traces[i].cores[0].push_back(product);
    }
    const model::PrefetchAccount account = model::AccountPrefetch(traces, weights);
    py::dict result;
    result["planned"] = account.planned;
    result["landed"] = account.landed;
    result["pending"] = account.pending;
    result["unused"] = account.unused;
    result["duplicated"] = account.duplicated;
    return result;
}

}  // namespace

PYBIND11_MODULE(_lab, m) {
    lab::SetTwinErrorHandler(&RaiseTwinError);
    m.def("set_npu", &SetNpu, py::arg("device"), py::arg("folder"),
          "Let torch.ops.ascend_prefetch_lab run the tensors of this device's type on it, with the "
          "device code in this folder. With None no device runs them.");
    m.def("twin_device", &TwinDevice, "Return the twin as a device, for _C.set_host_device.");
    m.def(
        "twin_chip", [] { return std::string(lab::TwinChip().name); },
        "Return the name of the SoC that launches on CPU tensors simulate.");
    m.def("set_twin_chip", &lab::SetTwinChip, py::arg("name"),
          "Let launches on CPU tensors simulate this SoC. An unknown name raises a ValueError that "
          "lists the known ones.");
    m.def("sanitize_mode", &lab::SanitizeModeName,
          "Return what launches on CPU tensors are checked for, as set_sanitize_mode takes it.");
    m.def("set_sanitize_mode", &lab::SetSanitizeMode, py::arg("mode"),
          "Set what launches on CPU tensors are checked for: 'off' for the rules of the "
          "instructions alone, 'memory' for bytes that are used before they are written as well, "
          "'full' for races too.");
    m.def("error_codes", &ErrorCodes,
          "Return every error code of the twin as (code, summary); a summary is one sentence.");
    m.def("dry", &lab::IsDry,
          "Return whether launches on CPU tensors go through their control flow without moving "
          "data.");
    m.def("set_dry", &lab::SetDry, py::arg("dry"),
          "Let launches on CPU tensors go through their control flow without moving data. The "
          "results of dry launches are undefined.");
    m.def("separate_kernels", &lab::SeparateKernels,
          "Return whether calls on CPU tensors run an op as separate kernels.");
    m.def("set_separate_kernels", &lab::SetSeparateKernels, py::arg("separate"),
          "Let calls on CPU tensors run an op as separate kernels, or as one.");
    m.def("schedule_seed", &lab::ScheduleSeed,
          "Return the seed of the order in which the cores of a launch run on the twin.");
    m.def("set_schedule_seed", &lab::SetScheduleSeed, py::arg("seed"),
          "Set the seed of the order in which the cores of a launch run on the twin. 0 is the "
          "fixed order; every other seed has an order of its own.");
    m.def("start_call_log", &lab::StartCallLog,
          "Record every synchronisation call and every rounding that later launches reach.");
    m.def("take_call_log", &TakeCallLog,
          "Stop the record of calls and return (calls, weakened, met). calls maps (kind, site) of "
          "every recorded call to the site of the instruction before it; weakened has those that "
          "set_mutation can weaken; met has the pairs of a set and the wait that it let through.");
    m.def("set_mutation", &SetMutation, py::arg("calls"), py::arg("weaken") = false,
          "Let later launches leave out these calls, each (kind, site), or weaken them, and no "
          "others (twin/mutation.h).");
    m.def("run_checks", &RunChecks,
          "Run the broken and the corrected kernels for every error code of the twin "
          "(twin/checks.h). Each result has code, name, line, broken_detected, fixed_clean, report "
          "and fixed_report.");
    m.def("start_tracing", &lab::StartTracing, "Record a trace of every later launch.");
    m.def("take_traces", &TakeTraces,
          "Stop the record of traces and return them serialised (twin/trace_format.h), one for "
          "each launch.");
    m.def("start_sdma_log", &lab::StartSdmaLog,
          "Keep what ops on CPU tensors give to the SDMA engine, which the twin does not have.");
    m.def("take_sdma_log", &lab::TakeSdmaLog,
          "Return (address, bytes) of every range since start_sdma_log.");
    m.def("start_buffer_usage", &lab::StartBufferUsage,
          "Record how much of the local buffers later launches use.");
    m.def("take_buffer_usage", &TakeBufferUsage,
          "Return (kernel, [(buffer, bytes, capacity)]) of every launch since start_buffer_usage; "
          "bytes is the maximum that was allocated on one core.");
    m.def("account_prefetch", &AccountPrefetch, py::arg("launches"), py::arg("weights"),
          "Account for the bytes of the named weight tensors that cores prefetched in consecutive "
          "launches: planned, landed, pending, unused and duplicated (model/prefetch_account.h). A "
          "launch is a trace, or (name, address, bytes) of a region "
          "that all cube cores together read once.");
    BindTiming(m);
}
