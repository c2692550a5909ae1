"""Errors of results: norm-wise and in units in the last place."""

import math

import pytest
import torch

from ascend_prefetch.lab.reference import relative_error, ulp_distance

DTYPES = (torch.bfloat16, torch.float16)


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.5], [3.0, 4.0], 0.1),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, 0.0], [0.0, 0.0], math.inf),
        ([math.nan, 4.0], [3.0, 4.0], math.inf),
        ([3.0, 4.0], [math.nan, 4.0], math.inf),
        ([math.nan, 4.0], [math.nan, 4.0], math.inf),
        ([math.inf, 4.0], [3.0, 4.0], math.inf),
        ([3.0, 4.0], [math.inf, 4.0], math.inf),
        ([], [], 0.0),
    ],
)
def test_relative_error(actual, expected, error):
    assert relative_error(torch.tensor(actual), torch.tensor(expected)) == pytest.approx(error)


def finite_values(dtype):
    """Every finite value that is not negative, in order."""
    values = torch.arange(2**15, dtype=torch.int16).view(dtype)
    return values[values.isfinite()]


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_are_one_ulp_apart(dtype):
    values = finite_values(dtype)
    for sign in (1, -1):
        above, below = sign * values[1:], sign * values[:-1]
        assert (ulp_distance(above, below.double()) == 1).all()
        # Seen from a power of two, the neighbour below is half as far away.
        distance = ulp_distance(below, above.double())
        power = torch.frexp(above.double().abs()).mantissa == 0.5
        normal = above.double().abs() > torch.finfo(dtype).smallest_normal
        assert torch.equal(distance, torch.where(power & normal, 0.5, 1.0).double())


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float32])
def test_rounding_is_at_most_half_an_ulp(dtype):
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-30, 14, (20000,), generator=generator)
    expected = torch.randn(20000, generator=generator, dtype=torch.float64) * 2.0**exponents
    distance = ulp_distance(expected.to(dtype), expected)
    assert distance.max() <= 0.5
    assert distance.max() > 0.49


def test_by_hand():
    expected = torch.tensor([1.0, 1.0, 1.999, 0.0, 0.0, 1e-300, 3.0], dtype=torch.float64)
    actual = torch.tensor([1.0, 1.015625, 2.0, 0.0, 2.0**-24, 0.0, -3.0], dtype=torch.float16)
    distance = ulp_distance(actual, expected)
    assert distance.tolist() == pytest.approx([0, 16, 0.001 * 2**10, 0, 1, 0, 6 * 2**9])


def test_not_finite_is_infinitely_far():
    inf, nan = math.inf, math.nan
    actual = torch.tensor([inf, nan, 1.0, 1.0, inf], dtype=torch.bfloat16)
    expected = torch.tensor([1.0, 1.0, nan, inf, inf])
    assert (ulp_distance(actual, expected) == inf).all()
    assert ulp_distance(actual[:0], expected[:0]).shape == (0,)


def test_rejects():
    with pytest.raises(ValueError, match="^actual: expected a floating-point dtype, got .*int8$"):
        ulp_distance(torch.zeros(3, dtype=torch.int8), torch.zeros(3))
    with pytest.raises(ValueError, match=r"^actual: expected shape \[3\], got \[1, 3\]$"):
        ulp_distance(torch.zeros(1, 3), torch.zeros(3))
