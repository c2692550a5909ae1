// The schemas of torch.ops.ascend_prefetch. Shapes, dtypes and errors:
// python/ascend_prefetch/ops.py.
#include <torch/library.h>

TORCH_LIBRARY(ascend_prefetch, m) {
    m.def(
        "mla_prolog(Tensor hidden_states, Tensor qkv_a_weight, Tensor q_a_norm_weight, Tensor "
        "q_b_weight, "
        "Tensor w_uk, Tensor kv_a_norm_weight, Tensor cos, Tensor sin, Tensor slot_mapping, "
        "Tensor(a!) kv_cache, Tensor(b!) rope_cache, *, Tensor? q_a_norm_bias=None, float "
        "eps=1e-06, "
        "bool rope_interleaved=True, Tensor[]? prefetch=None, int? prefetch_bytes=None) "
        "-> (Tensor q_nope, Tensor q_rope, Tensor q_c)");
}
