"""A measured point, and the kernel that stands for it in the timing model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ascend_prefetch import _lab

METRICS = ("task", "aic_time", "mte2", "mac")

# Metrics of one pipe, by the name that the model gives it.
_PIPES = {"mte2": "mte2", "mac": "cube"}

# 64 times a product of 1024^3 is modelled in seconds, this in minutes.
_MOST_PRODUCTS = 2**42
_MOST_LOADS = 2**25


@dataclass(frozen=True)
class Copying:
    """How a copy goes over its matrix: tiles, and how often each part of the columns is read."""

    tile_rows: int
    tile_bytes: int
    slices: int = 1
    repeats: int = 1


@dataclass(frozen=True)
class Kernel:
    """What the twin runs dry in place of the measured kernel, without anything in L2.

    Attributes:
        name: "copy_gm_ub", "copy_gm_l1" or "gemm".
        soc: SoC name.
        cores: cores of the kernel's type; 0 for all.
        m, n, k: of a gemm; rows and columns of the matrix of a copy, of 16-bit elements.
        bf16: the type of a gemm, else fp16.
        nz: the weight is FRACTAL_NZ.
        copying: of a copy.
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
            ValueError: a shape that the kernel does not take, or one too large to be modelled.
        """
        if self.copying is None:
            _limit("products", self.m * self.n * self.k, _MOST_PRODUCTS)
            return _lab.trace_matmul(
                self.soc, self.m, self.n, self.k, self.nz, self.bf16, self.cores
            )
        copying = self.copying
        size = 2 * self.m * self.n * copying.repeats
        _limit("loads", size // (copying.tile_rows * copying.tile_bytes), _MOST_LOADS)
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
        id: its name.
        kernel: what was measured.
        metric: "task" and "aic_time" are the whole kernel, "mte2" and "mac" what that pipe worked,
            the mean of the kernel's cores.
        measured_us: what was measured.
        launch_included: whether that holds launch and start.
    """

    id: str
    kernel: Kernel
    metric: str
    measured_us: float
    launch_included: bool

    def modelled_us(self, times: Mapping[str, Any]) -> float:
        """The point's metric out of what `_lab.Timeline.run` says about its kernel."""
        if self.metric in _PIPES:
            cores = "vector_busy" if self.kernel.name == "copy_gm_ub" else "cube_busy"
            return times[cores][_PIPES[self.metric]]
        return times["us"] if self.launch_included else times["end"] - times["start"]

    @property
    def holds_launch(self) -> bool:
        """Whether the modelled time has the launch in it."""
        return self.launch_included and self.metric not in _PIPES


def _limit(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"expected at most {most} {what}, which take minutes, got {count}")
