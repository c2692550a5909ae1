"""Small calls of the ops that together reach every synchronisation and rounding of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ascend_prefetch import ops
from ascend_prefetch.packing import nd_to_nz

_KV_LORA, _NOPE, _ROPE = 128, 64, 64
_INDEXER_HEADS, _INDEXER_DIM = 16, 128
_BLOCK_SIZE = 16


@dataclass(frozen=True)
class SanitizeCase:
    """One call of an op.

    Attributes:
        name: name of the op and its form.
        run: makes random inputs, calls the op and returns its results and the caches it wrote.
        prefetched: tensors of the launch that cores prefetch.
    """

    name: str
    run: Callable[[], list[torch.Tensor]]
    prefetched: tuple[str, ...]


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
    # The static and the dynamic kind together cover both forms of scales and all optional
    # arguments.
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
    int8: bool = False,
    joint: bool = False,
    bias: bool = False,
    interleaved: bool = True,
    indexer: bool = False,
    indexer_quant: str | None = None,
    fused: bool = False,
    table: torch.dtype = torch.float32,
    hidden: int = 256,
    q_lora: int = 192,
    heads: int = 3,
) -> list[torch.Tensor]:
    """Calls a prolog op on random inputs; q_lora 0 means a model without a query latent.

    The indexer's query has the quantisation of the other layers, or one of its own.
    """
    blocks = tokens // _BLOCK_SIZE + 2
    latent = q_lora > 0
    w_uk = _normal(heads, _NOPE, _KV_LORA, dtype=dtype) * _NOPE**-0.5
    arguments: dict = {
        "hidden_states": _normal(tokens, hidden, dtype=dtype),
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
        arguments["q_a_norm_bias"] = _normal(q_lora, dtype=dtype) if latent else None
        arguments["kv_a_norm_bias"] = _normal(_KV_LORA, dtype=dtype)
    rows = q_lora + _KV_LORA + _ROPE
    queries = heads * (_NOPE + _ROPE)
    arguments |= _linear("qkv_a_", "qkv_a_weight", rows, hidden, dtype, quant, nz)
    arguments |= _linear("q_b_", "q_b_weight", queries, q_lora or hidden, dtype, quant, nz)
    caches = [arguments["kv_cache"]] + ([] if joint else [arguments["rope_cache"]])
    if not indexer:
        return [*ops.mla_prolog(**arguments), *caches]
    keys = _INDEXER_DIM + (_INDEXER_HEADS if fused else 0)
    columns = _INDEXER_HEADS * _INDEXER_DIM
    own = quant if indexer_quant is None else indexer_quant
    arguments |= _linear("indexer_wq_b_", "indexer_wq_b", columns, q_lora, dtype, own, nz)
    arguments |= _linear("", "indexer_wk", keys, hidden, dtype, "none", nz)
    if not fused:
        arguments |= _linear("", "indexer_weights_proj", _INDEXER_HEADS, hidden, dtype, "none", nz)
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
    heads: int = 40,
    hidden: int = 832,
) -> list[torch.Tensor]:
    value = 64
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


def _prefetch(engine: str, cores: int) -> list[torch.Tensor]:
    """A core loads more than its landing pad holds, and one of the last a part of a block."""
    weights = [torch.zeros(5500, 1000, dtype=torch.bfloat16), torch.zeros(5001, dtype=torch.int8)]
    ops.prefetch(weights, offsets=[7, 0], engine=engine, cores=cores)
    return weights


def _prolog_case(name: str, **arguments: Any) -> SanitizeCase:
    return SanitizeCase(name, partial(_prolog, **arguments), ("q_b_weight", "w_uk", "prefetch[0]"))


def _o_proj_case(name: str, **arguments: Any) -> SanitizeCase:
    return SanitizeCase(name, partial(_o_proj, **arguments), ("o_proj_weight", "prefetch[0]"))


_FP16 = torch.float16

CASES: tuple[SanitizeCase, ...] = (
    _prolog_case("mla_prolog", tokens=50, bias=True),
    _prolog_case(
        "mla_prolog fp16 nz", tokens=3, dtype=_FP16, nz=True, interleaved=False, table=_FP16
    ),
    _prolog_case("mla_prolog joint, 130 tokens", tokens=130, joint=True),
    # Prefetches q_b and W_UK too.
    _prolog_case("mla_prolog, deep latents", tokens=2, hidden=1024, q_lora=1024, heads=25),
    _prolog_case(
        "mla_prolog w8a8 int8 caches",
        tokens=49,
        quant="static",
        int8=True,
        bias=True,
        hidden=448,
    ),
    _prolog_case(
        "mla_prolog w8a8_dynamic fp16 nz",
        tokens=5,
        dtype=_FP16,
        quant="dynamic",
        nz=True,
        bias=True,
    ),
    _prolog_case("mla_prolog without a query latent", tokens=17, q_lora=0, heads=18),
    _prolog_case(
        "mla_prolog w8a8_dynamic without a query latent", tokens=60, q_lora=0, quant="dynamic"
    ),
    _prolog_case("sfa_prolog", tokens=50, indexer=True, interleaved=False),
    _prolog_case(
        "sfa_prolog w8a8 interleaved", tokens=51, indexer=True, quant="static", fused=True, nz=True
    ),
    _prolog_case(
        "sfa_prolog w8a8_dynamic fp16",
        tokens=4,
        dtype=_FP16,
        indexer=True,
        quant="dynamic",
        bias=True,
    ),
    # The tiles of q_b are still being stored when the indexer's query is loaded.
    _prolog_case(
        "sfa_prolog w8a8, indexer bf16",
        tokens=5,
        indexer=True,
        quant="static",
        indexer_quant="none",
    ),
    # Tables of 16 bits are cast from where the indexer's heads are then split into halves.
    _prolog_case(
        "sfa_prolog w8a8, tables of 16 bits",
        tokens=49,
        indexer=True,
        quant="static",
        table=torch.bfloat16,
    ),
    _prolog_case("mla_prolog, a tail of the depth", tokens=5, hidden=2064),
    # A row's maximum is that of several repeats.
    _prolog_case("mla_prolog w8a8_dynamic, wide rows", tokens=2, hidden=4160, quant="dynamic"),
    _o_proj_case("o_proj", tokens=18),
    # The accumulators of a tile fill all of L0C.
    _o_proj_case("o_proj, many tokens", tokens=120, heads=16, hidden=3456),
    # Two tiles are multiplied in turns.
    _o_proj_case("o_proj, tiles of rows", tokens=150, heads=16, hidden=3456),
    _o_proj_case("o_proj bias", tokens=60, dtype=_FP16, bias=torch.float32, nz=True),
    _o_proj_case("o_proj without v-up, bias", tokens=3, v_up=False, bias=torch.bfloat16),
    # The rows have five parts, so that some cores finish the end of one and the start of the next.
    _o_proj_case(
        "o_proj wide bias", tokens=49, v_up=False, bias=torch.float32, heads=1, hidden=16448
    ),
    _o_proj_case(
        "o_proj parts of columns", tokens=3, v_up=False, bias=torch.float32, heads=1, hidden=51200
    ),
    _o_proj_case("o_proj w8a8", tokens=50, quant="static"),
    _o_proj_case("o_proj w8a8_dynamic nz", tokens=7, quant="dynamic", nz=True),
    SanitizeCase("prefetch", partial(_prefetch, "vector", 48), ("weights[0]", "weights[1]")),
    SanitizeCase("prefetch, cube", partial(_prefetch, "cube", 20), ("weights[0]", "weights[1]")),
)
"""Runs of a few milliseconds each, which together cover every op at a small shape."""
