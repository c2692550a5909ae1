"""Multi-head latent attention (MLA) in float64.

Every function takes tensors of any floating-point dtype and computes and returns float64 unless it
says otherwise. T counts tokens, N the heads of one tensor-parallel rank, S cached tokens.
Source of the dataflow: DeepSeek-V2, arXiv 2405.04434, section 2.1, and DeepseekV3Attention in
transformers; of the absorbed form: vLLM, v1/attention/backends/mla/common.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ascend_prefetch.linear import Linear, linear_shape

from ._tensors import check_rank, check_shape, per_head64
from .quant import check_linear, linear


class MlaPrologOutput(NamedTuple):
    """Results of mla_prolog, all float64.

    Attributes:
        q_nope: [T, N, kv_lora], queries absorbed into the latent space by w_uk.
        q_rope: [T, N, rope], rotated and de-interleaved.
        q_c: [T, q_lora], the query latent after its norm; empty without a query latent.
        kv_c: [T, kv_lora], the key-value latent after its norm, as cached.
        k_rope: [T, rope], rotated and de-interleaved, as cached.
    """

    q_nope: torch.Tensor
    q_rope: torch.Tensor
    q_c: torch.Tensor
    kv_c: torch.Tensor
    k_rope: torch.Tensor


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor, eps: float, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """x / sqrt(mean(x^2) + eps) * weight + bias over the last dimension.

    Args:
        x: [..., size].
        weight: [size].
        eps: added to the mean of the squares.
        bias: [size], or None.

    Raises:
        ValueError: a shape does not match.
    """
    check_shape("weight", weight, x.shape[-1:])
    x = x.double()
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight.double()
    if bias is not None:
        check_shape("bias", bias, x.shape[-1:])
        x = x + bias.double()
    return x


def rope_tables(
    positions: torch.Tensor, dim: int, theta: float = 10000.0, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of the rotation angles, without any scaling of the context length.

    Args:
        positions: [T], integer positions of the tokens.
        dim: even number of rotated elements per head.
        theta: base of the frequencies theta^(-2 i / dim), i = 0 .. dim / 2 - 1.
        dtype: dtype of the result; the angles are computed in float64.

    Returns:
        cos and sin, [T, dim] each: two equal halves of one column per frequency.

    Raises:
        ValueError: `dim` is not a positive even number, or `positions` is not one-dimensional.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"dim: expected a positive even number, got {dim}")
    if positions.dim() != 1:
        raise ValueError(f"positions: expected shape [T], got {list(positions.shape)}")
    frequencies = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.outer(positions.double(), frequencies).repeat(1, 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rope(
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    interleaved: bool,
    keep_interleaved: bool = False,
) -> torch.Tensor:
    """Rotary position embedding. The result is in half-split order unless told otherwise.

    Args:
        x: [T, rope] or [T, N, rope].
        cos: [T, rope].
        sin: [T, rope].
        interleaved: True if x holds its pairs as neighbours (x1 in even elements, x2 in odd ones),
            False if x1 is its first half and x2 its second.
        keep_interleaved: leaves interleaved pairs where they are instead of splitting them.

    Raises:
        ValueError: a shape does not match, or rope is an odd number.
    """
    if x.dim() not in (2, 3) or x.shape[-1] % 2:
        raise ValueError(
            f"x: expected [T, rope] or [T, N, rope] with even rope, got shape {list(x.shape)}"
        )
    size = x.shape[-1]
    check_shape("cos", cos, (x.shape[0], size))
    check_shape("sin", sin, (x.shape[0], size))
    x, cos, sin = x.double(), cos.double(), sin.double()
    if x.dim() == 3:
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    x1, x2 = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, dim=-1)
    (cos1, cos2), (sin1, sin2) = cos.chunk(2, dim=-1), sin.chunk(2, dim=-1)
    rotated = x1 * cos1 - x2 * sin1, x2 * cos2 + x1 * sin2
    if interleaved and keep_interleaved:
        return torch.stack(rotated, dim=-1).flatten(-2)
    return torch.cat(rotated, dim=-1)


def mla_prolog(
    hidden_states: torch.Tensor,
    qkv_a_weight: Linear,
    q_a_norm_weight: torch.Tensor | None,
    q_b_weight: Linear,
    w_uk: torch.Tensor,
    kv_a_norm_weight: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    *,
    eps: float,
    rope_interleaved: bool = True,
    q_a_norm_bias: torch.Tensor | None = None,
    kv_a_norm_bias: torch.Tensor | None = None,
    q_c: torch.Tensor | None = None,
) -> MlaPrologOutput:
    """Everything between the hidden states and attention, cache write excluded.

    W8A8 layers quantise the same values as an op: the hidden states unchanged, and the query latent
    rounded to the dtype of the hidden states. Where an op's latent and this one round to different
    neighbours, their int8 values may differ as well. With the op's own latent passed as `q_c`,
    everything after it is compared on equal inputs.

    Args:
        hidden_states: [T, hidden].
        qkv_a_weight: [q_lora + kv_lora + rope, hidden], or W8A8.
        q_a_norm_weight: [q_lora]; None for models without a query latent, where q_lora is 0 in
            qkv_a_weight and q_b_weight has hidden columns.
        q_b_weight: [N * (nope + rope), q_lora], or W8A8.
        w_uk: [N, nope, kv_lora].
        kv_a_norm_weight: [kv_lora].
        cos: [T, rope].
        sin: [T, rope].
        eps: epsilon of both norms.
        rope_interleaved: whether the projections yield rope pairs as neighbours.
        q_a_norm_bias: [q_lora], or None.
        kv_a_norm_bias: [kv_lora], or None.
        q_c: [T, q_lora], the input of q_b_weight instead of the query latent that is computed here;
            the result still holds the computed one.

    Raises:
        ValueError: a shape does not match.
    """
    check_rank("hidden_states", hidden_states, 2)
    check_rank("cos", cos, 2)
    check_rank("w_uk", w_uk, 3)
    tokens, hidden = hidden_states.shape
    heads, nope, kv_lora = w_uk.shape
    rope_dim = cos.shape[-1]
    q_lora = 0 if q_a_norm_weight is None else q_a_norm_weight.numel()
    check_linear("qkv_a_weight", qkv_a_weight, (q_lora + kv_lora + rope_dim, hidden))
    check_linear("q_b_weight", q_b_weight, (heads * (nope + rope_dim), q_lora or hidden))
    if q_c is not None:
        check_shape("q_c", q_c, (tokens, q_lora))

    dtype = hidden_states.dtype
    qkv = linear(hidden_states, qkv_a_weight, dtype)
    query_latent, kv_c, k_pe = qkv.split([q_lora, kv_lora, rope_dim], dim=-1)
    if q_a_norm_weight is None:
        query = linear(hidden_states, q_b_weight, dtype)
    else:
        query_latent = rms_norm(query_latent, q_a_norm_weight, eps, q_a_norm_bias)
        query = linear(query_latent if q_c is None else q_c, q_b_weight, dtype)
    q_nope, q_pe = query.view(tokens, heads, nope + rope_dim).split([nope, rope_dim], dim=-1)
    return MlaPrologOutput(
        q_nope=per_head64(q_nope, w_uk),
        q_rope=rope(q_pe, cos, sin, rope_interleaved),
        q_c=query_latent,
        kv_c=rms_norm(kv_c, kv_a_norm_weight, eps, kv_a_norm_bias),
        k_rope=rope(k_pe, cos, sin, rope_interleaved),
    )


def attention(
    q_nope: torch.Tensor,
    q_rope: torch.Tensor,
    kv_c_rows: torch.Tensor,
    k_rope_rows: torch.Tensor,
    scale: float,
    causal: bool,
) -> torch.Tensor:
    """Softmax attention in the latent space over one sequence.

    Args:
        q_nope: [T, N, kv_lora], absorbed.
        q_rope: [T, N, rope].
        kv_c_rows: [S, kv_lora], keys and values alike.
        k_rope_rows: [S, rope].
        scale: factor of the scores; (nope + rope)^-0.5 where rope is not rescaled.
        causal: True if the queries are the sequence's last T tokens and see no later one.

    Returns:
        [T, N, kv_lora], the attention output before the value up-projection.

    Raises:
        ValueError: a shape does not match, or causal with fewer rows than queries.
    """
    check_rank("q_nope", q_nope, 3)
    check_rank("q_rope", q_rope, 3)
    check_rank("kv_c_rows", kv_c_rows, 2)
    tokens, heads, kv_lora = q_nope.shape
    length = kv_c_rows.shape[0]
    check_shape("q_rope", q_rope, (tokens, heads, q_rope.shape[-1]))
    check_shape("kv_c_rows", kv_c_rows, (length, kv_lora))
    check_shape("k_rope_rows", k_rope_rows, (length, q_rope.shape[-1]))
    kv_c = kv_c_rows.double()
    scores = q_nope.double() @ kv_c.T + q_rope.double() @ k_rope_rows.double().T
    scores *= scale
    if causal:
        if length < tokens:
            raise ValueError(
                f"kv_c_rows: expected at least {tokens} rows to attend causally, got {length}"
            )
        future = torch.ones(tokens, length, dtype=torch.bool).triu(length - tokens + 1)
        scores.masked_fill_(future.unsqueeze(1), -math.inf)
    return scores.softmax(dim=-1) @ kv_c


def o_proj(
    attn_output: torch.Tensor,
    o_proj_weight: Linear,
    *,
    w_uv: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Value up-projection and output projection; partial sums if N is one rank's heads.

    A W8A8 layer quantises the up-projected values, rounded to the dtype of attn_output. An op does
    not return them, so compare a W8A8 op on equal inputs without w_uv.

    Args:
        attn_output: [T, N, kv_lora], from attention; without w_uv [T, N * v].
        o_proj_weight: [hidden, N * v], or W8A8.
        w_uv: [N, kv_lora, v], or None.
        bias: [hidden], or None.

    Returns:
        [T, hidden].

    Raises:
        ValueError: a shape does not match.
    """
    values = attn_output if w_uv is None else value_up_projection(attn_output, w_uv)
    check_rank("attn_output", values, 2)
    hidden = linear_shape(o_proj_weight)[0]
    check_linear("o_proj_weight", o_proj_weight, (hidden, values.shape[1]))
    output = linear(values, o_proj_weight, attn_output.dtype)
    if bias is not None:
        check_shape("bias", bias, (hidden,))
        output = output + bias.double()
    return output


def value_up_projection(attn_output: torch.Tensor, w_uv: torch.Tensor) -> torch.Tensor:
    """Projects attention outputs from the latent space to the values of the heads.

    Args:
        attn_output: [T, N, kv_lora].
        w_uv: [N, kv_lora, v].

    Returns:
        [T, N * v].

    Raises:
        ValueError: a shape does not match.
    """
    check_rank("attn_output", attn_output, 3)
    check_rank("w_uv", w_uv, 3)
    heads, kv_lora, _ = w_uv.shape
    check_shape("attn_output", attn_output, (attn_output.shape[0], heads, kv_lora))
    return per_head64(attn_output, w_uv).flatten(1)
