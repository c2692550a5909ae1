#include "lab/cpu_debug/kernel_runner.h"

#include <tikicpulib.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "lab/call_kernel.h"
#include "lab/kernels/copy_plan.h"
#include "lab/kernels/matmul_plan.h"
#include "plan/o_proj_plan.h"
#include "plan/prefetch_plan.h"
#include "plan/prolog_plan.h"

// CMake generates KERNEL(name, mode, parameter types...) for every kernel from the sources.
#define KERNEL(name, mode, ...) extern "C" void name(__VA_ARGS__);
#include "kernel_table.inc"
#undef KERNEL

namespace cpu_debug {
namespace {

struct Entry {
    const char* name;
    KernelMode mode;
    void (*call)(const npu::KernelLaunch& launch);
};

const Entry kEntries[] = {
#define KERNEL(name, mode, ...) \
    {#name, KernelMode::mode,   \
     [](const npu::KernelLaunch& launch) { lab::CallKernel(&name, launch); }},
#include "kernel_table.inc"
#undef KERNEL
};

// The kernel that cores have to run, and the counter with which they report that they have
// finished. It is in shared memory. The launch it points to is not: each core is forked from the
// parent and has a copy of it.
struct Control {
    const Entry* entry;
    const npu::KernelLaunch* launch;
    std::atomic<uint32_t> finished;
};

const Entry* Find(const char* name) {
    for (const Entry& entry : kEntries) {
        if (std::strcmp(entry.name, name) == 0) return &entry;
    }
    return nullptr;
}

}  // namespace
}  // namespace cpu_debug

// Arguments of ICPU_RUN_KF have to be pointers from GmAlloc (asc-devkit, docs/zh/api/SIMD-API/
// 基础API/调试接口/CPU孪生调试/ICPU_RUN_KF), but plans are passed by value. So ICPU_RUN_KF runs
// this kernel, which calls the real one.
extern "C" void ascend_prefetch_cpu_debug_core(uint8_t* memory) {
    auto* control = reinterpret_cast<cpu_debug::Control*>(memory);
    control->entry->call(*control->launch);
    ++control->finished;
}

namespace cpu_debug {

void* Allocate(size_t bytes) { return AscendC::GmAlloc(bytes); }
void Free(void* memory) { AscendC::GmFree(memory); }

const char* Run(const npu::KernelLaunch& launch) {
    static char error[256];
    const Entry* entry = Find(launch.kernel);
    if (entry == nullptr) {
        std::snprintf(error, sizeof(error), "no kernel %s", launch.kernel);
        return error;
    }
    auto* memory = static_cast<uint8_t*>(AscendC::GmAlloc(sizeof(Control)));
    if (memory == nullptr) return "GmAlloc: no memory";
    auto* control = new (memory) Control{entry, &launch, {0}};
    AscendC::SetKernelMode(entry->mode);
    ICPU_RUN_KF(ascend_prefetch_cpu_debug_core, launch.block_count, memory);
    // If a core fails, its process ends; the macro prints that and continues.
    const uint32_t cores_per_block = entry->mode == KernelMode::MIX_MODE ? 3 : 1;
    const uint32_t cores = launch.block_count * cores_per_block;
    const uint32_t finished = control->finished;
    AscendC::GmFree(memory);
    if (finished == cores) return nullptr;
    std::snprintf(error, sizeof(error), "%s: %u of %u cores finished, see the output above",
                  launch.kernel, finished, cores);
    return error;
}

}  // namespace cpu_debug
