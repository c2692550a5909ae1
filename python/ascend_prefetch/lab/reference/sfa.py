"""Projections of a sparse-attention (DSA) layer's indexer in float64.

Source: DeepSeek-V3.2, vllm 0.23, model_executor/models/deepseek_v2.py (Indexer), and vllm-ascend
0.23, attention/sfa_v1.py. As in vllm-ascend, the weights of the heads do not include the factors
head_dim^-0.5 * heads^-0.5, which do not change the ranking.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ascend_prefetch.linear import Linear, linear_shape

from ._tensors import check_rank, check_shape, linear64
from .mla import MlaPrologOutput, mla_prolog, rope
from .quant import check_linear, linear


class IndexerOutput(NamedTuple):
    """Results of indexer, all float64; Hi counts indexer heads of Di elements.

    Attributes:
        q: [T, Hi, Di], rotated.
        k: [T, Di], normed and rotated, as cached.
        weights: [T, Hi], the plain projection.
    """

    q: torch.Tensor
    k: torch.Tensor
    weights: torch.Tensor


class SfaPrologOutput(NamedTuple):
    """Results of sfa_prolog.

    Attributes:
        mla: the results of mla_prolog.
        indexer: the results of the indexer, or None for a layer without one.
    """

    mla: MlaPrologOutput
    indexer: IndexerOutput | None


def layer_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimension.

    Args:
        x: [..., size].
        weight: [size].
        bias: [size].
        eps: added to the (population) variance.

    Raises:
        ValueError: a shape does not match.
    """
    check_shape("weight", weight, x.shape[-1:])
    check_shape("bias", bias, x.shape[-1:])
    x = x.double()
    x = x - x.mean(-1, keepdim=True)
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x * weight.double() + bias.double()


def indexer(
    hidden_states: torch.Tensor,
    q_c: torch.Tensor,
    wq_b: Linear,
    wk: torch.Tensor,
    k_norm_weight: torch.Tensor,
    k_norm_bias: torch.Tensor,
    weights_proj: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
    *,
    eps: float = 1e-6,
    rope_interleaved: bool = False,
) -> IndexerOutput:
    """Queries, key and head weights of the indexer, cache write excluded.

    Rope rotates the first `rope` elements of the key and of each query head. Unlike those of the
    attention, interleaved pairs stay interleaved, as vllm-ascend caches them.

    Args:
        hidden_states: [T, hidden].
        q_c: [T, q_lora], the normed query latent. A W8A8 layer quantises it rounded to the dtype
            of hidden_states.
        wq_b: [Hi * Di, q_lora], or W8A8.
        wk: [Di, hidden]; or [Di + Hi, hidden] with the rows of weights_proj below those of wk.
        k_norm_weight: [Di].
        k_norm_bias: [Di].
        weights_proj: [Hi, hidden], or None where wk holds it.
        cos: [T, rope].
        sin: [T, rope].
        eps: epsilon of the LayerNorm.
        rope_interleaved: whether rope pairs neighbours (GLM-5) or halves (DeepSeek-V3.2).

    Raises:
        ValueError: a shape does not match.
    """
    check_rank("hidden_states", hidden_states, 2)
    check_rank("q_c", q_c, 2)
    check_rank("wk", wk, 2)
    check_rank("cos", cos, 2)
    tokens, hidden = hidden_states.shape
    dim, rope_dim = k_norm_weight.numel(), cos.shape[-1]
    if weights_proj is None:
        wk, weights_proj = wk[:dim], wk[dim:]
    heads = weights_proj.shape[0]
    check_shape("q_c", q_c, (tokens, linear_shape(wq_b)[1]))
    check_linear("wq_b", wq_b, (heads * dim, q_c.shape[1]))
    check_shape("wk", wk, (dim, hidden))
    check_shape("weights_proj", weights_proj, (heads, hidden))

    def rotate(x: torch.Tensor) -> torch.Tensor:
        turned = rope(x[..., :rope_dim], cos, sin, rope_interleaved, keep_interleaved=True)
        return torch.cat([turned, x[..., rope_dim:]], dim=-1)

    query = linear(q_c, wq_b, hidden_states.dtype).view(tokens, heads, dim)
    key = layer_norm(linear64(hidden_states, wk), k_norm_weight, k_norm_bias, eps)
    return IndexerOutput(rotate(query), rotate(key), linear64(hidden_states, weights_proj))


def select_top_k(
    q: torch.Tensor, weights: torch.Tensor, key_rows: torch.Tensor, top_k: int
) -> torch.Tensor:
    """The cached tokens that sparse attention reads for each query token.

    A token's score is the sum over the indexer's heads of weight * relu(query . key); a common
    factor of all scores changes nothing (DeepSeek-V3.2 report, arXiv 2512.02556, section 2.1).

    Args:
        q: [T, Hi, Di].
        weights: [T, Hi].
        key_rows: [S, Di], the keys that all query tokens may see.
        top_k: number of tokens to select; all if there are fewer.

    Returns:
        [T, min(top_k, S)] int64, positions in key_rows, best first.

    Raises:
        ValueError: a shape does not match.
    """
    check_rank("q", q, 3)
    check_shape("weights", weights, q.shape[:2])
    check_shape("key_rows", key_rows, (key_rows.shape[0], q.shape[2]))
    scores = (q.double() @ key_rows.double().T).relu() * weights.double().unsqueeze(-1)
    return scores.sum(1).topk(min(top_k, key_rows.shape[0]), dim=-1).indices


def sfa_prolog(
    hidden_states: torch.Tensor,
    qkv_a_weight: Linear,
    q_a_norm_weight: torch.Tensor,
    q_b_weight: Linear,
    w_uk: torch.Tensor,
    kv_a_norm_weight: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    indexer_wq_b: Linear | None = None,
    indexer_wk: torch.Tensor | None = None,
    indexer_k_norm_weight: torch.Tensor | None = None,
    indexer_k_norm_bias: torch.Tensor | None = None,
    indexer_weights_proj: torch.Tensor | None = None,
    *,
    eps: float,
    rope_interleaved: bool = True,
    q_a_norm_bias: torch.Tensor | None = None,
    kv_a_norm_bias: torch.Tensor | None = None,
    indexer_eps: float = 1e-6,
    indexer_rope_interleaved: bool = False,
    q_c: torch.Tensor | None = None,
) -> SfaPrologOutput:
    """mla_prolog and, unless its arguments are None, the indexer on the same latent.

    Arguments and errors are those of mla_prolog, and those of indexer with a prefix.
    """
    mla = mla_prolog(
        hidden_states,
        qkv_a_weight,
        q_a_norm_weight,
        q_b_weight,
        w_uk,
        kv_a_norm_weight,
        cos,
        sin,
        eps=eps,
        rope_interleaved=rope_interleaved,
        q_a_norm_bias=q_a_norm_bias,
        kv_a_norm_bias=kv_a_norm_bias,
        q_c=q_c,
    )
    if indexer_wq_b is None:
        return SfaPrologOutput(mla, None)
    assert indexer_wk is not None
    assert indexer_k_norm_weight is not None
    assert indexer_k_norm_bias is not None
    return SfaPrologOutput(
        mla,
        indexer(
            hidden_states,
            mla.q_c if q_c is None else q_c,
            indexer_wq_b,
            indexer_wk,
            indexer_k_norm_weight,
            indexer_k_norm_bias,
            indexer_weights_proj,
            cos,
            sin,
            eps=indexer_eps,
            rope_interleaved=indexer_rope_interleaved,
        ),
    )
