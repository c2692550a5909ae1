#include "lab/separate_kernels.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "arch/dav_c220.h"
#include "lab/kernels/matmul_plan.h"
#include "plan/o_proj_plan.h"
#include "plan/plan_gemm.h"
#include "plan/plan_linear.h"
#include "plan/plan_phases.h"
#include "plan/plan_prolog.h"
#include "plan/prolog_phases.h"
#include "plan/prolog_plan.h"

namespace lab {

namespace {

class Launcher {
public:
    Launcher(bool bf16, const GemmBuffers& buffers, TwinLaunches& launches)
        : bf16_(bf16), buffers_(buffers), launches_(launches) {}

    void Multiply(const char* label, const GemmPlan& gemm, uint64_t a, uint64_t weight,
                  uint64_t c) {
        const MatmulPlan plan{buffers_, gemm};
        const char* kernel = "matmul_int8";
        if (gemm.element_bytes != 1) kernel = bf16_ ? "matmul_bf16" : "matmul_fp16";
        Run(label, kernel, MatmulAddresses{a, weight, c}, plan);
    }

    template <typename... Arguments>
    void Run(const char* label, const char* kernel, const Arguments&... arguments) {
        const auto list = npu::ListArguments(arguments...);
        launches_.Run(label, {kernel, 0, false, list.data(), list.size()});
    }

    bool bf16() const { return bf16_; }

private:
    bool bf16_;
    const GemmBuffers& buffers_;
    TwinLaunches& launches_;
};

/// Walks a prolog's lists in another order than the fused kernel: that of a model that runs one
/// kernel after the other, the indexer last.
class SeparateProlog {
public:
    SeparateProlog(const PrologAddresses& addresses, const PrologPlan& plan, Launcher& launcher)
        : addresses_(addresses), plan_(plan), launcher_(launcher) {}

    /// The plan with qkv_a as one product, as models run it.
    static PrologPlan WithOneQkvA(PrologPlan plan) {
        PrologProduct& query = plan.products[prolog::kQueryA];
        PrologProduct& rest = plan.products[prolog::kQkvA];
        if (!plan::Has(query)) return plan;
        plan::GemmProblem both;
        both.name = plan::NameOf(prolog::kQkvA);
        both.m = query.gemm.m;
        both.n = query.gemm.n + rest.gemm.n;
        both.k = query.gemm.k;
        both.int8 = query.gemm.element_bytes == 1;
        both.c_sums = true;
        both.cores = plan.vector_cores / arch::DavC220::kAivPerAic;
        both.a_row_stride = query.gemm.a_row_stride;
        both.c_row_stride = query.gemm.c_row_stride;
        both.layout = plan::LayoutOf(query.gemm);
        rest = query;
        rest.gemm = plan::PlanGemm(both);
        query.gemm = {};
        plan.steps[prolog::kNormQuery].awaits = prolog::kQkvA;
        std::vector<GemmPlan> gemms;
        for (const PrologProduct& product : plan.products) {
            if (plan::Has(product)) gemms.push_back(product.gemm);
        }
        plan.buffers = plan::PlanGemmBuffers(gemms);
        return plan;
    }

    void Run() {
        RunPart(false);
        RunPart(true);
    }

private:
    /// Runs the indexer's part, or the other: a product runs behind the stage that it awaits, and
    /// the last product behind all stages that do not await it.
    void RunPart(bool of_indexer) {
        std::vector<prolog::Product> products;
        for (uint32_t i = 0; i < prolog::kProducts; ++i) {
            const auto product = static_cast<prolog::Product>(i);
            if (plan::OfIndexer(product) == of_indexer && plan::Has(plan_.products[i]))
                products.push_back(product);
        }
        std::vector<prolog::Stage> stages;
        for (uint32_t i = 0; i < prolog::kEnd; ++i) {
            const auto stage = static_cast<prolog::Stage>(i);
            if (plan::OfIndexer(stage) == of_indexer && plan::Has(plan_.steps[i]))
                stages.push_back(stage);
        }
        const auto run_stages = [&](const auto& due) {
            const auto rest = std::stable_partition(stages.begin(), stages.end(), due);
            std::for_each(stages.begin(), rest, [&](prolog::Stage stage) { Run(stage); });
            stages.erase(stages.begin(), rest);
        };
        for (const prolog::Product product : products) {
            const bool last = product == products.back();
            run_stages([&](prolog::Stage stage) {
                return last ? plan_.steps[stage].awaits != product
                            : plan_.products[product].awaits == stage;
            });
            Run(product);
        }
        run_stages([](prolog::Stage) { return true; });
    }

    void Run(prolog::Product index) {
        const PrologProduct& product = plan_.products[index];
        launcher_.Multiply(
            plan::NameOf(index), product.gemm, plan::AddressOf(addresses_, product.a),
            plan::AddressOf(addresses_, product.weight), plan::AddressOf(addresses_, product.c));
    }

    void Run(prolog::Stage stage) {
        const bool quantised = plan::NeedsInt8(plan_);
        const char* kernel = quantised ? "prolog_stage_fp16_w8a8" : "prolog_stage_fp16";
        if (launcher_.bf16()) {
            kernel = quantised ? "prolog_stage_bf16_w8a8" : "prolog_stage_bf16";
        }
        launcher_.Run(plan::NameOf(stage), kernel, addresses_, plan_, static_cast<uint32_t>(stage));
    }

    const PrologAddresses& addresses_;
    const PrologPlan& plan_;
    Launcher& launcher_;
};

/// Runs o_proj as separate kernels; `kernel` is the name of the fused one.
void RunOProj(const char* kernel, const OProjAddresses& addresses, const OProjPlan& plan,
              Launcher& launcher) {
    OProjAddresses linear = addresses;
    if (plan.has_v_up != 0) {
        linear.attn_output = addresses.workspace + plan.workspace_value;
        launcher.Multiply("w_uv", plan.v_up, addresses.attn_output, addresses.w_uv,
                          linear.attn_output);
    }
    if (plan.has_epilogue == 0) {
        launcher.Multiply("o_proj", plan.o_proj, linear.attn_output, addresses.o_proj_weight,
                          addresses.out);
        return;
    }
    OProjPlan alone = plan;
    alone.has_v_up = 0;
    launcher.Run("o_proj", kernel, linear, alone, OProjWarm{});
}

/// Argument `index` of a launch whose kernel has a parameter of type T there.
template <typename T>
const T& Argument(const npu::KernelLaunch& launch, size_t index) {
    return *static_cast<const T*>(launch.arguments[index].data);
}

}  // namespace

bool RunSeparately(const npu::KernelLaunch& launch, TwinLaunches& launches) {
    const std::string_view name = launch.kernel;
    const auto begins = [&](std::string_view prefix) {
        return name.substr(0, prefix.size()) == prefix;
    };
    const bool bf16 = name.find("_bf16") != std::string_view::npos;
    if (begins("mla_prolog_") || begins("sfa_prolog_")) {
        const PrologPlan plan = SeparateProlog::WithOneQkvA(Argument<PrologPlan>(launch, 1));
        Launcher launcher(bf16, plan.buffers, launches);
        SeparateProlog(Argument<PrologAddresses>(launch, 0), plan, launcher).Run();
        return true;
    }
    if (begins("o_proj_")) {
        const auto& plan = Argument<OProjPlan>(launch, 1);
        Launcher launcher(bf16, plan.buffers, launches);
        RunOProj(launch.kernel, Argument<OProjAddresses>(launch, 0), plan, launcher);
        return true;
    }
    return false;
}

}  // namespace lab
