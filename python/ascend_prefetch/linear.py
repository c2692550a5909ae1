"""Linear layers as the ops take them: a 16-bit weight, or W8A8."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from ascend_prefetch.packing import nd_to_nz, unpack_dequant_scale


@dataclass(frozen=True)
class W8A8Linear:
    """A linear layer with int8 weights and int8 activations.

    y = (q(x) @ weight + quant_bias) * dequant_scale, times the token's scale if dynamic. Static
    layers quantise x with input_scale and input_offset; dynamic layers find a scale for every
    token. ascend_prefetch.lab.reference.quant has the exact arithmetic.

    Attributes:
        weight: [in, out] int8.
        dequant_scale: [out] float32, or packed into int64. In a static layer it is input_scale
            times the scales of the weight's columns; in a dynamic one, those scales alone.
        input_scale: [1] float32; None for a dynamic layer.
        input_offset: [1] float32, or None for 0; static only.
        quant_bias: [out] int32, or None for 0.
    """

    weight: torch.Tensor
    dequant_scale: torch.Tensor
    input_scale: torch.Tensor | None = None
    input_offset: torch.Tensor | None = None
    quant_bias: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors that are there, by name."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: tensor for name, tensor in fields.items() if tensor is not None}

    def float_weight(self) -> torch.Tensor:
        """[out, in] float32, the weight that the int8 values and their scales stand for."""
        scale = unpack_dequant_scale(self.dequant_scale)
        if self.input_scale is not None:
            scale = scale / self.input_scale
        return self.weight.float().mul_(scale).T.contiguous()


Linear = torch.Tensor | W8A8Linear
"""A 16-bit weight [out, in], or a W8A8 layer."""


def linear_shape(layer: Linear) -> tuple[int, ...]:
    """(out, in) of a layer whose weight is row-major."""
    if isinstance(layer, W8A8Linear):
        return tuple(reversed(layer.weight.shape))
    return tuple(layer.shape)


def linear_to_nz(layer: Linear) -> Linear:
    """The layer with its weight in FRACTAL_NZ; the scales stay as they are."""
    if isinstance(layer, W8A8Linear):
        return dataclasses.replace(layer, weight=nd_to_nz(layer.weight))
    return nd_to_nz(layer)


def stored_weight(layer: Linear) -> torch.Tensor:
    """The tensor that holds the weight, for a 16-bit and a W8A8 layer alike."""
    return layer.weight if isinstance(layer, W8A8Linear) else layer


def quant_arguments(layer: Linear, prefix: str = "") -> dict[str, torch.Tensor]:
    """The arguments that an op takes beside the weight of a W8A8 layer, by name.

    Args:
        layer: the layer; a 16-bit weight has no further arguments.
        prefix: the op's prefix of the names: `"qkv_a_"`, or nothing for o_proj.
    """
    if not isinstance(layer, W8A8Linear):
        return {}
    return {prefix + name: t for name, t in layer.tensors().items() if name != "weight"}
