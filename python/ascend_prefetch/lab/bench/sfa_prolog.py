"""Benchmark of sfa_prolog: that of mla_prolog with the projections of the indexer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ascend_prefetch import ops
from ascend_prefetch.lab import reference
from ascend_prefetch.lab.bench import prolog, torch_npu_ops
from ascend_prefetch.lab.bench.common import (
    BenchCase,
    BenchConfig,
    Check,
    Compared,
    checked_dimensions,
    judge,
)
from ascend_prefetch.lab.bench.inputs import (
    BenchWeights,
    PagedCache,
    float_layer,
    indexer_weights,
    layer_weights,
    pack_indexer_weights,
    total_bytes,
)
from ascend_prefetch.linear import Linear
from ascend_prefetch.models import IndexerWeights, MlaWeights, ModelDimensions

# As in vllm 0.23, model_executor/models/deepseek_v2.py, instead of the model's rms_norm_eps.
LAYER_NORM_EPS = 1e-6


def check_sfa_prolog(config: BenchConfig) -> None:
    """Raises ValueError unless the configuration is valid for sfa_prolog."""
    dims = checked_dimensions(config)
    if dims.indexer is None:
        raise ValueError(f"sfa_prolog: model: expected one with an indexer, got {dims.name!r}")


def sfa_prolog_case(
    config: BenchConfig,
    given: BenchWeights | None = None,
    inputs: prolog.PrologInputs | None = None,
    cache: PagedCache | None = None,
) -> BenchCase:
    """One call of sfa_prolog; it may prefetch what mla_prolog may, and the indexer's weights.

    Args:
        config: the configuration to run.
        given: the layer's weights except the indexer's; by default new ones.
        inputs: activations and caches; by default new ones.
        cache: the cache of the indexer's keys; by default a new one.

    Raises:
        ValueError: the configuration is invalid, or the checkpoint does not fit.
    """
    check_sfa_prolog(config)
    dims = checked_dimensions(config)
    assert dims.indexer is not None
    weights, packed, rounding = given or layer_weights(config, dims)
    indexer, indexer_rounding = indexer_weights(config, dims)
    inputs = inputs or prolog.prolog_inputs(config, dims)
    if cache is None:
        cache = prolog.paged_cache(config, inputs.slot_mapping, dims.indexer.head_dim)
    packed_indexer = pack_indexer_weights(indexer) if config.weights == "nz" else indexer
    arguments = sfa_arguments(packed, packed_indexer, inputs, cache, dims)

    def check(outputs: prolog.Tensors, *_: object) -> Check:
        expected = reference.sfa_prolog(
            **prolog.reference_arguments(weights, inputs, dims),
            **indexer.layers(),
            **_indexer_options(dims),
            q_c=prolog.given_latent(outputs, config),
        )
        assert expected.indexer is not None
        indexer_q, indexer_head_weights = outputs[4:]
        compared = [
            *prolog.compare_mla(outputs, inputs, expected.mla),
            Compared(indexer_q, expected.indexer.q),
            # Rope does not rotate these elements.
            Compared(
                indexer_q[..., dims.qk_rope_head_dim :],
                expected.indexer.q[..., dims.qk_rope_head_dim :],
                rounded_once=True,
            ),
            Compared(cache.written(), expected.indexer.k),
            Compared(indexer_head_weights, expected.indexer.weights),
        ]
        return judge(compared, config, inputs.caches_sound() and cache.others_untouched())

    def torch_eager() -> Callable[[], object]:
        mla = prolog.eager_mla(weights, inputs, dims)
        run_indexer = _eager_indexer(indexer, inputs, cache, dims)
        return lambda: run_indexer(mla())

    return BenchCase(
        op=ops.sfa_prolog,
        arguments=arguments,
        check=check,
        separate=lambda torch_npu, place: torch_npu_ops.SfaProlog(
            torch_npu_ops.MlaProlog(
                torch_npu, place(weights), place(inputs), dims, config.weights == "nz"
            ),
            place(indexer),
            place(cache.tensor),
            LAYER_NORM_EPS,
        ),
        torch=torch_eager,
        prefetched=(
            "q_b_weight",
            "w_uk",
            "indexer_wq_b",
            "indexer_wk",
            "indexer_weights_proj",
            "prefetch[0]",
        ),
        floor_bytes=prolog.floor_bytes(weights, inputs) + indexer_bytes(indexer),
        products=(
            *prolog.products(weights),
            *indexer_products(indexer),
        ),
        rounding=rounding | indexer_rounding,
    )


def sfa_arguments(
    weights: MlaWeights,
    indexer: IndexerWeights,
    inputs: prolog.PrologInputs,
    cache: PagedCache,
    dims: ModelDimensions,
) -> dict[str, Any]:
    """Arguments of sfa_prolog, which prefetches the o_proj weight. `cache` is the indexer's."""
    return {
        **prolog.op_arguments(weights, inputs, dims),
        **indexer.arguments(),
        "indexer_cache": cache.tensor,
        **_indexer_options(dims),
    }


def _indexer_options(dims: ModelDimensions) -> dict[str, Any]:
    assert dims.indexer is not None
    return {
        "indexer_rope_interleaved": dims.indexer.rope_interleaved,
        "indexer_eps": LAYER_NORM_EPS,
    }


def indexer_products(weights: IndexerWeights) -> tuple[Linear, ...]:
    """The indexer's weights that take part in matrix products."""
    found = (weights.wq_b, weights.wk, weights.weights_proj)
    return tuple(layer for layer in found if layer is not None)


def indexer_bytes(weights: IndexerWeights) -> int:
    """Bytes of the indexer's weights."""
    return total_bytes(list(weights.layers().values()))


def _eager_indexer(
    weights: IndexerWeights,
    inputs: prolog.PrologInputs,
    cache: PagedCache,
    dims: ModelDimensions,
) -> Callable[[torch.Tensor], None]:
    """The indexer in torch float32, given q_c."""
    assert dims.indexer is not None and weights.weights_proj is not None
    wq_b, wk = float_layer(weights.wq_b), weights.wk.float()
    weights_proj = weights.weights_proj.float()
    hidden = inputs.hidden_states.float()
    rows = prolog.eager_rows(cache)
    heads, dim, rope_dim = dims.indexer.num_heads, dims.indexer.head_dim, dims.qk_rope_head_dim
    interleaved = dims.indexer.rope_interleaved

    def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        turned = prolog.rotate(x[..., :rope_dim], cos, sin, interleaved)
        if interleaved:  # the pairs keep their places
            turned = turned.unflatten(-1, (2, rope_dim // 2)).transpose(-1, -2).flatten(-2)
        return torch.cat([turned, x[..., rope_dim:]], dim=-1)

    def run(q_c: torch.Tensor) -> None:
        query = F.linear(q_c, wq_b).view(-1, heads, dim)
        rotate(query, inputs.cos.unsqueeze(1), inputs.sin.unsqueeze(1))
        key = F.layer_norm(
            F.linear(hidden, wk), (dim,), weights.k_norm, weights.k_norm_bias, LAYER_NORM_EPS
        )
        rows[inputs.slot_mapping] = rotate(key, inputs.cos, inputs.sin)
        F.linear(hidden, weights_proj)

    return run
