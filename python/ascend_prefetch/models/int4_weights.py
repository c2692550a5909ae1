"""Weights that a checkpoint stores in 4 bits: W4A8_DYNAMIC of msmodelslim.

`weight` is int8 [out, in], a number from -8 to 7 in each element, or [out / 2, in] with two of
them, the even output in the low half (msmodelslim, format "1.0.0"). The scales are either one per
output, weight_scale [out, 1], or also one per group of inputs, weight_scale_second [out, groups],
which multiplies the first. Offsets are zeros.

The ops have no int4 weights. With scales per output the numbers become an int8 weight, whose
products and sums are the same integers. With scales per group no int8 product is the same: the
layer becomes a 16-bit weight, as vllm-ascend multiplies it too (quantization/methods/w4a8.py leaves
the activations of such linear layers unquantised, and multiplies weights by their scales first).
"""

from __future__ import annotations

import torch

TYPE = "W4A8_DYNAMIC"
"""Its name in quant_model_description.json."""


def is_packed(name: str, shape: tuple[int, ...], weight: tuple[int, int]) -> bool:
    """Whether an element holds two numbers.

    Args:
        name: name of the tensor in errors.
        shape: its shape.
        weight: (out, in).

    Raises:
        ValueError: the tensor has neither one number in an element nor two.
    """
    rows, columns = weight
    if shape == weight:
        return False
    if rows % 2 == 0 and shape == (rows // 2, columns):
        return True
    raise ValueError(
        f"{name}: expected numbers of 4 bits, {[rows, columns]} or two in an element, "
        f"{[rows // 2, columns]}, got shape {list(shape)}"
    )


def packed_rows(name: str, rows: slice, count: int) -> slice:
    """The rows of a packed weight that hold some of its outputs.

    Raises:
        ValueError: they do not begin or end with a row.
    """
    start, stop = rows.start or 0, count if rows.stop is None else rows.stop
    if start % 2 or stop % 2:
        raise ValueError(
            f"{name}: expected an even number of outputs per rank, got {start} to {stop}: two "
            "outputs share an element; choose another tp_size"
        )
    return slice(start // 2, stop // 2)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """[2 * rows, columns] int8 of -8 to 7 from [rows, columns] with two numbers in an element."""
    low = (packed << 4) >> 4  # int8 shifts keep the sign
    return torch.stack([low, packed >> 4], dim=1).flatten(0, 1)
