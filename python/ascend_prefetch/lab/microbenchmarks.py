"""Kernels for measuring a chip, as ops of torch.ops.ascend_prefetch_lab.

They run where their tensors are: on the twin, or on an NPU with the laboratory's own device code.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ascend_prefetch import _C, _lab

KERNELS = Path(__file__).with_name("kernels")
"""Folder of the laboratory's device code; a build with a toolkit fills it."""


def connect(kernels: Path = KERNELS) -> None:
    """Registers the laboratory's kernels for tensors of the loaded device; importing calls it.

    Args:
        kernels: folder of device code.
    """
    _lab.set_npu(_C.loaded_device(), str(kernels))


def matmul(a: torch.Tensor, weight: torch.Tensor, *, cores: int | None = None) -> torch.Tensor:
    """a @ weight.T on the cube cores alone, as a separate kernel.

    Args:
        a: [m, k] bfloat16 or float16, contiguous.
        weight: [n, k], or FRACTAL_NZ [k / 16, n, 16], the dtype of a.
        cores: number of cube cores, from 1 to all of the chip's; by default all.

    Returns:
        [m, n], summed in float32.

    Raises:
        RuntimeError: wrong shape, dtype or device.
        ValueError: the kernel does not support a size, or the chip has fewer cores.
    """
    return torch.ops.ascend_prefetch_lab.matmul(a, weight, cores=cores)


def copy(
    matrix: torch.Tensor,
    *,
    tile_rows: int,
    tile_bytes: int,
    slices: int = 1,
    repeats: int = 1,
    to_l1: bool = False,
    cores: int | None = None,
) -> None:
    """Reads a matrix tile by tile and discards it, to measure the memory system.

    Args:
        matrix: [rows, columns] of any dtype, contiguous.
        tile_rows: number of rows of a transfer.
        tile_bytes: bytes of each row of a transfer, a multiple of 32 that divides a slice of a row.
        slices: number of column slices, which are read one after the other.
        repeats: number of times that each slice is read.
        to_l1: whether cube cores load into L1 with ND2NZ, rather than vector cores into UB.
        cores: number of cores of that type, from 1 to all; by default all.

    Raises:
        RuntimeError: wrong shape or device.
        ValueError: the tiles do not fit, or the chip has fewer cores.
    """
    torch.ops.ascend_prefetch_lab.copy(
        matrix,
        tile_rows=tile_rows,
        tile_bytes=tile_bytes,
        slices=slices,
        repeats=repeats,
        to_l1=to_l1,
        cores=cores,
    )


connect()
