"""Random W8A8 layers and the checks of what they give, for the tests of all ops."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ascend_prefetch.lab import reference
from ascend_prefetch.lab.reference import ulp_distance
from ascend_prefetch.linear import (
    Linear,
    W8A8Linear,
    linear_to_nz,
    quant_arguments,
    stored_weight,
)
from ascend_prefetch.packing import pack_dequant_scale
from mla_cases import MlaInputs, MlaResult
from sfa_cases import SfaInputs

# Units in the last place between a dequantised result and the float64 value of its exact sums.
ULP_BOUNDS = {torch.bfloat16: 1.0, torch.float16: 2.0}
# Roundings of fp32 between a sum and its result: conversion, two scales, a bias; and one of the
# float64 value's own factors.
_FP32_ROUNDINGS = 6

# The linear layers of the prologs, and what the ops put before the names of their scales.
PREFIXES = {
    "qkv_a_weight": "qkv_a_",
    "q_b_weight": "q_b_",
    "indexer_wq_b": "indexer_wq_b_",
}

_INT8_STD = (255**2 / 12) ** 0.5  # of a uniformly random int8 value


@dataclass(frozen=True)
class W8A8Case:
    """What a W8A8 layer comes with."""

    static: bool = True
    offset: bool = False  # an input_offset, of static layers
    bias: bool = False  # a quant_bias
    packed: bool = False  # dequant_scale in the int64 form

    @property
    def name(self) -> str:
        """Such as "static+offset+bias"."""
        options = [name for name in ("offset", "bias", "packed") if getattr(self, name)]
        return "+".join(["static" if self.static else "dynamic", *options])


STATIC = W8A8Case(offset=True, bias=True)
DYNAMIC = W8A8Case(static=False, bias=True)
ALL_W8A8 = [
    W8A8Case(static=static, offset=offset, bias=bias, packed=packed)
    for static in (True, False)
    for offset in (True, False)
    for bias in (True, False)
    for packed in (True, False)
    if static or not offset
]


def random_w8a8(
    generator: torch.Generator, out: int, size: int, case: W8A8Case, x_std: float = 1.0
) -> W8A8Linear:
    """A layer with weights all over int8 that takes activations of x_std to about unit variance.

    The scales of its columns differ by up to four times, so that one taken for another shows.
    """
    weight = torch.randint(-128, 128, (size, out), generator=generator, dtype=torch.int8)
    column_scale = torch.empty(out).uniform_(0.5, 2.0, generator=generator)
    column_scale /= _INT8_STD * size**0.5 * x_std
    input_scale = torch.tensor([x_std / 30]) if case.static else None  # 4 sigma are inside int8
    scale = column_scale * input_scale if case.static else column_scale
    # A few thousand to a few hundred thousand: as large as the sums of the products.
    most = int(30 * _INT8_STD * size**0.5)
    quant_bias = torch.randint(-most, most, (out,), generator=generator, dtype=torch.int32)
    offset = torch.empty(1).uniform_(-20, 20, generator=generator)
    return W8A8Linear(
        weight,
        high_bits(scale, generator) if case.packed else scale,
        input_scale=input_scale,
        input_offset=offset if case.static and case.offset else None,
        quant_bias=quant_bias if case.bias else None,
    )


def high_bits(scale: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The scales packed, with bits in the high half that mean nothing here."""
    high = torch.randint(0, 1 << 31, scale.shape, generator=generator)
    return pack_dequant_scale(scale) | high << 32


def set_layer(inputs: MlaInputs, name: str, layer: Linear) -> None:
    """Replaces a linear layer of a prolog's inputs, in the case's layout."""
    inputs.nd[name] = layer
    packed = linear_to_nz(layer) if name in inputs.case.nz else layer
    inputs.arguments[name] = stored_weight(packed)
    inputs.arguments |= quant_arguments(layer, PREFIXES[name])


def quantise_layers(inputs: MlaInputs, quants: dict[str, W8A8Case], seed: int) -> None:
    """Replaces the named layers of a prolog's inputs by random W8A8 ones of the same shape."""
    generator = torch.Generator().manual_seed(seed)
    for name, case in quants.items():
        # The latent, which all but the first layer take, has about unit variance.
        latent = name == "indexer_wq_b" or (name == "q_b_weight" and inputs.case.q_lora > 0)
        x_std = 1.0 if latent else inputs.case.hidden_scale
        set_layer(inputs, name, random_w8a8(generator, *inputs.nd[name].shape, case, x_std))


def expected_behind(inputs: MlaInputs, result: MlaResult) -> dict[str, torch.Tensor]:
    """The float64 results for MlaResult.tensors(), of layers that take the op's own latent.

    With it, W8A8 layers behind the latent quantise the very values that the op quantised.
    """
    case = inputs.case
    options = {
        "eps": case.eps,
        "rope_interleaved": case.rope_interleaved,
        "q_c": result.tensors()["q_c"] if case.q_lora else None,
    }
    if not isinstance(inputs, SfaInputs):
        return inputs.named(reference.mla_prolog(**inputs.nd, **options))
    mla, indexer = reference.sfa_prolog(
        **inputs.nd,
        **options,
        indexer_eps=case.indexer_eps,
        indexer_rope_interleaved=case.indexer_rope_interleaved,
    )
    expected = inputs.named(mla)
    if indexer is not None:
        expected["indexer_q"] = indexer.q
        expected["indexer_weights"] = indexer.weights
        expected["indexer_cache"] = indexer.k[inputs.slots >= 0]
    return expected


def norm_bias(inputs: MlaInputs, name: str) -> torch.Tensor | None:
    """What a norm adds to the result of that name; None without a bias."""
    biases = {"q_c": "q_a_norm_bias", "kv_cache": "kv_a_norm_bias"}
    return inputs.nd[biases[name]] if name in biases else None


def check_dequantised(
    name: str, actual: torch.Tensor, expected: torch.Tensor, addend: torch.Tensor | None = None
) -> None:
    """Every element is within the ulps of its dtype of the float64 value.

    Args:
        name: what is checked.
        actual: bfloat16 or float16.
        expected: the float64 value of the exact sums, addend included.
        addend: what fp32 added to the dequantised sums: where it cancels them, the roundings of
            the sums remain.
    """
    assert actual.isfinite().all(), f"{name}: not finite"
    allowed = ULP_BOUNDS[actual.dtype] * _ulp(expected, actual.dtype)
    if addend is not None:
        operands = (expected - addend.double()).abs() + addend.double().abs()
        allowed = allowed + _FP32_ROUNDINGS * 2.0**-24 * operands
    wrong = (actual.double() - expected).abs() > allowed
    if wrong.any():
        worst = ulp_distance(actual, expected)[wrong].max().item()
        raise AssertionError(
            f"{name}: {int(wrong.sum())} of {wrong.numel()} elements are up to {worst:.2f} ulp off"
        )


def _ulp(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The gap between the neighbours of x in dtype, float64."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(x.abs().clamp(min=info.smallest_normal)).exponent - 1
    return torch.ldexp(torch.full_like(x, info.eps), exponent)
