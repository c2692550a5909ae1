// sfa_prolog: registers ops/prolog.h with the arguments of an indexer.
#include <torch/library.h>

#include <tuple>

#include "ops/arguments.h"
#include "ops/prolog.h"

namespace ops {

namespace {

/// Arguments that include those of an indexer, which a layer may have or not.
struct SfaArguments : PrologArguments {
    SfaArguments() { indexer.emplace(); }
};

struct SfaProlog {
    using Arguments = SfaArguments;
    using Outputs =
        std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

    static constexpr const char* kName = "sfa_prolog";

    static Outputs Run(const Arguments& args, Backend backend) {
        const PrologResults results = RunProlog(kName, args, backend);
        return {results.q_nope,       results.q_rope,    results.q_c,
                results.q_nope_scale, results.indexer_q, results.indexer_weights};
    }
};

}  // namespace

TORCH_LIBRARY_IMPL(ascend_prefetch, Meta, m) {
    m.impl(SfaProlog::kName, KernelOf<SfaProlog, Backend::kMeta>());
}
TORCH_LIBRARY_IMPL(ascend_prefetch, CPU, m) {
    m.impl(SfaProlog::kName, KernelOf<SfaProlog, Backend::kRun>());
}
TORCH_LIBRARY_IMPL(ascend_prefetch, PrivateUse1, m) {
    m.impl(SfaProlog::kName, KernelOf<SfaProlog, Backend::kRun>());
}

}  // namespace ops
