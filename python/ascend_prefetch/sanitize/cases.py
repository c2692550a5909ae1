"""Small calls of every op that together reach every synchronisation call of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ascend_prefetch import ops
from ascend_prefetch.packing import nd_to_nz

_HIDDEN, _Q_LORA, _KV_LORA, _NOPE, _HEADS, _ROPE = 256, 192, 128, 64, 3, 64
_INDEXER_HEADS, _INDEXER_DIM = 16, 128
_BLOCK_SIZE = 16


@dataclass(frozen=True)
class SanitizeCase:
    """One call of an op.

    Attributes:
        name: op and form.
        run: makes random inputs, calls the op and returns its results and the caches it wrote.
    """

    name: str
    run: Callable[[], list[torch.Tensor]]


def _normal(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def _linear(
    prefix: str, weight: str, out: int, inp: int, dtype: torch.dtype, quant: str, nz: bool
) -> dict[str, torch.Tensor]:
    """A weight and its quantisation as keyword arguments: none, static or dynamic."""
    if quant == "none":
        matrix = _normal(out, inp, dtype=dtype) * inp**-0.5
        return {weight: nd_to_nz(matrix) if nz else matrix}
    generator = torch.Generator().manual_seed(out + inp)
    matrix = torch.randint(-127, 128, (inp, out), generator=generator, dtype=torch.int8)
    scale = torch.rand(out, generator=generator) * 1e-3 + 1e-4
    # Both forms of scales, and all optional parts, between the two kinds.
    arguments = {
        weight: nd_to_nz(matrix) if nz else matrix,
        f"{prefix}dequant_scale": scale.view(torch.int32).long() if quant == "static" else scale,
    }
    if quant == "static":
        arguments[f"{prefix}input_scale"] = torch.tensor([0.02])
        arguments[f"{prefix}input_offset"] = torch.tensor([3.0])
        arguments[f"{prefix}quant_bias"] = torch.arange(out, dtype=torch.int32)
    return arguments


def _cache(blocks: int, width: int, dtype: torch.dtype, nz: bool) -> torch.Tensor:
    per_block = 32 // dtype.itemsize
    if nz:
        return torch.zeros(blocks, width // per_block, _BLOCK_SIZE, per_block, dtype=dtype)
    return torch.zeros(blocks, _BLOCK_SIZE, 1, width, dtype=dtype)


def _prolog(
    tokens: int,
    dtype: torch.dtype = torch.bfloat16,
    quant: str = "none",
    nz: bool = False,
    latent: bool = True,
    int8: bool = False,
    joint: bool = False,
    bias: bool = False,
    interleaved: bool = True,
    indexer: bool = False,
    fused: bool = False,
    table: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    blocks = tokens // _BLOCK_SIZE + 2
    q_lora = _Q_LORA if latent else 0
    w_uk = _normal(_HEADS, _NOPE, _KV_LORA, dtype=dtype) * _NOPE**-0.5
    arguments: dict = {
        "hidden_states": _normal(tokens, _HIDDEN, dtype=dtype),
        "q_a_norm_weight": _normal(q_lora, dtype=dtype) if latent else None,
        "w_uk": nd_to_nz(w_uk) if nz else w_uk,
        "kv_a_norm_weight": _normal(_KV_LORA, dtype=dtype),
        "cos": _normal(tokens, _ROPE, dtype=table),
        "sin": _normal(tokens, _ROPE, dtype=table),
        "slot_mapping": torch.arange(tokens) * 2 % (blocks * _BLOCK_SIZE - 1),
        "rope_interleaved": interleaved,
        "quantize_q_nope": int8,
        "prefetch": [_normal(1 << 16, dtype=dtype)],
    }
    arguments["slot_mapping"] = torch.arange(tokens)
    arguments["slot_mapping"][tokens // 2] = -1
    width = _KV_LORA + (_ROPE if joint else 0)
    arguments["kv_cache"] = _cache(blocks, width, torch.int8 if int8 else dtype, nz)
    arguments["rope_cache"] = None if joint else _cache(blocks, _ROPE, dtype, nz)
    if int8:
        arguments["kv_cache_scale"] = torch.tensor([0.05])
    if bias:
        arguments["q_a_norm_bias"] = _normal(q_lora, dtype=dtype)
    rows = q_lora + _KV_LORA + _ROPE
    queries = _HEADS * (_NOPE + _ROPE)
    arguments |= _linear("qkv_a_", "qkv_a_weight", rows, _HIDDEN, dtype, quant, nz)
    arguments |= _linear("q_b_", "q_b_weight", queries, q_lora or _HIDDEN, dtype, quant, nz)
    caches = [arguments["kv_cache"]] + ([] if joint else [arguments["rope_cache"]])
    if not indexer:
        return [*ops.mla_prolog(**arguments), *caches]
    keys = _INDEXER_DIM + (_INDEXER_HEADS if fused else 0)
    arguments |= _linear(
        "indexer_wq_b_", "indexer_wq_b", _INDEXER_HEADS * _INDEXER_DIM, q_lora, dtype, quant, nz
    )
    arguments |= _linear("", "indexer_wk", keys, _HIDDEN, dtype, "none", nz)
    if not fused:
        arguments |= _linear("", "indexer_weights_proj", _INDEXER_HEADS, _HIDDEN, dtype, "none", nz)
    norm = torch.float32 if fused else dtype
    arguments["indexer_k_norm_weight"] = _normal(_INDEXER_DIM, dtype=norm)
    arguments["indexer_k_norm_bias"] = _normal(_INDEXER_DIM, dtype=norm)
    arguments["indexer_cache"] = _cache(blocks, _INDEXER_DIM, dtype, nz)
    arguments["indexer_rope_interleaved"] = interleaved
    return [*ops.sfa_prolog(**arguments), *caches, arguments["indexer_cache"]]


def _o_proj(
    tokens: int,
    dtype: torch.dtype = torch.bfloat16,
    quant: str = "none",
    nz: bool = False,
    v_up: bool = True,
    bias: torch.dtype | None = None,
) -> list[torch.Tensor]:
    heads, value, hidden = 64, 64, 3200
    w_uv = _normal(heads, _KV_LORA, value, dtype=dtype) * _KV_LORA**-0.5
    shape = (tokens, heads, _KV_LORA) if v_up else (tokens, heads * value)
    arguments: dict = {
        "attn_output": _normal(*shape, dtype=dtype),
        "w_uv": (nd_to_nz(w_uv) if nz else w_uv) if v_up else None,
        "bias": None if bias is None else _normal(hidden, dtype=bias),
        "prefetch": [_normal(1 << 16, dtype=dtype)],
    }
    arguments |= _linear("", "o_proj_weight", hidden, heads * value, dtype, quant, nz)
    return [ops.o_proj(**arguments)]


def _prefetch() -> list[torch.Tensor]:
    weights = [_normal(3000, 1000, dtype=torch.bfloat16), _normal(5000, dtype=torch.float32)]
    ops.prefetch(weights, offsets=[7, 0])
    return weights


_FP16 = torch.float16

CASES: tuple[SanitizeCase, ...] = (
    SanitizeCase("mla_prolog", lambda: _prolog(50, bias=True)),
    SanitizeCase(
        "mla_prolog fp16 nz",
        lambda: _prolog(3, _FP16, nz=True, interleaved=False, table=_FP16),
    ),
    SanitizeCase("mla_prolog joint, 130 tokens", lambda: _prolog(130, joint=True)),
    SanitizeCase("mla_prolog w8a8 int8 caches", lambda: _prolog(49, quant="static", int8=True)),
    SanitizeCase(
        "mla_prolog w8a8_dynamic fp16 nz",
        lambda: _prolog(5, _FP16, quant="dynamic", nz=True, bias=True),
    ),
    SanitizeCase("mla_prolog without a query latent", lambda: _prolog(17, latent=False)),
    SanitizeCase(
        "mla_prolog w8a8_dynamic without a query latent",
        lambda: _prolog(60, latent=False, quant="dynamic"),
    ),
    SanitizeCase("sfa_prolog", lambda: _prolog(50, indexer=True, interleaved=False)),
    SanitizeCase(
        "sfa_prolog w8a8 interleaved",
        lambda: _prolog(51, indexer=True, quant="static", fused=True, nz=True),
    ),
    SanitizeCase(
        "sfa_prolog w8a8_dynamic fp16",
        lambda: _prolog(4, _FP16, indexer=True, quant="dynamic", bias=True),
    ),
    SanitizeCase("o_proj", lambda: _o_proj(18)),
    SanitizeCase("o_proj bias", lambda: _o_proj(60, _FP16, bias=torch.float32, nz=True)),
    SanitizeCase("o_proj without v-up, bias", lambda: _o_proj(3, v_up=False, bias=torch.bfloat16)),
    SanitizeCase("o_proj w8a8", lambda: _o_proj(50, quant="static")),
    SanitizeCase("o_proj w8a8_dynamic nz", lambda: _o_proj(7, quant="dynamic", nz=True)),
    SanitizeCase("prefetch", _prefetch),
)
"""Runs of a few milliseconds each; the sum of them is the small shape of every op."""
