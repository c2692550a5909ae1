"""Benchmark of mla_prolog: the fused kernel on the twin against float64 and torch eager."""

from __future__ import annotations

from ascend_prefetch import ops
from ascend_prefetch.lab import reference
from ascend_prefetch.lab.bench import prolog, torch_npu_ops
from ascend_prefetch.lab.bench.common import (
    BenchCase,
    BenchConfig,
    Check,
    checked_dimensions,
    judge,
)
from ascend_prefetch.lab.bench.inputs import BenchWeights, layer_weights


def check_mla_prolog(config: BenchConfig) -> None:
    """Raises ValueError unless the configuration is valid for mla_prolog."""
    checked_dimensions(config)


def mla_prolog_case(
    config: BenchConfig,
    given: BenchWeights | None = None,
    inputs: prolog.PrologInputs | None = None,
) -> BenchCase:
    """One call of mla_prolog; its q_b, w_uk and the o_proj weight may be prefetched.

    With the weights of a C8 checkpoint and no inputs its cache of latents is int8.

    Args:
        config: the configuration to run.
        given: the layer's weights; by default new ones.
        inputs: activations and caches; by default new ones.

    Raises:
        ValueError: the configuration is invalid, or the checkpoint does not fit.
    """
    dims = checked_dimensions(config)
    weights, packed, rounding = given or layer_weights(config, dims)
    scale = weights.kv_cache_scale if inputs is None else None
    plain = inputs or prolog.prolog_inputs(config, dims)
    inputs = plain if scale is None else prolog.prolog_inputs(config, dims, int8_latents=True)
    arguments = prolog.op_arguments(packed, inputs, dims)

    def check(outputs: prolog.Tensors, *_: object) -> Check:
        expected = reference.mla_prolog(
            **prolog.reference_arguments(weights, inputs, dims),
            q_c=prolog.given_latent(outputs, config),
        )
        compared = prolog.compare_mla(outputs, inputs, expected, scale)
        return judge(compared, config, inputs.caches_sound())

    return BenchCase(
        op=ops.mla_prolog,
        arguments=arguments,
        check=check,
        separate=lambda torch_npu, place: torch_npu_ops.MlaProlog(
            torch_npu, place(weights), place(plain), dims, config.weights == "nz"
        ),
        torch=lambda: prolog.eager_mla(weights, inputs, dims),
        prefetched=("q_b_weight", "w_uk", "prefetch[0]"),
        floor_bytes=prolog.floor_bytes(weights, inputs),
        products=prolog.products(weights),
        rounding=rounding,
    )
