"""Routing, grouped products and activations of MoE layers.

Formulas: the documentation of torch_npu in Ascend/op-plugin (npu_grouped_matmul, npu_swiglu,
npu_moe_init_routing_v2, npu_moe_token_unpermute, npu_add_rms_norm) and, of the ops of
torch.ops._C_ascend, their schemas in vllm-ascend's csrc/torch_binding.cpp. Rows that the real ops
leave undefined are NaN, or -77 in integers, so that a read of one shows.
"""

from __future__ import annotations

import torch

from double import calls
from double.linear import npu_dynamic_quant
from double.norm_rope import npu_rms_norm


def npu_add_rms_norm(x1, x2, gamma, epsilon=1e-6):
    """The norm of the sum, which is rounded once, and the sum."""
    calls.note("npu_add_rms_norm")
    total = (x1.float() + x2.float()).to(x1.dtype)
    normed, reciprocal = npu_rms_norm(total, gamma, epsilon)
    return normed, reciprocal, total


def _npu_add_rms_norm_bias(x1, x2, gamma, beta=None, epsilon=1e-6):
    normed, reciprocal, total = npu_add_rms_norm(x1, x2, gamma, epsilon)
    return (normed if beta is None else normed + beta), reciprocal, total


def npu_swiglu(input, dim=-1):
    """silu(first half) * second half."""
    calls.note("npu_swiglu")
    gate, up = input.float().chunk(2, dim=dim)
    return (torch.nn.functional.silu(gate) * up).to(input.dtype)


def _moe_gating_top_k(
    x,
    k,
    k_group,
    group_count,
    group_select_mode,
    renorm,
    norm_type,
    out_flag,
    routed_scaling_factor,
    eps,
    bias_opt=None,
):
    """x: logits [T, E] -> weights [T, k], experts [T, k] int32, scores.

    Groups are chosen by the sum of their two best scores (group_select_mode 1) or by the best (0);
    a bias decides on the choice alone.
    """
    calls.note("moe_gating_top_k")
    logits = x.float()
    scores = logits.sigmoid() if norm_type == 1 else logits.softmax(-1)
    biased = scores if bias_opt is None else scores + bias_opt.float()
    groups = biased.unflatten(-1, (group_count, -1))
    best = groups.topk(2 if group_select_mode == 1 else 1, dim=-1).values.sum(-1)
    chosen = torch.zeros_like(best, dtype=torch.bool)
    chosen.scatter_(-1, best.topk(k_group, dim=-1).indices, True)
    allowed = groups.masked_fill(~chosen[..., None], float("-inf")).flatten(-2)
    experts = allowed.topk(k, dim=-1).indices
    weights = scores.gather(-1, experts)
    if norm_type == 1 or renorm:
        weights = weights / (weights.sum(-1, keepdim=True) + eps)
    return (weights * routed_scaling_factor).to(x.dtype), experts.int(), scores


def _unknown(shape, like):
    return like.new_full(shape, float("nan") if like.is_floating_point() else -77)


def _moe_init_routing(
    x,
    expert_idx,
    *,
    scale=None,
    offset=None,
    active_num=-1,
    expert_capacity=-1,
    expert_num=-1,
    drop_pad_mode=0,
    expert_tokens_num_type=0,
    expert_tokens_num_flag=False,
    quant_mode=0,
    active_expert_range=(),
    row_idx_type=0,
):
    """x: [T, H]; expert_idx: [T, k] -> rows of each local expert one after the other.

    Returns the rows [T * k, H], for each of the T * k choices its row (-1 for experts of other
    ranks), the number of rows of each local expert, and scales of rows. quant_mode: -1 leaves the
    rows alone, 1 quantises them dynamically.
    """
    calls.note("npu_moe_init_routing")
    if expert_tokens_num_type != 1 or row_idx_type or drop_pad_mode or quant_mode not in (-1, 1):
        raise NotImplementedError(f"npu_moe_init_routing: quant_mode {quant_mode}")
    first, last = active_expert_range
    choices = expert_idx.flatten().long()
    local = (choices >= first) & (choices < last)
    order = torch.where(local, choices, expert_num).argsort(stable=True)[: int(local.sum())]
    rows = _unknown((choices.shape[0], x.shape[-1]), x)
    rows[: len(order)] = x[order // expert_idx.shape[-1]]
    row_of = torch.full_like(choices, -1, dtype=torch.int32)
    row_of[order] = torch.arange(len(order), dtype=torch.int32)
    counts = torch.bincount(choices[local] - first, minlength=last - first)
    scales = x.new_empty(0, dtype=torch.float32)
    if quant_mode == 1:
        quantised, per_row = npu_dynamic_quant(rows[: len(order)])
        scales = _unknown((len(rows),), per_row)
        scales[: len(order)] = per_row
        rows = _unknown(rows.shape, quantised)
        rows[: len(order)] = quantised
    elif scale is not None:
        scales = _unknown((len(rows),), scale)
        scales[: len(order)] = scale[order // expert_idx.shape[-1]]
    return rows, row_of, counts, scales


def npu_moe_token_unpermute(permuted_tokens, sorted_indices, probs=None):
    """permuted_tokens: [T * k, H]; probs: [T, k] -> [T, H], the weighted sums of a token's rows.

    A row of weight 0 counts nothing, whatever it holds.
    """
    calls.note("npu_moe_token_unpermute")
    rows = permuted_tokens[sorted_indices.long()].float().unflatten(0, probs.shape)
    weighted = torch.where(probs[..., None] == 0, 0.0, rows * probs[..., None].float())
    return weighted.sum(1).to(permuted_tokens.dtype)


def _ends(group_list, group_list_type):
    """Row where each group ends."""
    if group_list_type not in (0, 1):
        raise NotImplementedError(f"group_list_type {group_list_type}")
    return (group_list.cumsum(0) if group_list_type == 1 else group_list).tolist()


def _per_group(weights, index):
    """The tensor of a group in [E, ...] or in a list of E tensors."""
    if weights is None:
        return None
    if isinstance(weights, torch.Tensor):
        return weights[index]
    return weights[0][index] if len(weights) == 1 else weights[index]


def npu_grouped_matmul(
    x,
    weight,
    *,
    bias=None,
    scale=None,
    per_token_scale=None,
    group_list=None,
    split_item=0,
    group_type=-1,
    group_list_type=0,
    output_dtype=None,
    **other,
):
    """x: one [N, in]; weight: one [E, in, out] or E of [in, out]; a group of rows per expert."""
    calls.note("npu_grouped_matmul")
    if group_type or bias is not None or any(value is not None for value in other.values()):
        raise NotImplementedError(f"npu_grouped_matmul: {sorted(other)}")
    (rows,) = x
    is_int = rows.dtype is torch.int8
    width = (weight if isinstance(weight, torch.Tensor) else weight[0]).shape[-1]
    dtype = output_dtype or rows.dtype
    out = _unknown((rows.shape[0], width), rows.new_empty(0, dtype=dtype))
    start = 0
    for group, end in enumerate(_ends(group_list, group_list_type)):
        part, matrix = rows[start:end], _per_group(weight, group)
        product = part.double() @ matrix.double() if is_int else part.float() @ matrix.float()
        if scale is not None:
            product = product.float() * _per_group(scale, group).float()
        if per_token_scale is not None:
            product = product * per_token_scale[0][start:end, None].float()
        out[start:end] = product.to(dtype)
        start = end
    return [out]


def _swiglu_quant(gate_up):
    return npu_dynamic_quant(npu_swiglu(gate_up))


def _grouped_matmul_swiglu_quant(
    x, weight, weight_scale, x_scale, group_list, *, bias=None, offset=None, swiglu_limit=0.0
):
    """x: [N, in] int8; group_list: ends of the groups -> int8 [N, out / 2], scales [N], nothing."""
    if bias is not None or offset is not None or swiglu_limit:
        raise NotImplementedError("grouped_matmul_swiglu_quant: bias, offset or swiglu_limit")
    (gate_up,) = npu_grouped_matmul(
        [x],
        weight,
        scale=weight_scale,
        per_token_scale=[x_scale],
        group_list=group_list,
        group_type=0,
        group_list_type=0,
        output_dtype=torch.float32,
    )
    quantised, scales = _swiglu_quant(gate_up)
    return quantised, scales, torch.empty(0)


def _dequant_swiglu_quant(
    x,
    *,
    weight_scale=None,
    activation_scale=None,
    bias=None,
    quant_scale=None,
    quant_offset=None,
    group_index=None,
    activate_left=True,
    quant_mode=0,
    swiglu_mode=0,
    clamp_limit=0.0,
    glu_alpha=1.0,
    glu_bias=0.0,
):
    """x: int32 sums [N, 2 * I]; group_index: rows of each group, or None for one group.

    Mode 1 with the alpha of 1, the bias of 0 and no limit, as upstream calls it, is mode 0.
    """
    given = (bias, quant_scale, quant_offset)
    variant = (clamp_limit, glu_alpha, glu_bias) != (0.0, 1.0, 0.0)
    if not activate_left or quant_mode != 1 or variant or any(v is not None for v in given):
        raise NotImplementedError("npu_dequant_swiglu_quant: modes")
    scales = weight_scale.float().reshape(-1, x.shape[1])
    if group_index is not None:
        counted = scales.repeat_interleave(group_index.long(), 0)
        scales = _unknown((x.shape[0], x.shape[1]), counted)
        scales[: len(counted)] = counted
    return _swiglu_quant(x.float() * scales * activation_scale.float()[:, None])


_SCHEMAS = {
    "npu_add_rms_norm_bias(Tensor x1, Tensor x2, Tensor gamma, Tensor? beta=None, "
    "float epsilon=1e-6) -> (Tensor, Tensor, Tensor)": _npu_add_rms_norm_bias,
    "moe_gating_top_k(Tensor x, int k, int k_group, int group_count, int group_select_mode, "
    "int renorm, int norm_type, bool out_flag, float routed_scaling_factor, float eps, "
    "Tensor? bias_opt=None) -> (Tensor, Tensor, Tensor)": _moe_gating_top_k,
    "npu_moe_init_routing_custom(Tensor x, Tensor expert_idx, *, Tensor? scale=None, "
    "Tensor? offset=None, int active_num=-1, int expert_capacity=-1, int expert_num=-1, "
    "int drop_pad_mode=0, int expert_tokens_num_type=0, bool expert_tokens_num_flag=False, "
    "int quant_mode=0, int[2] active_expert_range=[], int row_idx_type=0) "
    "-> (Tensor, Tensor, Tensor, Tensor)": _moe_init_routing,
    "grouped_matmul_swiglu_quant_weight_nz(Tensor x, Tensor weight, Tensor weight_scale, "
    "Tensor x_scale, Tensor group_list, *, Tensor? bias=None, Tensor? offset=None, "
    "float swiglu_limit=0.0) -> (Tensor, Tensor, Tensor)": _grouped_matmul_swiglu_quant,
    "grouped_matmul_swiglu_quant_weight_nz_tensor_list(Tensor x, Tensor[] weight, "
    "Tensor[] weight_scale, Tensor x_scale, Tensor group_list, *, Tensor? bias=None, "
    "Tensor? offset=None, float swiglu_limit=0.0) "
    "-> (Tensor, Tensor, Tensor)": _grouped_matmul_swiglu_quant,
    "npu_dequant_swiglu_quant(Tensor x, *, Tensor? weight_scale=None, "
    "Tensor? activation_scale=None, Tensor? bias=None, Tensor? quant_scale=None, "
    "Tensor? quant_offset=None, Tensor? group_index=None, bool activate_left=True, "
    "int quant_mode=0, int swiglu_mode=0, float clamp_limit=0.0, float glu_alpha=1.0, "
    "float glu_bias=0.0) "
    "-> (Tensor, Tensor)": _dequant_swiglu_quant,
}
_libraries: list[torch.library.Library] = []  # an op lives as long as its library


def register() -> None:
    """The ops of torch.ops._C_ascend."""
    library = torch.library.Library("_C_ascend", "FRAGMENT")
    for schema, function in _SCHEMAS.items():
        library.define(schema)
        library.impl(schema.partition("(")[0], function, "CPU")
    _libraries.append(library)


def npu_grouped_matmul_swiglu_quant(**settings):
    """torch_npu's own form of grouped_matmul_swiglu_quant_weight_nz."""
    return _grouped_matmul_swiglu_quant(**settings)


def npu_moe_init_routing_v2(x, expert_idx, **settings):
    """torch_npu's own form of npu_moe_init_routing_custom."""
    return _moe_init_routing(x, expert_idx, **settings)


def npu_moe_gating_top_k(x, k, *, bias=None, **settings):
    """torch_npu's own form of moe_gating_top_k."""
    return _moe_gating_top_k(x, k, bias_opt=bias, **settings)


OPS = {
    f.__name__: f
    for f in (
        npu_add_rms_norm,
        npu_swiglu,
        npu_moe_init_routing_v2,
        npu_moe_gating_top_k,
        npu_moe_token_unpermute,
        npu_grouped_matmul,
        npu_grouped_matmul_swiglu_quant,
    )
}
