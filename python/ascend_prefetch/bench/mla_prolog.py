"""Benchmark of mla_prolog: the fused kernel on the twin against float64 and torch eager."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F

from ascend_prefetch import ops, reference, twin
from ascend_prefetch.bench.common import (
    DTYPES,
    TOLERANCES,
    BenchConfig,
    BenchResult,
    floor_us,
    median_seconds,
    modelled_us,
    peak_rss_mb,
    poisoned_empty,
)
from ascend_prefetch.models import (
    MlaWeights,
    ModelDimensions,
    get_model,
    load_mla_weights,
    random_mla_weights,
)
from ascend_prefetch.packing import nd_to_nz

_BLOCK_SIZE = 128
# What vector cores may prefetch, by the names the launch gives them; the last one is o_proj.
_PREFETCHED = ("q_b_weight", "w_uk", "prefetch[0]")


@dataclasses.dataclass(frozen=True)
class _Inputs:
    hidden_states: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    slot_mapping: torch.Tensor
    kv_cache: torch.Tensor
    rope_cache: torch.Tensor


def bench_mla_prolog(config: BenchConfig) -> BenchResult:
    """Runs, checks and times mla_prolog on the twin; keys as in the command-line contract.

    `twin.torch_wall_s` is the same mathematics in torch float32 eager in this process, weights
    converted beforehand. `peak_rss_mb` is the process with inputs, reference and torch's copies.

    Raises:
        ValueError: a configuration that does not exist, or a checkpoint that does not fit.
    """
    dims = get_model(config.model)
    if config.quant != "none":
        raise ValueError(f"mla_prolog: quant: expected 'none', got '{config.quant}'")
    if dims.q_lora_rank is None:
        raise ValueError(
            f"mla_prolog: model: expected one with a query latent (q_lora), got '{dims.name}'"
        )
    aic_count = twin.find_chip(config.soc)["aic_count"]
    weights = _weights(config, dims)
    inputs = _inputs(config, dims)
    packed = _pack(weights) if config.weights == "nz" else weights

    with twin.chip(config.soc):
        with poisoned_empty(), twin.tracing() as traces:
            outputs = _run_op(packed, inputs, dims)
        error = _check(outputs, weights, inputs, dims)
        wall_s = median_seconds(lambda: _run_op(packed, inputs, dims), config.repeats)
    torch_wall_s = _time_torch(weights, inputs, dims, config.repeats)

    tolerance = TOLERANCES[config.dtype]
    account = twin.account_prefetch(traces[0], _PREFETCHED)
    bytes_floor = _floor_bytes(weights, inputs)
    return {
        "op": "mla_prolog",
        "model": dims.name,
        "tp": config.tp,
        "tokens": config.tokens,
        "dtype": config.dtype,
        "weights": config.weights,
        "quant": config.quant,
        "soc": config.soc,
        "check": {"max_rel_err": error, "tolerance": tolerance, "ok": error <= tolerance},
        "twin": {
            "wall_s": wall_s,
            "torch_wall_s": torch_wall_s,
            "ratio": wall_s / torch_wall_s,
            "peak_rss_mb": peak_rss_mb(),
        },
        "modelled_us": modelled_us(floor_us(bytes_floor, aic_count)),
        "bytes": {"floor": bytes_floor, "hbm_read": None, "l2_hit": None},
        "prefetch": dict(account),
    }


def _weights(config: BenchConfig, dims: ModelDimensions) -> MlaWeights:
    dtype = DTYPES[config.dtype]
    if config.checkpoint is None:
        return random_mla_weights(dims, config.tp, dtype, config.seed)
    return load_mla_weights(config.checkpoint, dims, config.layer, 0, config.tp, dtype)


def _inputs(config: BenchConfig, dims: ModelDimensions) -> _Inputs:
    generator = torch.Generator().manual_seed(config.seed + 1)
    dtype = DTYPES[config.dtype]
    blocks = config.tokens // _BLOCK_SIZE + 2
    rows = blocks * _BLOCK_SIZE
    positions = torch.randint(0, 32768, (config.tokens,), generator=generator)
    cos, sin = reference.rope_tables(positions, dims.qk_rope_head_dim)
    hidden = torch.randn(config.tokens, dims.hidden_size, generator=generator)

    def cache(width: int) -> torch.Tensor:
        return torch.full((blocks, _BLOCK_SIZE, 1, width), float("nan"), dtype=dtype)

    return _Inputs(
        hidden_states=hidden.to(dtype),
        cos=cos,
        sin=sin,
        slot_mapping=torch.randperm(rows, generator=generator)[: config.tokens],
        kv_cache=cache(dims.kv_lora_rank),
        rope_cache=cache(dims.qk_rope_head_dim),
    )


def _pack(weights: MlaWeights) -> MlaWeights:
    return dataclasses.replace(
        weights,
        qkv_a=nd_to_nz(weights.qkv_a),
        q_b=nd_to_nz(weights.q_b),
        w_uk=nd_to_nz(weights.w_uk),
    )


def _run_op(
    weights: MlaWeights, inputs: _Inputs, dims: ModelDimensions
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    assert weights.q_a_norm is not None
    return ops.mla_prolog(
        inputs.hidden_states,
        weights.qkv_a,
        weights.q_a_norm,
        weights.q_b,
        weights.w_uk,
        weights.kv_a_norm,
        inputs.cos,
        inputs.sin,
        inputs.slot_mapping,
        inputs.kv_cache,
        inputs.rope_cache,
        q_a_norm_bias=weights.q_a_norm_bias,
        eps=dims.rms_norm_eps,
        rope_interleaved=dims.rope_interleaved,
        prefetch=[weights.o_proj],
    )


def _check(
    outputs: tuple[torch.Tensor, ...],
    weights: MlaWeights,
    inputs: _Inputs,
    dims: ModelDimensions,
) -> float:
    """Largest relative error over the outputs and the cache rows; inf if another row changed."""
    expected = reference.mla_prolog(
        inputs.hidden_states,
        weights.qkv_a,
        weights.q_a_norm,
        weights.q_b,
        weights.w_uk,
        weights.kv_a_norm,
        inputs.cos,
        inputs.sin,
        eps=dims.rms_norm_eps,
        rope_interleaved=dims.rope_interleaved,
        q_a_norm_bias=weights.q_a_norm_bias,
    )
    kv_rows = inputs.kv_cache.flatten(0, 2)
    rope_rows = inputs.rope_cache.flatten(0, 2)
    pairs = [
        *zip(outputs, (expected.q_nope, expected.q_rope, expected.q_c), strict=True),
        (kv_rows[inputs.slot_mapping], expected.kv_c),
        (rope_rows[inputs.slot_mapping], expected.k_rope),
    ]
    others = torch.ones(kv_rows.shape[0], dtype=torch.bool)
    others[inputs.slot_mapping] = False
    untouched = kv_rows[others].isnan().all() and rope_rows[others].isnan().all()
    error = max(reference.relative_error(actual, want) for actual, want in pairs)
    return error if untouched else float("inf")


def _time_torch(weights: MlaWeights, inputs: _Inputs, dims: ModelDimensions, repeats: int) -> float:
    """Seconds of the same mathematics in torch float32 eager."""
    w = MlaWeights(
        **{
            field.name: None if (value := getattr(weights, field.name)) is None else value.float()
            for field in dataclasses.fields(weights)
            if field.name not in ("o_proj", "w_uv")
        },
        o_proj=weights.o_proj,
        w_uv=weights.w_uv,
    )
    assert w.q_a_norm is not None
    hidden = inputs.hidden_states.float()
    kv_rows = torch.zeros(inputs.kv_cache.flatten(0, 2).shape)
    rope_rows = torch.zeros(inputs.rope_cache.flatten(0, 2).shape)
    heads = w.w_uk.shape[0]
    nope, rope_dim = dims.qk_nope_head_dim, dims.qk_rope_head_dim
    half = rope_dim // 2

    def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        if dims.rope_interleaved:
            x = torch.cat([x[..., 0::2], x[..., 1::2]], dim=-1)
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin

    def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, dims.rms_norm_eps)

    def run() -> None:
        qkv = F.linear(hidden, w.qkv_a)
        q_c, kv_c, k_pe = qkv.split([w.q_a_norm.numel(), w.kv_a_norm.numel(), rope_dim], dim=-1)
        q_c = norm(q_c, w.q_a_norm)
        if w.q_a_norm_bias is not None:
            q_c = q_c + w.q_a_norm_bias
        query = F.linear(q_c, w.q_b).view(-1, heads, nope + rope_dim)
        q_nope, q_pe = query.split([nope, rope_dim], dim=-1)
        torch.bmm(q_nope.transpose(0, 1), w.w_uk).transpose(0, 1).contiguous()
        rotate(q_pe, inputs.cos.unsqueeze(1), inputs.sin.unsqueeze(1))
        kv_rows[inputs.slot_mapping] = norm(kv_c, w.kv_a_norm)
        rope_rows[inputs.slot_mapping] = rotate(k_pe, inputs.cos, inputs.sin)

    with torch.inference_mode():
        return median_seconds(run, repeats)


def _floor_bytes(weights: MlaWeights, inputs: _Inputs) -> int:
    """Bytes that HBM has to deliver: each weight and input once. Results stay in L2."""
    read = [weights.qkv_a, weights.q_a_norm, weights.q_b, weights.w_uk, weights.kv_a_norm]
    read += [weights.q_a_norm_bias]
    read += [inputs.hidden_states, inputs.cos, inputs.sin, inputs.slot_mapping]
    return sum(tensor.nbytes for tensor in read if tensor is not None)
