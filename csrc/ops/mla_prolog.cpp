// mla_prolog: registers ops/prolog.h.
#include <torch/library.h>

#include <tuple>

#include "ops/arguments.h"
#include "ops/prolog.h"

namespace ops {

namespace {

struct MlaProlog {
    using Arguments = PrologArguments;
    using Outputs = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

    static constexpr const char* kName = "mla_prolog";

    static Outputs Run(const Arguments& args, Backend backend) {
        const PrologResults results = RunProlog(kName, args, backend);
        return {results.q_nope, results.q_rope, results.q_c, results.q_nope_scale};
    }
};

}  // namespace

TORCH_LIBRARY_IMPL(ascend_prefetch, Meta, m) {
    m.impl(MlaProlog::kName, KernelOf<MlaProlog, Backend::kMeta>());
}
TORCH_LIBRARY_IMPL(ascend_prefetch, CPU, m) {
    m.impl(MlaProlog::kName, KernelOf<MlaProlog, Backend::kRun>());
}
TORCH_LIBRARY_IMPL(ascend_prefetch, PrivateUse1, m) {
    m.impl(MlaProlog::kName, KernelOf<MlaProlog, Backend::kRun>());
}

}  // namespace ops
