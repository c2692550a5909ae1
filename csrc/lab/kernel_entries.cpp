#include "lab/kernel_entries.h"

#include <cstring>
#include <stdexcept>
#include <string>

#include "lab/call_kernel.h"
#include "lab/kernels/copy_plan.h"
#include "lab/kernels/matmul_plan.h"
#include "lab/kernels/quant_matmul_plan.h"
#include "lab/kernels/quantise_plan.h"
#include "plan/o_proj_plan.h"
#include "plan/prefetch_plan.h"
#include "plan/prolog_plan.h"

// CMake generates KERNEL(name, mode, parameter types...) for every kernel from the sources.
#define KERNEL(name, mode, ...) extern "C" void name(__VA_ARGS__);
#include "kernel_table.inc"
#undef KERNEL

namespace lab {

namespace {

constexpr auto AIV_MODE = twin::KernelKind::kAivOnly;
constexpr auto AIC_MODE = twin::KernelKind::kAicOnly;
constexpr auto MIX_MODE = twin::KernelKind::kMixAic1Aiv2;

const KernelEntry kEntries[] = {
#define KERNEL(name, mode, ...)                                                        \
    {#name, mode, [](const npu::KernelLaunch& launch) { return Fits(&name, launch); }, \
     [](const npu::KernelLaunch& launch) { CallKernel(&name, launch); }},
#include "kernel_table.inc"
#undef KERNEL
};

}  // namespace

const KernelEntry& FindKernel(const npu::KernelLaunch& launch) {
    for (const KernelEntry& entry : kEntries) {
        if (std::strcmp(entry.name, launch.kernel) != 0) continue;
        if (entry.fits(launch)) return entry;
        throw std::logic_error(std::string(launch.kernel) + ": arguments of a wrong size");
    }
    throw std::logic_error(std::string("no kernel ") + launch.kernel);
}

}  // namespace lab
