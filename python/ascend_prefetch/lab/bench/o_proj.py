"""Benchmark of o_proj: value up-projection and output projection in one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ascend_prefetch import ops
from ascend_prefetch.lab import reference
from ascend_prefetch.lab.bench import torch_npu_ops
from ascend_prefetch.lab.bench.common import (
    DTYPES,
    BenchCase,
    BenchConfig,
    Check,
    Compared,
    checked_dimensions,
    judge,
)
from ascend_prefetch.lab.bench.inputs import BenchWeights, float_layer, layer_weights, total_bytes
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.models import MlaWeights


def check_o_proj(config: BenchConfig) -> None:
    """Raises ValueError unless the configuration is valid for o_proj."""
    checked_dimensions(config)


def o_proj_case(
    config: BenchConfig,
    given: BenchWeights | None = None,
    attn_output: torch.Tensor | None = None,
) -> BenchCase:
    """One call of o_proj; its own weight and the next layer's qkv_a may be prefetched.

    Args:
        config: the configuration to run.
        given: the layer's weights; by default new ones.
        attn_output: [T, N, kv_lora]; by default random.

    Raises:
        ValueError: the configuration is invalid, or the checkpoint does not fit.
    """
    dims = checked_dimensions(config)
    weights, packed, rounding = given or layer_weights(config, dims)
    dtype = DTYPES[config.dtype]
    if attn_output is None:
        shape = (config.tokens, dims.heads_per_rank(config.tp), dims.kv_lora_rank)
        generator = torch.Generator().manual_seed(config.seed + 1)
        attn_output = torch.randn(shape, generator=generator).to(dtype)
    arguments = {"attn_output": attn_output, **o_proj_arguments(packed)}

    def check(output: torch.Tensor, _: object, op: Callable[..., Any] = ops.o_proj) -> Check:
        values = reference.value_up_projection(attn_output, weights.w_uv)
        if config.quant == "none":
            return judge([Compared(output, reference.o_proj(values, weights.o_proj))], config)
        # The up-projected values are rounded before they are quantised, and are not an output.
        # Where the kernel's values and these round to different neighbours, the results differ too.
        # Therefore the kernel is also run on values of its own dtype, for which every integer must
        # be right.
        values = values.to(dtype)
        expected = reference.o_proj(values, weights.o_proj)
        from_values = op(**{**arguments, "attn_output": values, "w_uv": None})
        compared = [Compared(output, expected), Compared(from_values, expected, rounded_once=True)]
        return judge(compared, config)

    def torch_eager() -> Callable[[], object]:
        latent, w_uv = attn_output.float(), weights.w_uv.float()
        o_proj_weight = float_layer(weights.o_proj)

        def run() -> torch.Tensor:
            values = torch.bmm(latent.transpose(0, 1), w_uv).transpose(0, 1)
            return F.linear(values.flatten(1), o_proj_weight)

        return run

    return BenchCase(
        op=ops.o_proj,
        arguments=arguments,
        check=check,
        separate=lambda torch_npu, place: torch_npu_ops.OProj(
            torch_npu, place(weights), place(attn_output), config.weights == "nz"
        ),
        torch=torch_eager,
        prefetched=("o_proj_weight", "prefetch[0]"),
        floor_bytes=total_bytes([attn_output, weights.w_uv, weights.o_proj]),
        products=(weights.w_uv, weights.o_proj),
        rounding=rounding,
    )


def o_proj_arguments(weights: MlaWeights) -> dict[str, Any]:
    """Arguments of o_proj beside its input; it prefetches the next layer's qkv_a."""
    return {**weights.o_proj_arguments(), "prefetch": [stored_weight(weights.qkv_a)]}
