#include "lab/timing.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "arch/timing_constants.h"
#include "lab/microbenchmarks.h"
#include "model/device_memory.h"
#include "model/simulator.h"

namespace py = pybind11;

namespace {

/// Names of kernel and chip of a trace, and (address, bytes) of every tensor by name.
py::dict DescribeTrace(const py::bytes& bytes) {
    const model::TraceFile trace = model::ReadTrace(std::string(bytes));
    py::dict tensors;
    for (const auto& tensor : trace.tensors) {
        tensors[py::str(tensor.name)] = py::make_tuple(tensor.address, tensor.bytes);
    }
    py::dict description;
    description["kernel"] = trace.kernel;
    description["chip"] = trace.chip;
    description["tensors"] = tensors;
    return description;
}

/// The result of `make`, which runs without the interpreter's lock.
template <typename Make>
py::bytes Unlocked(const Make& make) {
    std::string made;
    {
        const py::gil_scoped_release release;
        made = make();
    }
    return py::bytes(made);
}

/// A simulator together with its chip.
class Timeline {
public:
    Timeline(const std::string& chip, const std::string& level,
             const std::map<std::string, double>& constants)
        : chip_(arch::FindChip(chip)),
          constants_(arch::FindTimingConstants(chip_, arch::FindLevel(level), constants)),
          simulator_(constants_) {}

    py::dict Run(const py::bytes& trace, bool intervals, bool launched) {
        const std::string text(trace);
        const py::gil_scoped_release release;
        model::TraceFile file = model::ReadTrace(text);
        memory_.Place(file);
        return Describe(file, intervals, launched);
    }
    py::dict Stream(const std::string& name, uint64_t address, uint64_t bytes, bool cube,
                    bool intervals, bool launched, uint64_t offset,
                    std::optional<uint64_t> length) {
        const auto [begin, size] = PartOf("stream", address, bytes, offset, length);
        const py::gil_scoped_release release;
        return Describe(model::StreamTrace(chip_, name, begin, size, cube), intervals, launched);
    }
    py::list SdmaTransfers() const {
        py::list list;
        for (const model::FinishedTransfer& transfer : simulator_.sdma_transfers()) {
            list.append(py::make_tuple(transfer.start, transfer.end, transfer.bytes,
                                       transfer.counts.hbm_read, transfer.counts.l2_hit));
        }
        return list;
    }
    void Prefetch(uint64_t address, uint64_t bytes, uint64_t offset, std::optional<uint64_t> length,
                  double delay, uint32_t stream) {
        const auto [begin, size] = PartOf("prefetch", address, bytes, offset, length);
        simulator_.Prefetch(begin, size, delay, stream);
    }
    void Touch(uint64_t address, uint64_t bytes, bool write, uint64_t offset,
               std::optional<uint64_t> length) {
        const auto [begin, size] = PartOf("touch", address, bytes, offset, length);
        const py::gil_scoped_release release;
        simulator_.Touch(begin, size, write);
    }
    model::Simulator& simulator() { return simulator_; }
    const arch::TimingConstants& constants() const { return constants_; }

private:
    /// Where a part of a tensor lies, and its bytes.
    std::pair<uint64_t, uint64_t> PartOf(const char* name, uint64_t address, uint64_t bytes,
                                         uint64_t offset, std::optional<uint64_t> length) {
        const uint64_t size = length.value_or(bytes - std::min(offset, bytes));
        if (offset > bytes || size > bytes - offset) {
            throw std::invalid_argument(
                std::string(name) + ": expected a part of " + std::to_string(bytes) +
                " bytes, got " + std::to_string(size) + " from " + std::to_string(offset) + " on");
        }
        return {memory_.Place(address, bytes) + offset, size};
    }

    static py::dict Bytes(const model::MemoryCounts& counts) {
        py::dict bytes;
        bytes["hbm_read"] = counts.hbm_read;
        bytes["hbm_written"] = counts.hbm_written;
        bytes["l2_hit"] = counts.l2_hit;
        bytes["written"] = counts.written;
        return bytes;
    }

    static py::dict Busy(const std::array<double, model::kPipes>& busy) {
        constexpr const char* kNames[] = {"scalar", "vector", "cube",   "mte1",
                                          "mte2",   "mte3",   "fixpipe"};
        py::dict pipes;
        for (size_t i = 0; i < model::kPipes; ++i) pipes[kNames[i]] = busy[i];
        return pipes;
    }

    /// Runs a trace; called without the interpreter's lock, so that several can run at once.
    py::dict Describe(const model::TraceFile& trace, bool intervals, bool launched) {
        const model::ReplayTimes times = simulator_.Run(trace, intervals, launched);
        const py::gil_scoped_acquire acquire;
        py::dict result;
        result["kernel"] = times.kernel;
        result["aic_count"] = trace.aic_count;
        result["launched"] = times.launched;
        result["start"] = times.start;
        result["end"] = times.end;
        result["us"] = times.end - times.launched;
        result["bytes"] = Bytes(times.bytes);
        result["cube_busy"] = Busy(times.cube_busy);
        result["vector_busy"] = Busy(times.vector_busy);
        if (intervals) {
            py::list list;
            for (const model::PipeInterval& interval : times.intervals) {
                const auto& record = trace.cores[interval.core][interval.record];
                list.append(py::make_tuple(
                    interval.core, static_cast<int>(record.pipe), static_cast<int>(record.op),
                    interval.start, interval.end,
                    record.tensor == twin::kNoTensor ? std::string()
                                                     : trace.tensors[record.tensor].name,
                    uint64_t{record.block_bytes} * record.block_count, trace.sites[record.site],
                    interval.counts.hbm_read, interval.counts.hbm_written, interval.counts.l2_hit,
                    interval.counts.written));
            }
            result["intervals"] = list;
            py::list changes;
            for (const model::RateChange& change : times.rate_changes) {
                changes.append(py::make_tuple(change.time, change.hbm_read, change.hbm_written,
                                              change.l2_hit, change.written));
            }
            result["rate_changes"] = changes;
        }
        return result;
    }

    const arch::Chip& chip_;
    const arch::TimingConstants constants_;
    model::Simulator simulator_;
    model::DeviceMemory memory_;
};

}  // namespace

void BindTiming(py::module_& m) {
    m.def("describe_trace", &DescribeTrace, py::arg("trace"),
          "Return the kernel, the chip and the tensors of a trace; the tensors are (address, "
          "bytes) by name.");
    m.def(
        "trace_matmul",
        [](const std::string& chip, uint32_t rows, uint32_t columns, uint32_t depth, bool nz,
           const std::string& dtype, uint32_t cores) {
            lab::MatmulCase shape;
            shape.m = rows;
            shape.n = columns;
            shape.k = depth;
            shape.nz = nz;
            shape.type = lab::FindProductType(dtype);
            shape.cores = cores;
            return Unlocked([&] { return lab::TraceMatmul(shape, arch::FindChip(chip)); });
        },
        py::arg("chip"), py::arg("m"), py::arg("n"), py::arg("k"), py::arg("nz"), py::arg("dtype"),
        py::arg("cores") = 0,
        "Return the trace of a dry run of C = A x B as a kernel of its own. `dtype` is fp16, bf16 "
        "or int8.");
    m.def(
        "trace_quant_matmul",
        [](const std::string& chip, uint32_t rows, uint32_t columns, uint32_t depth, bool nz,
           uint32_t cores) {
            lab::MatmulCase shape;
            shape.m = rows;
            shape.n = columns;
            shape.k = depth;
            shape.nz = nz;
            shape.type = lab::ProductType::kInt8;
            shape.cores = cores;
            return Unlocked([&] { return lab::TraceQuantMatmul(shape, arch::FindChip(chip)); });
        },
        py::arg("chip"), py::arg("m"), py::arg("n"), py::arg("k"), py::arg("nz"),
        py::arg("cores") = 0,
        "Return the trace of a dry run of an int8 product with its dequantisation to bf16, as a "
        "kernel of its own.");
    m.def(
        "trace_quantise",
        [](const std::string& chip, uint32_t rows, uint32_t width, bool bf16, uint32_t cores) {
            return Unlocked([&] {
                return lab::TraceQuantise({rows, width, bf16, cores}, arch::FindChip(chip));
            });
        },
        py::arg("chip"), py::arg("rows"), py::arg("width"), py::arg("bf16"), py::arg("cores") = 0,
        "Return the trace of a dry run of the dynamic quantisation of a matrix as a kernel of its "
        "own.");
    m.def(
        "trace_copy",
        [](const std::string& chip, uint32_t rows, uint32_t row_bytes, uint32_t tile_rows,
           uint32_t tile_bytes, uint32_t slices, uint32_t repeats, bool to_l1, uint32_t cores) {
            lab::CopyCase shape;
            shape.rows = rows;
            shape.row_bytes = row_bytes;
            shape.tile_rows = tile_rows;
            shape.tile_bytes = tile_bytes;
            shape.slices = slices;
            shape.repeats = repeats;
            shape.to_l1 = to_l1;
            shape.cores = cores;
            return Unlocked([&] { return lab::TraceCopy(shape, arch::FindChip(chip)); });
        },
        py::arg("chip"), py::arg("rows"), py::arg("row_bytes"), py::arg("tile_rows"),
        py::arg("tile_bytes"), py::arg("slices"), py::arg("repeats"), py::arg("to_l1"),
        py::arg("cores") = 0, "Return the trace of a dry run of a kernel that reads a matrix.");
    py::class_<Timeline>(
        m, "Timeline",
        "A model of a chip that runs kernels one after the other (model/simulator.h).")
        .def(py::init<const std::string&, const std::string&,
                      const std::map<std::string, double>&>(),
             py::arg("chip"), py::arg("level"),
             py::arg("constants") = std::map<std::string, double>{},
             "Values in `constants` replace those of the table and have its units.")
        .def("run", &Timeline::Run, py::arg("trace"), py::arg("intervals") = false,
             py::arg("launched") = false,
             "Run the kernel of a trace, after its launch unless it is `launched` already, and "
             "return its times in us and its bytes. Intervals tell "
             "when a pipe worked: (core, pipe, op, start, end, tensor, bytes, site, hbm_read, "
             "hbm_written, l2_hit, written), where the last four count whole lines. Rate changes "
             "are (time, hbm_read, hbm_written, l2_hit, written) in us and bytes per us.")
        .def("stream", &Timeline::Stream, py::arg("name"), py::arg("address"), py::arg("bytes"),
             py::arg("cube"), py::arg("intervals") = false, py::arg("launched") = false,
             py::arg("offset") = 0, py::arg("length") = std::nullopt,
             "Let all cube cores, or all vector cores, read a part of a tensor, by default all of "
             "it, once as a kernel of its own, "
             "and return what run returns.")
        .def("prefetch", &Timeline::Prefetch, py::arg("address"), py::arg("bytes"),
             py::arg("offset") = 0, py::arg("length") = std::nullopt, py::arg("delay") = 0,
             py::arg("stream") = 0,
             "Submit a part of a tensor, by default all of it, to the SDMA engine `delay` us from "
             "now. Streams that have work at the same time slow each other down.")
        .def("touch", &Timeline::Touch, py::arg("address"), py::arg("bytes"), py::arg("write"),
             py::arg("offset") = 0, py::arg("length") = std::nullopt,
             "Leave in L2 what reading or writing a part of a tensor, by default all of it, before "
             "now would have left there; this takes no time.")
        .def(
            "join_prefetch", [](Timeline& self) { self.simulator().JoinPrefetch(); },
            "Let what runs next start when the SDMA engine has completed all that was submitted.")
        .def(
            "wait",
            [](Timeline& self, double us) {
                if (!(us >= 0)) {
                    throw std::invalid_argument("wait: expected 0 or more us, got " +
                                                std::to_string(us));
                }
                self.simulator().Wait(us);
            },
            py::arg("us"), "Let `us` pass in which no kernel runs, while the SDMA engine works on.")
        .def_property_readonly(
            "hbm_rate", [](Timeline& self) { return self.constants().hbm_rate; },
            "Return the maximum rate of HBM, in bytes per us.")
        .def_property_readonly(
            "launch_us", [](Timeline& self) { return self.constants().launch_us; },
            "Return the time that launch and start of a kernel take, in us.")
        .def_property_readonly(
            "sdma_transfers", [](Timeline& self) { return self.SdmaTransfers(); },
            "Return (start, end, bytes, hbm_read, l2_hit) of every transfer that the SDMA engine "
            "has completed.")
        .def_property_readonly(
            "now", [](Timeline& self) { return self.simulator().now(); },
            "Return the time since the sequence began, in us.");
}
