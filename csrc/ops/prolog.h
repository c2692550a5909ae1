// What mla_prolog and sfa_prolog share: arguments, their checks, the Meta kernel and the run on a
// device.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "ops/backend.h"
#include "ops/linear.h"
#include "ops/prefetch_request.h"

namespace ops {

struct IndexerArguments {
    const OptionalTensor& cache;
    LinearArguments wq_b;  ///< its weight is undefined where the layer has no indexer
    const OptionalTensor& wk;
    const OptionalTensor& k_norm_weight;
    const OptionalTensor& k_norm_bias;
    const OptionalTensor& weights_proj;  ///< if absent, its rows follow those of wk in `wk`
    bool rope_interleaved;
    double eps;

    bool present() const { return wq_b.weight.defined(); }
};

/// The arguments of both prologs.
struct PrologArguments {
    const at::Tensor& hidden_states;
    LinearArguments qkv_a;
    const OptionalTensor& q_a_norm_weight;
    const OptionalTensor& q_a_norm_bias;
    LinearArguments q_b;
    const at::Tensor& w_uk;
    const at::Tensor& kv_a_norm_weight;
    const OptionalTensor& kv_a_norm_bias;
    const at::Tensor& cos;
    const at::Tensor& sin;
    const at::Tensor& slot_mapping;
    const at::Tensor& kv_cache;
    const OptionalTensor& rope_cache;
    double eps;
    bool rope_interleaved;
    const OptionalTensor& kv_cache_scale;
    bool quantize_q_nope;
    PrefetchArguments prefetch;
    const IndexerArguments* indexer;  ///< null for mla_prolog
};

/// The results of both prologs; the indexer's are empty tensors if the layer has no indexer.
struct PrologResults {
    at::Tensor q_nope;
    at::Tensor q_rope;
    at::Tensor q_c;
    at::Tensor q_nope_scale;
    at::Tensor indexer_q;  ///< these two are undefined for mla_prolog
    at::Tensor indexer_weights;
};

/// Runs a prolog; `op` is its name without namespace. Argument errors (ops/checks.h) are thrown
/// before anything is written.
PrologResults RunProlog(const char* op, const PrologArguments& args, Backend backend);

}  // namespace ops
