// sfa_prolog: passes the arguments of its schema on to ops/prolog.h.
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "ops/prolog.h"

namespace ops {

namespace {

using Outputs = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

template <Backend kBackend>
Outputs SfaProlog(const at::Tensor& hidden_states, const at::Tensor& qkv_a_weight,
                  const OptionalTensor& q_a_norm_weight, const at::Tensor& q_b_weight,
                  const at::Tensor& w_uk, const at::Tensor& kv_a_norm_weight, const at::Tensor& cos,
                  const at::Tensor& sin, const at::Tensor& slot_mapping, at::Tensor& kv_cache,
                  const OptionalTensor& rope_cache, const OptionalTensor& indexer_cache,
                  const OptionalTensor& indexer_wq_b, const OptionalTensor& indexer_wk,
                  const OptionalTensor& indexer_k_norm_weight,
                  const OptionalTensor& indexer_k_norm_bias,
                  const OptionalTensor& indexer_weights_proj, bool indexer_rope_interleaved,
                  double indexer_eps, const OptionalTensor& indexer_wq_b_dequant_scale,
                  const OptionalTensor& indexer_wq_b_input_scale,
                  const OptionalTensor& indexer_wq_b_input_offset,
                  const OptionalTensor& indexer_wq_b_quant_bias,
                  const OptionalTensor& q_a_norm_bias, const OptionalTensor& kv_a_norm_bias,
                  double eps, bool rope_interleaved, const OptionalTensor& qkv_a_dequant_scale,
                  const OptionalTensor& qkv_a_input_scale, const OptionalTensor& qkv_a_input_offset,
                  const OptionalTensor& qkv_a_quant_bias, const OptionalTensor& q_b_dequant_scale,
                  const OptionalTensor& q_b_input_scale, const OptionalTensor& q_b_input_offset,
                  const OptionalTensor& q_b_quant_bias, const OptionalTensor& kv_cache_scale,
                  bool quantize_q_nope, const std::optional<std::vector<at::Tensor>>& prefetch,
                  std::optional<int64_t> prefetch_bytes,
                  at::OptionalIntArrayRef prefetch_passing_bytes) {
    const at::Tensor wq_b = indexer_wq_b.value_or(at::Tensor());
    const IndexerArguments indexer = {
        indexer_cache,
        {"indexer_wq_b", "indexer_wq_b_", wq_b, indexer_wq_b_dequant_scale,
         indexer_wq_b_input_scale, indexer_wq_b_input_offset, indexer_wq_b_quant_bias},
        indexer_wk,
        indexer_k_norm_weight,
        indexer_k_norm_bias,
        indexer_weights_proj,
        indexer_rope_interleaved,
        indexer_eps};
    const PrologArguments args = {hidden_states,
                                  {"qkv_a_weight", "qkv_a_", qkv_a_weight, qkv_a_dequant_scale,
                                   qkv_a_input_scale, qkv_a_input_offset, qkv_a_quant_bias},
                                  q_a_norm_weight,
                                  q_a_norm_bias,
                                  {"q_b_weight", "q_b_", q_b_weight, q_b_dequant_scale,
                                   q_b_input_scale, q_b_input_offset, q_b_quant_bias},
                                  w_uk,
                                  kv_a_norm_weight,
                                  kv_a_norm_bias,
                                  cos,
                                  sin,
                                  slot_mapping,
                                  kv_cache,
                                  rope_cache,
                                  eps,
                                  rope_interleaved,
                                  kv_cache_scale,
                                  quantize_q_nope,
                                  {prefetch, prefetch_bytes, prefetch_passing_bytes},
                                  &indexer};
    const PrologResults results = RunProlog("sfa_prolog", args, kBackend);
    return {results.q_nope,       results.q_rope,    results.q_c,
            results.q_nope_scale, results.indexer_q, results.indexer_weights};
}

}  // namespace

TORCH_LIBRARY_IMPL(ascend_prefetch, Meta, m) { m.impl("sfa_prolog", &SfaProlog<Backend::kMeta>); }
TORCH_LIBRARY_IMPL(ascend_prefetch, CPU, m) { m.impl("sfa_prolog", &SfaProlog<Backend::kRun>); }
TORCH_LIBRARY_IMPL(ascend_prefetch, PrivateUse1, m) {
    m.impl("sfa_prolog", &SfaProlog<Backend::kRun>);
}

}  // namespace ops
