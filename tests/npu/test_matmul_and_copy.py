"""The laboratory's kernels on a device: values, and how long they take, which is printed."""

import pytest
import torch
from device_calls import median_us

from ascend_prefetch.lab import microbenchmarks, reference

pytestmark = pytest.mark.npu


def test_matmul(npu, record_property):
    generator = torch.Generator().manual_seed(7)
    a, weight = (torch.randn(size, generator=generator) for size in [(16, 7168), (2112, 7168)])
    a, weight = a.bfloat16(), weight.bfloat16()
    on_device = a.npu(), weight.npu()
    found = microbenchmarks.matmul(*on_device).cpu()
    assert reference.relative_error(found, a.double() @ weight.double().T) < 2**-8
    us = median_us(npu, lambda: microbenchmarks.matmul(*on_device))
    record_property("us", us)
    print(f"matmul of 30 MB: {us:.1f} us")


@pytest.mark.parametrize("to_l1", [False, True])
def test_copy(npu, to_l1, record_property):
    """302 MB, as in the published measurements of copies (arch/chip.h: ADx data_copy)."""
    matrix = torch.zeros(9216, 16384, dtype=torch.bfloat16, device="npu")
    us = median_us(
        npu,
        lambda: microbenchmarks.copy(matrix, tile_rows=16, tile_bytes=512, slices=1, to_l1=to_l1),
    )
    record_property("us", us)
    print(f"302 MB {'to L1' if to_l1 else 'to UB'}: {us:.1f} us, {302 / us:.2f} TB/s")
