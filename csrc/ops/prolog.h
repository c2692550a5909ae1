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
    OptionalTensor cache;
    /// Its weight is undefined where the layer has no indexer.
    LinearArguments wq_b{"indexer_wq_b", "indexer_wq_b_"};
    OptionalTensor wk;
    OptionalTensor k_norm_weight;
    OptionalTensor k_norm_bias;
    OptionalTensor weights_proj;  ///< if absent, its rows follow those of wk in `wk`
    bool rope_interleaved = false;
    double eps = 0;

    bool present() const { return wq_b.weight.defined(); }
};

/// Visits the arguments that sfa_prolog has beside those of mla_prolog (ops/arguments.h).
template <typename Visit>
void VisitArguments(IndexerArguments& indexer, Visit&& visit) {
    visit("indexer_cache", indexer.cache);
    VisitArguments(indexer.wq_b, visit);
    visit("indexer_wk", indexer.wk);
    visit("indexer_k_norm_weight", indexer.k_norm_weight);
    visit("indexer_k_norm_bias", indexer.k_norm_bias);
    visit("indexer_weights_proj", indexer.weights_proj);
    visit("indexer_rope_interleaved", indexer.rope_interleaved);
    visit("indexer_eps", indexer.eps);
}

/// The arguments of both prologs.
struct PrologArguments {
    at::Tensor hidden_states;
    LinearArguments qkv_a{"qkv_a_weight", "qkv_a_"};
    OptionalTensor q_a_norm_weight;
    OptionalTensor q_a_norm_bias;
    LinearArguments q_b{"q_b_weight", "q_b_"};
    at::Tensor w_uk;
    at::Tensor kv_a_norm_weight;
    OptionalTensor kv_a_norm_bias;
    at::Tensor cos;
    at::Tensor sin;
    at::Tensor slot_mapping;
    at::Tensor kv_cache;
    OptionalTensor rope_cache;
    double eps = 0;
    bool rope_interleaved = false;
    OptionalTensor kv_cache_scale;
    bool quantize_q_nope = false;
    PrefetchArguments prefetch;
    std::optional<IndexerArguments> indexer;  ///< has a value for sfa_prolog, with a layer's
                                              ///< indexer or without one
};

/// Visits the arguments of both prologs; those of the indexer only for sfa_prolog.
template <typename Visit>
void VisitArguments(PrologArguments& args, Visit&& visit) {
    visit("hidden_states", args.hidden_states);
    VisitArguments(args.qkv_a, visit);
    visit("q_a_norm_weight", args.q_a_norm_weight);
    VisitArguments(args.q_b, visit);
    visit("w_uk", args.w_uk);
    visit("kv_a_norm_weight", args.kv_a_norm_weight);
    visit("cos", args.cos);
    visit("sin", args.sin);
    visit("slot_mapping", args.slot_mapping);
    visit("kv_cache", args.kv_cache);
    visit("rope_cache", args.rope_cache);
    visit("q_a_norm_bias", args.q_a_norm_bias);
    visit("kv_a_norm_bias", args.kv_a_norm_bias);
    visit("eps", args.eps);
    visit("rope_interleaved", args.rope_interleaved);
    visit("kv_cache_scale", args.kv_cache_scale);
    visit("quantize_q_nope", args.quantize_q_nope);
    VisitArguments(args.prefetch, visit);
    if (args.indexer) VisitArguments(*args.indexer, visit);
}

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
/// before anything is written. That the required tensors are given is known (ops/arguments.h).
PrologResults RunProlog(const char* op, const PrologArguments& args, Backend backend);

}  // namespace ops
