"""A measured point, and the kernel that represents it in the timing model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ascend_prefetch import _lab

METRICS = ("task", "aic_time", "mte2", "mac")

# Metrics that concern one pipe, with the model's name of that pipe.
_PIPES = {"mte2": "mte2", "mac": "cube"}

# Modelling 64 times a product of 1024^3 takes seconds, and this maximum takes minutes.
_MAX_PRODUCTS = 2**42
_MAX_LOADS = 2**25


@dataclass(frozen=True)
class Copying:
    """How a copy traverses its matrix: its tiles, and how often each column slice is read."""

    tile_rows: int
    tile_bytes: int
    slices: int = 1
    repeats: int = 1


@dataclass(frozen=True)
class PointKernel:
    """The kernel that the twin runs dry in place of the measured one, with an empty L2.

    Attributes:
        name: "copy_gm_ub", "copy_gm_l1" or "gemm".
        soc: SoC name.
        cores: number of cores of the kernel's type; 0 for all.
        m, n, k: sizes of a gemm; m and n are the rows and columns of a copy's matrix, which has
            16-bit elements.
        bf16: whether a gemm is in bf16 rather than fp16.
        nz: whether the weight is in FRACTAL_NZ.
        copying: how a copy traverses its matrix; None for a gemm.
    """

    name: str
    soc: str
    cores: int
    m: int
    n: int
    k: int = 0
    bf16: bool = False
    nz: bool = False
    copying: Copying | None = None

    def trace(self) -> bytes:
        """The kernel's trace.

        Raises:
            ValueError: the kernel does not support the shape, or it is too large to be modelled.
        """
        if self.copying is None:
            _limit("products", self.m * self.n * self.k, _MAX_PRODUCTS)
            return _lab.trace_matmul(
                self.soc, self.m, self.n, self.k, self.nz, self.bf16, self.cores
            )
        copying = self.copying
        size = 2 * self.m * self.n * copying.repeats
        _limit("loads", size // (copying.tile_rows * copying.tile_bytes), _MAX_LOADS)
        return _lab.trace_copy(
            self.soc,
            self.m,
            2 * self.n,
            copying.tile_rows,
            copying.tile_bytes,
            copying.slices,
            copying.repeats,
            self.name == "copy_gm_l1",
            self.cores,
        )


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        id: name of the point.
        kernel: the measured kernel.
        metric: "task" and "aic_time" are the time of the whole kernel; "mte2" and "mac" are the
            busy time of that pipe, the mean over the kernel's cores.
        measured_us: the measured time.
        launch_included: whether the measured time includes launch and start.
    """

    id: str
    kernel: PointKernel
    metric: str
    measured_us: float
    launch_included: bool

    def modelled_us(self, times: Mapping[str, Any]) -> float:
        """The point's metric, from the result of `_lab.Timeline.run` for its kernel."""
        if self.metric in _PIPES:
            cores = "vector_busy" if self.kernel.name == "copy_gm_ub" else "cube_busy"
            return times[cores][_PIPES[self.metric]]
        return times["us"] if self.launch_included else times["end"] - times["start"]

    @property
    def holds_launch(self) -> bool:
        """Whether the modelled time includes the launch."""
        return self.launch_included and self.metric not in _PIPES


def _limit(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"expected at most {most} {what}, which take minutes, got {count}")
