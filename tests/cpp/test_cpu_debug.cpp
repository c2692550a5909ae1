// csrc/cpu_debug on a double of CANN's library: arguments, cores and failures of kernel launches.
#include <tikicpulib.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "check.h"
#include "lab/cpu_debug/kernel_runner.h"
#include "lab/kernels/copy_plan.h"
#include "lab/kernels/matmul_plan.h"
#include "plan/prolog_plan.h"

// The "kernels" tell what they were given: in memory that plan or addresses point to.
extern "C" void copy_gm_ub(CopyPlan plan) {
    auto* seen = reinterpret_cast<uint32_t*>(plan.address);
    seen[tikicpulib_double::core] = plan.rows + tikicpulib_double::core;
}

extern "C" void matmul_bf16(MatmulAddresses addresses, MatmulPlan plan) {
    *reinterpret_cast<uint32_t*>(addresses.c) = plan.gemm.c_sums;
}

extern "C" void mla_prolog_bf16(PrologAddresses addresses, PrologPlan plan, PrologWarm) {
    // The first core fails.
    if (tikicpulib_double::core == 0) _exit(1);
    reinterpret_cast<uint32_t*>(addresses.q_c)[tikicpulib_double::core] = plan.tokens;
}

namespace {

struct Shared {
    Shared() : words(static_cast<uint32_t*>(cpu_debug::Allocate(64 * sizeof(uint32_t)))) {}
    ~Shared() { cpu_debug::Free(words); }
    uint64_t address() const { return reinterpret_cast<uintptr_t>(words); }
    uint32_t* words;
};

}  // namespace

TEST(every_core_of_a_vector_kernel_gets_the_plan) {
    Shared shared;
    CopyPlan plan = {};
    plan.address = shared.address();
    plan.rows = 100;
    const npu::KernelArgument arguments[] = {{&plan, sizeof(plan)}};
    CHECK(cpu_debug::Run({"copy_gm_ub", 4, false, arguments, 1}) == nullptr);
    for (uint32_t core = 0; core < 4; ++core) CHECK_EQ(shared.words[core], 100 + core);
    CHECK_EQ(shared.words[4], 0u);
    CHECK(tikicpulib_double::mode == KernelMode::AIV_MODE);
}

TEST(arguments_arrive_in_order) {
    Shared shared;
    MatmulAddresses addresses = {};
    addresses.c = shared.address();
    MatmulPlan plan = {};
    plan.gemm.c_sums = 7;
    const npu::KernelArgument arguments[] = {{&addresses, sizeof(addresses)},
                                             {&plan, sizeof(plan)}};
    CHECK(cpu_debug::Run({"matmul_bf16", 1, false, arguments, 2}) == nullptr);
    CHECK_EQ(shared.words[0], 7u);
    CHECK(tikicpulib_double::mode == KernelMode::AIC_MODE);
}

TEST(a_core_that_fails_fails_the_launch) {
    Shared shared;
    PrologAddresses addresses = {};
    addresses.q_c = shared.address();
    PrologPlan plan = {};
    plan.tokens = 16;
    PrologWarm warm = {};
    const npu::KernelArgument arguments[] = {
        {&addresses, sizeof(addresses)}, {&plan, sizeof(plan)}, {&warm, sizeof(warm)}};
    const int allocated = tikicpulib_double::allocated;
    const char* error = cpu_debug::Run({"mla_prolog_bf16", 2, true, arguments, 3});
    CHECK(error != nullptr);
    CHECK_EQ(std::string(error),
             std::string("mla_prolog_bf16: 5 of 6 cores finished, see the output above"));
    CHECK_EQ(tikicpulib_double::allocated, allocated);
    for (uint32_t core = 1; core < 6; ++core) CHECK_EQ(shared.words[core], 16u);
}

TEST(an_unknown_kernel_is_named) {
    const char* error = cpu_debug::Run({"conv", 1, false, nullptr, 0});
    CHECK(error != nullptr);
    CHECK_EQ(std::string(error), std::string("no kernel conv"));
}
