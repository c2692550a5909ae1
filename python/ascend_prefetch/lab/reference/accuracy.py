"""How far a result is from its float64 value."""

from __future__ import annotations

import math

import torch

from ._tensors import check_shape


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Euclidean norm of actual - expected, divided by that of expected, over all elements.

    Returns:
        The error; infinite if either tensor holds NaN or infinity, or if `expected` is all zero
        and `actual` is not.

    Raises:
        ValueError: the shapes differ.
    """
    check_shape("actual", actual, expected.shape)
    expected = expected.double()
    difference = torch.linalg.vector_norm(actual.double() - expected).item()
    norm = torch.linalg.vector_norm(expected).item()
    if not (math.isfinite(difference) and math.isfinite(norm)):
        return math.inf
    if norm == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / norm


def ulp_distance(actual: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """The absolute error in units in the last place (ulp) of the dtype of `actual`.

    The unit is the gap between neighbouring numbers of that dtype at `expected`: 2^(e - p) for
    2^e <= abs(expected) < 2^(e + 1) and p explicit mantissa bits; below the smallest normal number
    it is the gap at that number. A correctly rounded result is at most half a unit away.

    Args:
        actual: bfloat16, float16, float32 or float64.
        expected: the same shape, any floating-point dtype; the float64 value.

    Returns:
        float64 of that shape; infinite where either value is NaN or infinite.

    Raises:
        ValueError: the shapes differ, or `actual` is not floating-point.
    """
    if not actual.dtype.is_floating_point:
        raise ValueError(f"actual: expected a floating-point dtype, got {actual.dtype}")
    check_shape("actual", actual, expected.shape)
    expected = expected.double()
    info = torch.finfo(actual.dtype)
    # frexp's mantissa lies in [0.5, 1), hence the - 1; for zero it returns the exponent 0.
    exponent = torch.frexp(expected).exponent.long() - 1
    smallest = math.frexp(info.smallest_normal)[1] - 1
    exponent = torch.where(expected == 0, smallest, exponent.clamp(min=smallest))
    mantissa_bits = 1 - math.frexp(info.eps)[1]
    difference = (actual.double() - expected).abs()
    distance = difference * _power_of_two(mantissa_bits - exponent)
    return torch.where(actual.isfinite() & expected.isfinite(), distance, math.inf)


def _power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """2 ** exponent in float64, exactly; exponents of normal numbers."""
    return ((exponent.clamp(-1022, 1023) + 1023) << 52).view(torch.float64)
