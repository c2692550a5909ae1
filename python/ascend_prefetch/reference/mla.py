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

# Weights are converted to float64 this many elements (128 MiB) at a time.
_CHUNK = 1 << 24


class MlaPrologOutput(NamedTuple):
    """Results of mla_prolog, all float64.

    Attributes:
        q_nope: [T, N, kv_lora], queries absorbed into the latent space by w_uk.
        q_rope: [T, N, rope], rotated and de-interleaved.
        q_c: [T, q_lora], the query latent after its norm; empty without one.
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
    _check_shape("weight", weight, x.shape[-1:])
    x = x.double()
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight.double()
    if bias is not None:
        _check_shape("bias", bias, x.shape[-1:])
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


def rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> torch.Tensor:
    """Rotary position embedding. The result is always in half-split order.

    Args:
        x: [T, rope] or [T, N, rope].
        cos: [T, rope].
        sin: [T, rope].
        interleaved: True if x holds its pairs as neighbours (x1 in even elements, x2 in odd ones),
            False if x1 is its first half and x2 its second.

    Raises:
        ValueError: a shape does not match, or rope is an odd number.
    """
    if x.dim() not in (2, 3) or x.shape[-1] % 2:
        raise ValueError(
            f"x: expected [T, rope] or [T, N, rope] with even rope, got shape {list(x.shape)}"
        )
    size = x.shape[-1]
    _check_shape("cos", cos, (x.shape[0], size))
    _check_shape("sin", sin, (x.shape[0], size))
    x, cos, sin = x.double(), cos.double(), sin.double()
    if x.dim() == 3:
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    x1, x2 = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, dim=-1)
    (cos1, cos2), (sin1, sin2) = cos.chunk(2, dim=-1), sin.chunk(2, dim=-1)
    return torch.cat([x1 * cos1 - x2 * sin1, x2 * cos2 + x1 * sin2], dim=-1)


def mla_prolog(
    hidden_states: torch.Tensor,
    qkv_a_weight: torch.Tensor,
    q_a_norm_weight: torch.Tensor | None,
    q_b_weight: torch.Tensor,
    w_uk: torch.Tensor,
    kv_a_norm_weight: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    *,
    eps: float,
    rope_interleaved: bool = True,
    q_a_norm_bias: torch.Tensor | None = None,
) -> MlaPrologOutput:
    """Everything between the hidden states and attention, cache write excluded.

    Args:
        hidden_states: [T, hidden].
        qkv_a_weight: [q_lora + kv_lora + rope, hidden].
        q_a_norm_weight: [q_lora]; None for models without a query latent, whose q_lora counts 0
            rows of qkv_a_weight and hidden columns of q_b_weight.
        q_b_weight: [N * (nope + rope), q_lora].
        w_uk: [N, nope, kv_lora].
        kv_a_norm_weight: [kv_lora].
        cos: [T, rope].
        sin: [T, rope].
        eps: epsilon of both norms.
        rope_interleaved: whether the projections yield rope pairs as neighbours.
        q_a_norm_bias: [q_lora], or None.

    Raises:
        ValueError: a shape does not match.
    """
    _check_rank("hidden_states", hidden_states, 2)
    _check_rank("cos", cos, 2)
    _check_rank("w_uk", w_uk, 3)
    tokens, hidden = hidden_states.shape
    heads, nope, kv_lora = w_uk.shape
    rope_dim = cos.shape[-1]
    q_lora = 0 if q_a_norm_weight is None else q_a_norm_weight.numel()
    _check_shape("qkv_a_weight", qkv_a_weight, (q_lora + kv_lora + rope_dim, hidden))
    _check_shape("q_b_weight", q_b_weight, (heads * (nope + rope_dim), q_lora or hidden))

    qkv = _linear(hidden_states.double(), qkv_a_weight)
    q_c, kv_c, k_pe = qkv.split([q_lora, kv_lora, rope_dim], dim=-1)
    if q_a_norm_weight is None:
        query = _linear(hidden_states.double(), q_b_weight)
    else:
        q_c = rms_norm(q_c, q_a_norm_weight, eps, q_a_norm_bias)
        query = _linear(q_c, q_b_weight)
    q_nope, q_pe = query.view(tokens, heads, nope + rope_dim).split([nope, rope_dim], dim=-1)
    return MlaPrologOutput(
        q_nope=_per_head(q_nope, w_uk),
        q_rope=rope(q_pe, cos, sin, rope_interleaved),
        q_c=q_c,
        kv_c=rms_norm(kv_c, kv_a_norm_weight, eps),
        k_rope=rope(k_pe, cos, sin, rope_interleaved),
    )


def write_paged_cache(cache: torch.Tensor, rows: torch.Tensor, slot_mapping: torch.Tensor) -> None:
    """Writes one row per token into a paged cache, in place and rounded to the cache's dtype.

    Args:
        cache: [blocks, block_size, 1, dim], any strides.
        rows: [T, dim].
        slot_mapping: [T], integer; slot s is row s % block_size of block s // block_size, and
            tokens with slot -1 are skipped. Other slots must be distinct.

    Raises:
        ValueError: a shape does not match or a slot is out of range; the cache is then untouched.
    """
    _check_rank("cache", cache, 4)
    blocks, block_size, _, dim = cache.shape
    _check_shape("cache", cache, (blocks, block_size, 1, dim))
    _check_rank("slot_mapping", slot_mapping, 1)
    _check_shape("rows", rows, (slot_mapping.shape[0], dim))
    slots = slot_mapping.long()
    wrong = slots[(slots < -1) | (slots >= blocks * block_size)]
    if wrong.numel():
        raise ValueError(
            f"slot_mapping: expected slots from -1 to {blocks * block_size - 1}, "
            f"got {wrong[0].item()}"
        )
    written = slots >= 0
    slots = slots[written]
    cache[slots // block_size, slots % block_size, 0] = rows[written].to(cache.dtype)


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
    _check_rank("q_nope", q_nope, 3)
    _check_rank("q_rope", q_rope, 3)
    _check_rank("kv_c_rows", kv_c_rows, 2)
    tokens, heads, kv_lora = q_nope.shape
    length = kv_c_rows.shape[0]
    _check_shape("q_rope", q_rope, (tokens, heads, q_rope.shape[-1]))
    _check_shape("kv_c_rows", kv_c_rows, (length, kv_lora))
    _check_shape("k_rope_rows", k_rope_rows, (length, q_rope.shape[-1]))
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


def o_proj(latent: torch.Tensor, w_uv: torch.Tensor, o_proj_weight: torch.Tensor) -> torch.Tensor:
    """Value up-projection and output projection; partial sums if N is one rank's heads.

    Args:
        latent: [T, N, kv_lora], from attention.
        w_uv: [N, kv_lora, v].
        o_proj_weight: [hidden, N * v].

    Returns:
        [T, hidden].

    Raises:
        ValueError: a shape does not match.
    """
    _check_rank("latent", latent, 3)
    _check_rank("w_uv", w_uv, 3)
    _check_rank("o_proj_weight", o_proj_weight, 2)
    heads, kv_lora, value = w_uv.shape
    _check_shape("latent", latent, (latent.shape[0], heads, kv_lora))
    _check_shape("o_proj_weight", o_proj_weight, (o_proj_weight.shape[0], heads * value))
    return _linear(_per_head(latent.double(), w_uv).flatten(1), o_proj_weight)


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """||actual - expected|| / ||expected|| in the Euclidean norm over all elements.

    Returns:
        The error; infinite if either tensor holds NaN or infinity, or if `expected` is all zero
        and `actual` is not.

    Raises:
        ValueError: the shapes differ.
    """
    _check_shape("actual", actual, expected.shape)
    expected = expected.double()
    difference = torch.linalg.vector_norm(actual.double() - expected).item()
    norm = torch.linalg.vector_norm(expected).item()
    if not (math.isfinite(difference) and math.isfinite(norm)):
        return math.inf
    if norm == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / norm


def _linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x [T, in] times weight [out, in] transposed, a chunk of rows at a time."""
    rows = max(1, _CHUNK // max(1, weight.shape[1]))
    return torch.cat([x @ chunk.double().T for chunk in weight.split(rows)], dim=1)


def _per_head(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x [T, N, in] times weight [N, in, out], a chunk of heads at a time: [T, N, out]."""
    heads = max(1, _CHUNK // max(1, weight[0].numel()))
    chunks = zip(x.split(heads, dim=1), weight.split(heads), strict=True)
    return torch.cat([torch.einsum("tni,nio->tno", a, w.double()) for a, w in chunks], dim=1)


def _check_rank(name: str, tensor: torch.Tensor, rank: int) -> None:
    if tensor.dim() != rank:
        raise ValueError(f"{name}: expected {rank} dimensions, got shape {list(tensor.shape)}")


def _check_shape(name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(tensor.shape)}")
