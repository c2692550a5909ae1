"""W8A8 layers made from 16-bit weights, the way msmodelslim derives them.

Source: AscendV1 format of msmodelslim, gitcode.com/Ascend/msmodelslim,
docs/zh/quantization_formats/ascendv1.md.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from ascend_prefetch.linear import Linear, W8A8Linear
from ascend_prefetch.packing import unpack_dequant_scale

from .weights import IndexerWeights, MlaWeights

QUANTS = ("none", "w8a8", "w8a8_dynamic")
"""No quantisation, W8A8 with static activation scales, and W8A8 with dynamic ones."""

_MLA_LINEARS = ("qkv_a", "q_b", "o_proj")

# For activations of unit variance; a few in a million are larger and saturate.
_LARGEST_ACTIVATION = 4.5
# An odd zero point, so that results show it if it is left out or added twice.
_INPUT_OFFSET = -5.0
# Weights are converted to float32 in pieces of this many elements (64 MiB).
_CHUNK = 1 << 24


def quantise_linear(weight: torch.Tensor, quant: str) -> Linear:
    """A layer that computes approximately what `weight` does on activations of unit variance.

    The weight has one symmetric scale per output channel. Static layers have an input scale that
    spreads such activations over int8, a zero point, and a quant_bias that cancels the zero point.

    Args:
        weight: [out, in], floating-point.
        quant: one of QUANTS; "none" returns the weight as it is.

    Raises:
        ValueError: `quant` is unknown.
    """
    if quant not in QUANTS:
        raise ValueError(f"quant: expected one of {', '.join(QUANTS)}, got {quant!r}")
    if quant == "none":
        return weight
    out, size = weight.shape
    values = torch.empty((size, out), dtype=torch.int8)
    scale = torch.empty(out)
    rows = max(1, _CHUNK // max(1, size))
    for start in range(0, out, rows):
        chunk = weight[start : start + rows].float()
        largest = chunk.abs().amax(1)
        scale[start : start + rows] = torch.where(largest == 0, 1.0, largest / 127)
        chunk /= scale[start : start + rows].unsqueeze(1)
        values[:, start : start + rows] = chunk.round_().T
    if quant == "w8a8_dynamic":
        return W8A8Linear(values, scale)
    input_scale = torch.tensor([_LARGEST_ACTIVATION / 127])
    column_sums = values.sum(0, dtype=torch.int32)
    return W8A8Linear(
        values,
        input_scale * scale,
        input_scale=input_scale,
        input_offset=torch.tensor([_INPUT_OFFSET]),
        quant_bias=column_sums * int(-_INPUT_OFFSET),
    )


def rounding_error(layer: Linear, weight: torch.Tensor) -> float:
    """How far a layer's weight is from the one that it was made of, relative in Euclidean norm.

    Args:
        layer: W8A8, or a weight as it is.
        weight: [out, in], floating-point.
    """
    if not isinstance(layer, W8A8Linear):
        return 0.0
    scale = unpack_dequant_scale(layer.dequant_scale)
    if layer.input_scale is not None:
        scale = scale / layer.input_scale
    difference = norm = 0.0
    rows = max(1, _CHUNK // max(1, weight.shape[1]))
    for start in range(0, weight.shape[0], rows):
        of_chunk = slice(start, start + rows)
        exact = weight[of_chunk].float()
        rounded = layer.weight[:, of_chunk].T.float() * scale[of_chunk].unsqueeze(1)
        difference += float((rounded - exact).square().sum(dtype=torch.float64))
        norm += float(exact.square().sum(dtype=torch.float64))
    return 0.0 if difference == 0 else (difference / norm) ** 0.5 if norm else math.inf


def quantise_mla_weights(weights: MlaWeights, quant: str) -> MlaWeights:
    """The same rank's weights with qkv_a, q_b and o_proj quantised: see quantise_linear."""
    layers: dict[str, Any] = {
        name: quantise_linear(getattr(weights, name), quant) for name in _MLA_LINEARS
    }
    return dataclasses.replace(weights, **layers)


def quantise_indexer_weights(weights: IndexerWeights, quant: str) -> IndexerWeights:
    """The same weights with wq_b quantised: see quantise_linear. The others stay 16-bit."""
    assert isinstance(weights.wq_b, torch.Tensor)
    return dataclasses.replace(weights, wq_b=quantise_linear(weights.wq_b, quant))
