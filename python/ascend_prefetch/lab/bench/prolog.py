"""Functions that the benchmarks of mla_prolog and sfa_prolog share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ascend_prefetch.lab import reference
from ascend_prefetch.lab.bench.common import DTYPES, BenchConfig, Compared
from ascend_prefetch.lab.bench.inputs import BLOCK_SIZE, PagedCache, float_layer, total_bytes
from ascend_prefetch.lab.reference import MlaPrologOutput
from ascend_prefetch.linear import Linear, stored_weight
from ascend_prefetch.models import MlaWeights, ModelDimensions

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class PrologInputs:
    """Activations, rope tables, slots and caches of one call."""

    hidden_states: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    slot_mapping: torch.Tensor
    kv_cache: PagedCache
    rope_cache: PagedCache

    def caches_sound(self) -> bool:
        """Whether no row outside slot_mapping changed."""
        return self.kv_cache.others_untouched() and self.rope_cache.others_untouched()


def prolog_inputs(
    config: BenchConfig, dims: ModelDimensions, int8_latents: bool = False
) -> PrologInputs:
    """Random inputs; equal configurations give equal inputs.

    Args:
        config: the configuration.
        dims: dimensions of the model.
        int8_latents: whether the cache of latents is int8.
    """
    generator = torch.Generator().manual_seed(config.seed + 1)
    rows = _blocks(config) * BLOCK_SIZE
    positions = torch.randint(0, 32768, (config.tokens,), generator=generator)
    cos, sin = reference.rope_tables(positions, dims.qk_rope_head_dim)
    if not dims.use_rope:
        cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
    hidden = torch.randn(config.tokens, dims.hidden_size, generator=generator)
    slots = torch.randperm(rows, generator=generator)[: config.tokens]
    return PrologInputs(
        hidden_states=hidden.to(DTYPES[config.dtype]),
        cos=cos,
        sin=sin,
        slot_mapping=slots,
        kv_cache=_int8_cache(config, slots, dims.kv_lora_rank)
        if int8_latents
        else paged_cache(config, slots, dims.kv_lora_rank),
        rope_cache=paged_cache(config, slots, dims.qk_rope_head_dim),
    )


def paged_cache(config: BenchConfig, slots: torch.Tensor, width: int) -> PagedCache:
    """A new cache with rows of `width` elements."""
    shape = (_blocks(config), BLOCK_SIZE, 1, width)
    return PagedCache(torch.full(shape, float("nan"), dtype=DTYPES[config.dtype]), slots)


def _int8_cache(config: BenchConfig, slots: torch.Tensor, width: int) -> PagedCache:
    shape = (_blocks(config), BLOCK_SIZE, 1, width)
    tensor = torch.full(shape, -77, dtype=torch.int8)
    return PagedCache(tensor, slots, tensor.clone())


def _blocks(config: BenchConfig) -> int:
    return config.tokens // BLOCK_SIZE + 2


def op_arguments(
    weights: MlaWeights, inputs: PrologInputs, dims: ModelDimensions
) -> dict[str, Any]:
    """Arguments common to mla_prolog and sfa_prolog, which prefetch the o_proj weight."""
    return {
        **weights.prolog_arguments(),
        **_common_arguments(inputs, dims),
        "slot_mapping": inputs.slot_mapping,
        "kv_cache": inputs.kv_cache.tensor,
        "rope_cache": inputs.rope_cache.tensor,
        "prefetch": [stored_weight(weights.o_proj)],
        **_int8_arguments(weights, inputs),
    }


def _int8_arguments(weights: MlaWeights, inputs: PrologInputs) -> dict[str, Any]:
    int8 = inputs.kv_cache.tensor.dtype is torch.int8
    return {"kv_cache_scale": weights.kv_cache_scale} if int8 else {}


def reference_arguments(
    weights: MlaWeights, inputs: PrologInputs, dims: ModelDimensions
) -> dict[str, Any]:
    """Arguments common to the references of both ops."""
    return {**weights.prolog_layers(), **_common_arguments(inputs, dims)}


def _common_arguments(inputs: PrologInputs, dims: ModelDimensions) -> dict[str, Any]:
    """What ops and references both take beside the weights."""
    return {
        "hidden_states": inputs.hidden_states,
        "cos": inputs.cos,
        "sin": inputs.sin,
        "eps": dims.rms_norm_eps,
        "rope_interleaved": dims.rope_interleaved,
    }


def given_latent(outputs: Tensors, config: BenchConfig) -> torch.Tensor | None:
    """The op's own q_c if a W8A8 layer quantises it, so that the reference quantises the same."""
    return None if config.quant == "none" else outputs[2]


def compare_mla(
    outputs: Tensors,
    inputs: PrologInputs,
    expected: MlaPrologOutput,
    scale: torch.Tensor | None = None,
) -> list[Compared]:
    """The outputs and cache rows that both ops have, beside the expected ones.

    The latents are results of the first layer and rounded once; the queries are rounded already
    before rope and w_uk.

    Args:
        outputs: of the op.
        inputs: of the op; its caches are written.
        expected: the reference's outputs.
        scale: of an int8 cache of latents.
    """
    q_nope, q_rope, q_c = outputs[:3]
    latents = inputs.kv_cache.written()
    if latents.dtype is torch.int8 and scale is not None:
        latents = _latent_within(latents, expected.kv_c, scale)
    return [
        Compared(q_nope, expected.q_nope),
        Compared(q_rope, expected.q_rope),
        Compared(q_c, expected.q_c, rounded_once=True),
        Compared(latents, expected.kv_c, rounded_once=True),
        Compared(inputs.rope_cache.written(), expected.k_rope),
    ]


def _latent_within(rows: torch.Tensor, expected: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Of the numbers that are rounded to these int8 rows those that are nearest to the expected."""
    steps = expected / scale
    low, high = rows.double() - 0.5, rows.double() + 0.5
    low = low.masked_fill(rows == -128, -torch.inf)  # saturated
    high = high.masked_fill(rows == 127, torch.inf)
    return torch.maximum(torch.minimum(steps, high), low) * scale


def eager_mla(
    weights: MlaWeights, inputs: PrologInputs, dims: ModelDimensions
) -> Callable[[], torch.Tensor]:
    """A function that computes mla_prolog in torch float32 and returns q_c."""
    qkv_a, q_b = float_layer(weights.qkv_a), float_layer(weights.q_b)
    w_uk, kv_norm = weights.w_uk.float(), weights.kv_a_norm.float()
    q_norm = None if weights.q_a_norm is None else weights.q_a_norm.float()
    q_bias = None if weights.q_a_norm_bias is None else weights.q_a_norm_bias.float()
    kv_bias = None if weights.kv_a_norm_bias is None else weights.kv_a_norm_bias.float()
    hidden = inputs.hidden_states.float()
    kv_rows, rope_rows = eager_rows(inputs.kv_cache), eager_rows(inputs.rope_cache)
    heads, nope, kv_lora = w_uk.shape
    rope_dim = dims.qk_rope_head_dim
    q_lora = dims.q_lora_rank or 0

    def norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        x = F.rms_norm(x, (x.shape[-1],), weight, dims.rms_norm_eps)
        return x if bias is None else x + bias

    def run() -> torch.Tensor:
        q_c, kv_c, k_pe = F.linear(hidden, qkv_a).split([q_lora, kv_lora, rope_dim], dim=-1)
        if q_norm is not None:
            q_c = norm(q_c, q_norm, q_bias)
        query = F.linear(hidden if q_norm is None else q_c, q_b)
        q_nope, q_pe = query.view(-1, heads, nope + rope_dim).split([nope, rope_dim], dim=-1)
        torch.bmm(q_nope.transpose(0, 1), w_uk).transpose(0, 1).contiguous()
        rotate(q_pe, inputs.cos.unsqueeze(1), inputs.sin.unsqueeze(1), dims.rope_interleaved)
        kv_rows[inputs.slot_mapping] = norm(kv_c, kv_norm, kv_bias)
        rope_rows[inputs.slot_mapping] = rotate(k_pe, inputs.cos, inputs.sin, dims.rope_interleaved)
        return q_c

    return run


def eager_rows(cache: PagedCache) -> torch.Tensor:
    """A float32 cache [slots, width] for torch to write."""
    return torch.zeros(cache.tensor.flatten(0, 2).shape)


def rotate(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool
) -> torch.Tensor:
    """Rope in torch float32; the result is in two halves."""
    half = x.shape[-1] // 2
    if interleaved:
        x = torch.cat([x[..., 0::2], x[..., 1::2]], dim=-1)
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


def products(weights: MlaWeights) -> tuple[Linear, ...]:
    """The weights that both ops multiply by."""
    return (weights.qkv_a, weights.q_b, weights.w_uk)


def floor_bytes(weights: MlaWeights, inputs: PrologInputs) -> int:
    """Bytes of the weights and inputs that both ops read."""
    read = list(weights.prolog_layers().values())
    read += [inputs.hidden_states, inputs.cos, inputs.sin, inputs.slot_mapping]
    return total_bytes(read)
