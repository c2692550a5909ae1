"""Packing of FRACTAL_NZ matrices and of dequantisation scales."""

import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ascend_prefetch.packing import (
    nd_to_nz,
    nz_to_nd,
    pack_dequant_scale,
    unpack_dequant_scale,
)

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


def test_round_trip_keeps_every_int8():
    """A W8A8 weight [in, out], every value in every lane of a strip."""
    size, out = 256, 64
    matrix = (torch.arange(size).view(-1, 1) + torch.arange(out)).to(torch.int8)
    packed = nd_to_nz(matrix)
    assert packed.shape == (out // 32, size, 32)
    assert torch.equal(packed[1, :, 5], matrix[:, 37])
    assert torch.equal(nz_to_nd(packed), matrix)


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


@given(st.lists(st.floats(width=32), max_size=20))
def test_packed_scales(values):
    scale = torch.tensor(values, dtype=torch.float32)
    packed = pack_dequant_scale(scale)
    assert packed.dtype == torch.int64
    assert packed.shape == scale.shape
    for word, value in zip(packed.tolist(), scale.tolist(), strict=True):
        assert word == int.from_bytes(struct.pack("<f", value), "little")
    unpacked = unpack_dequant_scale(packed)
    assert torch.equal(unpacked.view(torch.int32), scale.view(torch.int32))


def test_scales_as_npu_trans_quant_param_packs_them():
    """19 bits of the float32, and bit 46 set."""
    scale = torch.tensor([0.1, 3.0])
    bits = scale.view(torch.int32) & ~0x1FFF
    packed = bits.long() | 1 << 46
    assert torch.equal(unpack_dequant_scale(packed), bits.view(torch.float32))
    assert unpack_dequant_scale(packed)[1] == 3.0
    assert unpack_dequant_scale(scale) is scale


def test_scales_reject():
    with pytest.raises(ValueError, match="^scale: expected float32, got torch.float16$"):
        pack_dequant_scale(torch.ones(2).half())
    with pytest.raises(ValueError, match="^scale: expected float32 or int64, got torch.int32$"):
        unpack_dequant_scale(torch.ones(2).int())
