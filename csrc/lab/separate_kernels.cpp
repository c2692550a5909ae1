#include "lab/separate_kernels.h"

#include <string_view>

#include "lab/kernels/matmul_plan.h"
#include "plan/o_proj_plan.h"
#include "plan/plan_linear.h"
#include "plan/prolog_plan.h"
#include "plan/prolog_stage.h"

namespace lab {

namespace {

using plan::Quantised;

class Launcher {
public:
    Launcher(bool bf16, const GemmBuffers& buffers, TwinLaunches& launches)
        : bf16_(bf16), buffers_(buffers), launches_(launches) {}

    enum class Output { kOfInput, kFloat };

    void Multiply(const char* label, const GemmPlan& gemm, uint64_t a, uint64_t weight, uint64_t c,
                  Output output = Output::kOfInput) {
        const MatmulPlan plan{buffers_, output == Output::kFloat ? 1u : 0u, gemm};
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

class SeparateProlog {
public:
    SeparateProlog(const PrologAddresses& addresses, const PrologPlan& plan, Launcher& launcher)
        : addresses_(addresses), plan_(plan), launcher_(launcher) {}

    void Run() {
        const bool has_latent = plan_.q_lora_rank > 0;
        const bool q_b_int8 = Quantised(plan_.q_b_format);
        const bool qkv_a_int8 = Quantised(plan_.qkv_a_format);
        if (qkv_a_int8 || (!has_latent && q_b_int8)) {
            Stage("quantise_hidden", PrologStage::kQuantiseHidden);
        }
        launcher_.Multiply(
            "qkv_a", plan_.qkv_a,
            qkv_a_int8 ? Workspace(plan_.workspace_hidden) : addresses_.hidden_states,
            addresses_.qkv_a_weight, Workspace(0), Launcher::Output::kFloat);
        if (has_latent) Stage("q_norm", PrologStage::kNormQuery);
        const uint64_t q_b_input = has_latent ? addresses_.q_c : addresses_.hidden_states;
        launcher_.Multiply(
            "q_b", plan_.q_b, q_b_int8 ? Workspace(plan_.workspace_q_b_input) : q_b_input,
            addresses_.q_b_weight,
            Workspace(q_b_int8 ? plan_.workspace_query_sums : plan_.workspace_query));
        Stage("kv_norm_rope_cache", PrologStage::kWriteCaches);
        Stage("q_rope", PrologStage::kRotateQuery);
        const bool q_nope_int8 = plan_.quantize_q_nope != 0;
        launcher_.Multiply("w_uk", plan_.absorb, Workspace(plan_.workspace_query), addresses_.w_uk,
                           q_nope_int8 ? Workspace(plan_.workspace_q_nope) : addresses_.q_nope);
        if (q_nope_int8) Stage("quantise_q_nope", PrologStage::kQuantiseQueryNope);
        if (plan_.indexer.heads.heads > 0) RunIndexer();
    }

private:
    void RunIndexer() {
        const IndexerPlan& plan = plan_.indexer;
        const IndexerAddresses& addresses = addresses_.indexer;
        const bool int8 = Quantised(plan.wq_b_format);
        launcher_.Multiply("indexer_wk", plan.wk, addresses_.hidden_states, addresses.wk,
                           Workspace(plan.workspace_k), Launcher::Output::kFloat);
        launcher_.Multiply("indexer_weights_proj", plan.weights_proj, addresses_.hidden_states,
                           addresses.weights_proj, addresses.weights, Launcher::Output::kFloat);
        Stage("indexer_norm_rope_cache", PrologStage::kWriteIndexerKeys);
        launcher_.Multiply("indexer_wq_b", plan.wq_b,
                           int8 ? Workspace(plan.workspace_q_c) : addresses_.q_c, addresses.wq_b,
                           int8 ? Workspace(plan.workspace_sums) : addresses.q);
        Stage("indexer_q_rope", PrologStage::kRotateIndexerQuery);
    }

    uint64_t Workspace(uint64_t offset) const { return addresses_.workspace + offset; }

    void Stage(const char* label, PrologStage stage) {
        const bool quantised = Quantised(plan_.qkv_a_format) || Quantised(plan_.q_b_format) ||
                               Quantised(plan_.indexer.wq_b_format) || plan_.quantize_q_nope != 0 ||
                               plan::HoldsInt8(plan_.latent_cache.latent);
        const char* kernel = quantised ? "prolog_stage_fp16_w8a8" : "prolog_stage_fp16";
        if (launcher_.bf16()) {
            kernel = quantised ? "prolog_stage_bf16_w8a8" : "prolog_stage_bf16";
        }
        launcher_.Run(label, kernel, addresses_, plan_, static_cast<uint32_t>(stage));
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
        const auto& plan = Argument<PrologPlan>(launch, 1);
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
