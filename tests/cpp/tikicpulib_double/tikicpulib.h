// A double of CANN's CPU-debug library for test_cpu_debug.cpp: the calls that csrc/lab/cpu_debug
// makes, as documented in asc-devkit, docs/zh/api/SIMD-API/基础API/调试接口/CPU孪生调试. A process
// per core.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

enum class KernelMode { MIX_MODE = 0, AIC_MODE, AIV_MODE };

namespace tikicpulib_double {

inline KernelMode mode = KernelMode::MIX_MODE;
inline int allocated = 0;
inline uint32_t core = 0;  ///< of this process

}  // namespace tikicpulib_double

namespace AscendC {

inline void* GmAlloc(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    ++tikicpulib_double::allocated;
    return memory;
}
inline void GmFree(void*) { --tikicpulib_double::allocated; }
inline void SetKernelMode(KernelMode mode) { tikicpulib_double::mode = mode; }

}  // namespace AscendC

#define ICPU_RUN_KF(func, blocks, ...)                                                      \
    do {                                                                                    \
        std::vector<pid_t> children;                                                        \
        const uint32_t per_block = tikicpulib_double::mode == KernelMode::MIX_MODE ? 3 : 1; \
        for (uint32_t core = 0; core < (blocks) * per_block; ++core) {                      \
            const pid_t child = fork();                                                     \
            if (child == 0) {                                                               \
                tikicpulib_double::core = core;                                             \
                func(__VA_ARGS__);                                                          \
                _exit(0);                                                                   \
            }                                                                               \
            children.push_back(child);                                                      \
        }                                                                                   \
        for (const pid_t child : children) waitpid(child, nullptr, 0);                      \
    } while (0)
