"""FRACTAL_NZ packing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ascend_prefetch.packing import nd_to_nz, nz_to_nd

WIDTHS = {torch.float16: 16, torch.bfloat16: 16, torch.int8: 32}


def counting(shape, dtype):
    """Distinct elements where the dtype has room for them."""
    return torch.arange(torch.Size(shape).numel()).remainder(251).sub(125).to(dtype).view(shape)


@pytest.mark.parametrize(("dtype", "c0"), WIDTHS.items())
def test_element_positions(dtype, c0):
    matrix = counting((5, 3 * c0), dtype)
    packed = nd_to_nz(matrix)
    assert packed.shape == (3, 5, c0)
    assert packed.is_contiguous()
    for row in range(5):
        for col in range(3 * c0):
            assert packed[col // c0, row, col % c0] == matrix[row, col]


@given(
    dtype=st.sampled_from(list(WIDTHS)),
    batch=st.lists(st.integers(1, 3), max_size=2),
    rows=st.integers(0, 40),
    strips=st.integers(0, 5),
    transposed=st.booleans(),
)
def test_round_trip(dtype, batch, rows, strips, transposed):
    cols = strips * WIDTHS[dtype]
    if transposed:
        matrix = counting((*batch, cols, rows), dtype).transpose(-1, -2)
    else:
        matrix = counting((*batch, rows, cols), dtype)
    packed = nd_to_nz(matrix)
    assert packed.shape == (*batch, strips, rows, WIDTHS[dtype])
    unpacked = nz_to_nd(packed)
    assert unpacked.is_contiguous()
    assert torch.equal(unpacked, matrix)


def test_round_trip_keeps_every_bit():
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    matrix = bits.view(torch.bfloat16).view(256, 256)  # NaN payloads and signed zeros included
    assert torch.equal(nz_to_nd(nd_to_nz(matrix)).view(torch.int16), bits.view(256, 256))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(16, 32), "matrix: expected float16, bfloat16 or int8, got torch.float32"),
        (torch.zeros(32, dtype=torch.half), r"matrix: expected at least 2 .*got shape \[32\]"),
        (torch.zeros(16, 24, dtype=torch.half), r"matrix: expected a multiple of 16 .*\[16, 24\]"),
        (torch.zeros(16, 48, dtype=torch.int8), r"matrix: expected a multiple of 32 .*\[16, 48\]"),
    ],
)
def test_nd_to_nz_rejects(tensor, message):
    with pytest.raises(ValueError, match=message):
        nd_to_nz(tensor)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(2, 4, 8), "packed: expected float16, bfloat16 or int8, got torch.float32"),
        (torch.zeros(4, 16, dtype=torch.half), r"packed: expected shape .*got shape \[4, 16\]"),
        (torch.zeros(2, 4, 32, dtype=torch.half), r"packed: .* rows, 16\] .*\[2, 4, 32\]"),
        (torch.zeros(2, 4, 16, dtype=torch.int8), r"packed: .* rows, 32\] .*\[2, 4, 16\]"),
    ],
)
def test_nz_to_nd_rejects(tensor, message):
    with pytest.raises(ValueError, match=message):
        nz_to_nd(tensor)
