// prefetch and prefetch_join: argument checks, the Meta kernel and the run on a device.
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <vector>

#include "arch/quoted.h"
#include "ops/arguments.h"
#include "ops/backend.h"
#include "ops/checks.h"
#include "ops/prefetch_request.h"
#include "ops/run_kernel.h"
#include "plan/l2_room.h"
#include "plan/plan_prefetch.h"
#include "plan/prefetch_plan.h"

namespace ops {

namespace {

constexpr const char* kOp = "prefetch";

struct Arguments {
    std::vector<at::Tensor> weights;
    std::optional<std::vector<int64_t>> max_bytes;
    std::optional<std::vector<int64_t>> offsets;
    std::optional<int64_t> cores;
    std::optional<at::Tensor> after;
    std::string engine;
    bool beside = false;

    bool sdma() const { return engine == "sdma"; }
    bool cube() const { return engine == "cube"; }
};

template <typename Visit>
void VisitArguments(Arguments& args, Visit&& visit) {
    visit("weights", args.weights);
    visit("max_bytes", args.max_bytes);
    visit("offsets", args.offsets);
    visit("cores", args.cores);
    visit("after", args.after);
    visit("engine", args.engine);
    visit("beside", args.beside);
}

/// The bytes of a tensor that a prefetch loads; they are symbolic under torch.compile.
struct Range {
    c10::SymInt offset, bytes;
};

/// The cores of a kind that loads: all that the chip has.
uint32_t AllCores(const Arguments& args, const arch::Chip& chip) {
    return args.cube() ? chip.aic_count : chip.aiv_count;
}

void CheckCount(const ArgumentChecks& check, at::TensorList weights) {
    const size_t most = plan::kMaxPrefetchRegions;
    check.RequireValue(!weights.empty() && weights.size() <= most, "weights",
                       Text("1 to ", most, " tensors"), weights.size());
}

void CheckLength(const ArgumentChecks& check, const char* name,
                 const std::optional<std::vector<int64_t>>& values, size_t count) {
    if (!values) return;
    check.Require(values->size() == count, name, Text("one number per weight: ", count),
                  values->size());
}

Range CheckRange(const ArgumentChecks& check, const Arguments& args, size_t index) {
    const at::Tensor& weight = args.weights[index];
    const ArgumentName name("weights", index);
    check.Device(name, weight);
    check.Contiguous(name, weight);
    const c10::SymInt size = weight.sym_numel() * static_cast<int64_t>(weight.element_size());
    check.RequireValue(size > 0, name, "at least one byte",
                       Text("shape ", ShapeText(weight.sym_sizes())));
    Range range = {0, size};
    if (args.offsets) {
        range.offset = (*args.offsets)[index];
        check.RequireValue(range.offset >= 0 && range.offset < size, ArgumentName("offsets", index),
                           Text("0 or more bytes, below the ", size, " of the weight"),
                           range.offset);
        range.bytes = size - range.offset;
    }
    if (args.max_bytes) {
        const int64_t most = (*args.max_bytes)[index];
        check.RequireValue(most > 0, ArgumentName("max_bytes", index), "more than 0 bytes", most);
        if (range.bytes > most) range.bytes = most;
    }
    return range;
}

std::vector<Range> CheckArguments(const ArgumentChecks& check, const Arguments& args,
                                  const arch::Chip& chip) {
    CheckCount(check, args.weights);
    CheckLength(check, "max_bytes", args.max_bytes, args.weights.size());
    CheckLength(check, "offsets", args.offsets, args.weights.size());
    std::vector<Range> ranges;
    c10::SymInt bytes = 0;
    for (size_t i = 0; i < args.weights.size(); ++i) {
        ranges.push_back(CheckRange(check, args, i));
        bytes += ranges.back().bytes;
    }
    const auto usable = static_cast<int64_t>(plan::L2Room(chip, 0, 0));
    check.RequireValue(bytes <= usable, "weights",
                       Text("at most ", usable, " bytes in all, the usable share of the L2 of ",
                            chip.name, " (more evicts itself; see 'max_bytes')"),
                       bytes);
    if (!args.sdma() && !args.cube() && args.engine != "vector") {
        check.RequireValue(false, "engine", "'vector', 'cube' or 'sdma'",
                           arch::Quoted(args.engine));
    }
    if (args.cores) {
        check.Require(!args.sdma(), "cores", "None with engine 'sdma', which has no cores",
                      *args.cores);
        const uint32_t all = AllCores(args, chip);
        check.RequireValue(
            *args.cores >= 1 && *args.cores <= all, "cores",
            Text("1 to the ", all, args.cube() ? " cube" : " vector", " cores of ", chip.name),
            *args.cores);
    }
    if (args.after) check.Device("after", *args.after);
    return ranges;
}

std::vector<plan::PrefetchRange> LocateRanges(const Arguments& args,
                                              const std::vector<Range>& ranges,
                                              LaunchTensors& tensors) {
    std::vector<plan::PrefetchRange> located;
    for (size_t i = 0; i < ranges.size(); ++i) {
        const auto offset = static_cast<uint64_t>(ranges[i].offset.expect_int());
        const auto bytes = static_cast<uint64_t>(ranges[i].bytes.expect_int());
        tensors.Prefetch({"weights", i}, args.weights[i], offset, bytes);
        located.push_back({RegionOf(args.weights[i]), offset, bytes});
    }
    tensors.CheckApart();
    return located;
}

c10::Device DeviceOf(const Arguments& args) {
    return args.weights.empty() ? at::kCPU : args.weights[0].device();
}

ArgumentChecks Checks(const Arguments& args) { return {kOp, DeviceOf(args)}; }

void RunOnSdma(const Target& target, const Arguments& args,
               const std::vector<plan::PrefetchRange>& located) {
    std::vector<npu::MemoryRange> ranges;
    ranges.reserve(located.size());
    for (const plan::PrefetchRange& range : located) {
        ranges.push_back({range.tensor.address + range.offset, range.bytes});
    }
    target.device.Prefetch(ranges.data(), args.weights.data(), ranges.size());
}

void Launch(const Arguments& args) {
    const ArgumentChecks check = Checks(args);
    const Target target = TargetOf(kOp, DeviceOf(args));
    const c10::OptionalDeviceGuard guard(DeviceOf(args));
    const std::vector<Range> ranges = CheckArguments(check, args, target.chip);
    LaunchTensors tensors(check, target);
    const std::vector<plan::PrefetchRange> located = LocateRanges(args, ranges, tensors);
    if (args.sdma()) return RunOnSdma(target, args, located);
    const auto cores = static_cast<uint32_t>(args.cores.value_or(AllCores(args, target.chip)));
    const auto type = args.cube() ? plan::LoadingCores::kCube : plan::LoadingCores::kVector;
    const PrefetchPlan plan = plan::PlanPrefetch(located, type, cores);
    const auto launch = [&](const npu::KernelLaunch& kernel) {
        if (!args.beside) return target.device.Launch(kernel);
        target.device.LaunchBeside(kernel, args.weights.data(), args.weights.size());
    };
    WithLaunch(launch, args.cube() ? "prefetch_cube" : "prefetch", target, {cores, false}, tensors,
               plan);
}

struct Prefetch {
    using Arguments = ops::Arguments;

    static constexpr const char* kName = kOp;

    static void Run(const Arguments& args, Backend backend) {
        if (backend == Backend::kRun) return Launch(args);
        CheckArguments(Checks(args), args, HostChip());
    }
};

/// Without a device nothing is pending.
void PrefetchJoin() {
    for (const auto type : {at::kPrivateUse1, at::kCPU}) {
        if (npu::Device* device = FindDevice(type)) device->JoinPrefetches();
    }
}

}  // namespace

// prefetch_join has no tensor argument from which to tell a device, so one implementation serves
// all devices. Fake tensor modes need a Meta kernel by that name.
TORCH_LIBRARY_IMPL(ascend_prefetch, CompositeExplicitAutograd, m) {
    m.impl("prefetch_join", &PrefetchJoin);
}
TORCH_LIBRARY_IMPL(ascend_prefetch, Meta, m) {
    m.impl(kOp, KernelOf<Prefetch, Backend::kMeta>());
    m.impl("prefetch_join", [] {});
}
TORCH_LIBRARY_IMPL(ascend_prefetch, CPU, m) { m.impl(kOp, KernelOf<Prefetch, Backend::kRun>()); }
TORCH_LIBRARY_IMPL(ascend_prefetch, PrivateUse1, m) {
    m.impl(kOp, KernelOf<Prefetch, Backend::kRun>());
}

}  // namespace ops
