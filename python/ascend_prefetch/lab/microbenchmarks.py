"""Kernels that a chip is measured with, as ops of torch.ops.ascend_prefetch_lab.

They run where their tensors are: on the twin, or on an NPU with the laboratory's own device code.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ascend_prefetch import _C, _lab

KERNELS = Path(__file__).with_name("kernels")
"""The laboratory's device code, which a build with a toolkit puts here."""


def connect(kernels: Path = KERNELS) -> None:
    """Sends tensors of the device that is loaded to it, those of no other; importing does so once.

    Args:
        kernels: folder of device code.
    """
    _lab.set_npu(_C.loaded_device(), str(kernels))


def matmul(a: torch.Tensor, weight: torch.Tensor, *, cores: int | None = None) -> torch.Tensor:
    """a @ weight.T by the cube cores alone, as a kernel of its own.

    Args:
        a: [m, k] bfloat16 or float16, contiguous.
        weight: [n, k], or FRACTAL_NZ [k / 16, n, 16], the dtype of a.
        cores: cube cores, 1 to all of the chip; by default all.

    Returns:
        [m, n], summed in float32.

    Raises:
        RuntimeError: another shape, dtype or device.
        ValueError: a size that the kernel does not take, or cores that the chip does not have.
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
    """Reads a matrix tile by tile and discards it: what the memory system does for one kernel.

    Args:
        matrix: [rows, columns] of any dtype, contiguous.
        tile_rows: rows of a transfer.
        tile_bytes: bytes of each of them, a multiple of 32 that divides a slice of a row.
        slices: the columns are read in so many parts, one after the other.
        repeats: times that each part is read.
        to_l1: by cube cores, with ND2NZ; else by vector cores.
        cores: 1 to all of that type; by default all.

    Raises:
        RuntimeError: another shape or device.
        ValueError: tiles that do not fit, or cores that the chip does not have.
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
