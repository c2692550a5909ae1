// The schemas of torch.ops.ascend_prefetch. python/ascend_prefetch/ops.py documents shapes, dtypes
// and errors of these arguments; ops/arguments.h takes them from torch's stack.
#include <torch/library.h>

#include <string>

namespace {

/// The schema text of the four arguments that make a linear layer W8A8.
std::string Quant(const std::string& prefix) {
    std::string text;
    for (const char* name : {"dequant_scale", "input_scale", "input_offset", "quant_bias"}) {
        text += "Tensor? " + prefix + name + "=None, ";
    }
    return text;
}

const std::string kPrologTensors =
    "Tensor hidden_states, Tensor qkv_a_weight, Tensor? q_a_norm_weight, Tensor q_b_weight, "
    "Tensor w_uk, Tensor kv_a_norm_weight, Tensor cos, Tensor sin, Tensor slot_mapping, "
    "Tensor(a!) kv_cache, Tensor(b!)? rope_cache, ";
const std::string kPrefetch =
    "Tensor[]? prefetch=None, int? prefetch_bytes=None, int[]? prefetch_passing_bytes=None";
const std::string kPrologOptions =
    "Tensor? q_a_norm_bias=None, Tensor? kv_a_norm_bias=None, float eps=1e-06, "
    "bool rope_interleaved=True, " +
    Quant("qkv_a_") + Quant("q_b_") + "Tensor? kv_cache_scale=None, bool quantize_q_nope=False, " +
    kPrefetch;
const std::string kPrologResults = "Tensor q_nope, Tensor q_rope, Tensor q_c, Tensor q_nope_scale";

}  // namespace

TORCH_LIBRARY(ascend_prefetch, m) {
    const std::string mla_prolog =
        "mla_prolog(" + kPrologTensors + "*, " + kPrologOptions + ") -> (" + kPrologResults + ")";
    const std::string sfa_prolog =
        "sfa_prolog(" + kPrologTensors +
        "Tensor(c!)? indexer_cache=None, Tensor? indexer_wq_b=None, Tensor? indexer_wk=None, "
        "Tensor? indexer_k_norm_weight=None, Tensor? indexer_k_norm_bias=None, "
        "Tensor? indexer_weights_proj=None, *, bool indexer_rope_interleaved=False, "
        "float indexer_eps=1e-06, " +
        Quant("indexer_wq_b_") + kPrologOptions + ") -> (" + kPrologResults +
        ", Tensor indexer_q, Tensor indexer_weights)";
    const std::string o_proj =
        "o_proj(Tensor attn_output, Tensor o_proj_weight, *, Tensor? w_uv=None, "
        "Tensor? bias=None, " +
        Quant("") + kPrefetch + ") -> Tensor";
    const std::string prefetch =
        "prefetch(Tensor[] weights, *, int[]? max_bytes=None, int[]? offsets=None, "
        "int? cores=None, Tensor? after=None, str engine='vector', "
        "bool beside=False) -> ()";
    for (const std::string& schema :
         {mla_prolog, sfa_prolog, o_proj, prefetch, std::string("prefetch_join() -> ()")}) {
        m.def(schema.c_str());
    }
}
