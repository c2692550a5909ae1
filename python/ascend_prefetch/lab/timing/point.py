"""A measured point, and the kernel that represents it in the timing model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ascend_prefetch import _lab

METRICS = ("task", "aic_time", "mte2", "mac")

# Metrics that concern one pipe, with the model's name of that pipe.
_PIPES = {"mte2": "mte2", "mac": "cube"}

# Modelling 64 times a product of 1024^3 takes seconds, and this maximum takes minutes.
_MAX_PRODUCTS = 2**42
_MAX_LOADS = 2**25

# Rows that a product takes at a time (csrc/plan/plan_gemm.cpp).
_BLOCK_ROWS = 1024

# Rows whose quantisation is replayed at most, where products are not replayed whole.
_REPLAYED_ROWS = 4096

# Rows up to which CANN's int8 product reads its weight around L2: those of one tile.
# quant_batch_matmul_v3_pertoken_basic.h sets CACHE_MODE_DISABLE for the weight of a product with at
# most baseM rows (cann-ops-adv @015e205cdb5d, mirrored in yueliang13/cann-ops-adv-vllm). Measured
# times say the same: with up to 16 rows a byte of weights takes 0.69 us/MB where six of 8 to 34 MB
# rotate, and 0.60 where six of 50 to 120 MB do, which no L2 holds.
_ROWS_READ_AROUND_L2 = 128

_ELEMENT_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4, "int8": 1}


@dataclass(frozen=True)
class Copying:
    """How a copy traverses its matrix: its tiles, and how often each column slice is read."""

    tile_rows: int
    tile_bytes: int
    slices: int = 1
    repeats: int = 1


@dataclass(frozen=True)
class PointKernel:
    """The kernel that the twin runs dry in place of the measured one.

    Attributes:
        name: "copy_gm_ub", "copy_gm_l1", "gemm" or "quant_gemm": dynamic quantisation of the left
            matrix as a kernel of its own, then an int8 product with its dequantisation.
        soc: SoC name.
        cores: number of cores of the kernel's type; 0 for all.
        m, n, k: sizes of a product; m and n are the rows and columns of a copy's matrix, which has
            16-bit elements.
        dtype: "bf16", "fp16", "fp32" or "int8", the type of a product's factors. An int8 product
            ends with its dequantisation.
        nz: whether the weight is in FRACTAL_NZ.
        copying: how a copy traverses its matrix; None for a product.
        weights: what is in L2 when the kernel starts: 0 for nothing, otherwise what remains in the
            steady state of launches that read this many weights in turn, 1 for the same one.
    """

    name: str
    soc: str
    cores: int
    m: int
    n: int
    k: int = 0
    dtype: str = "fp16"
    nz: bool = False
    copying: Copying | None = None
    weights: int = 0

    def launches(self, replayed: int | None = None) -> list[PointLaunch]:
        """The kernel's launches, in order.

        Products of many rows take minutes. The planner's products take blocks of 1,024 rows one
        after the other, and each streams the whole weight, so a large product can be replayed for
        some of its blocks, and its time, without the launch, scaled to all rows. So can the
        quantisation, whose cores take rows one after the other. A product of 8192^3 comes out 9 %
        too fast this way, since a single block is split otherwise over the cores.

        Args:
            replayed: multiplications that are replayed at most; by default all of them.

        Raises:
            ValueError: the kernel does not support the shape, or it is too large to be modelled.
        """
        if self.copying is not None:
            return [PointLaunch(self._copy(self.copying))]
        rows = self.m
        if replayed is not None:
            blocks = max(1, replayed // (_BLOCK_ROWS * self.n * self.k))
            rows = min(self.m, blocks * _BLOCK_ROWS)
        _limit("products", rows * self.n * self.k, _MAX_PRODUCTS)
        product = PointLaunch(self._product(rows), self.m / rows)
        if self.name == "gemm":
            return [product]
        rows = self.m if replayed is None else min(self.m, _REPLAYED_ROWS)
        quantise = _lab.trace_quantise(self.soc, rows, self.k, bf16=True, cores=2 * self.cores)
        return [PointLaunch(quantise, self.m / rows), product]

    def _product(self, rows: int) -> bytes:
        if self.dtype == "int8":
            return _lab.trace_quant_matmul(self.soc, rows, self.n, self.k, self.nz, self.cores)
        # The kernels have no fp32. A product of bf16 twice as deep moves the same bytes; its cube
        # time is half of that of fp32, of which the cube does a quarter of the products in a cycle.
        depth, dtype = (2 * self.k, "bf16") if self.dtype == "fp32" else (self.k, self.dtype)
        return _lab.trace_matmul(self.soc, rows, self.n, depth, self.nz, dtype, self.cores)

    def _copy(self, copying: Copying) -> bytes:
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

    @property
    def products(self) -> int:
        """Multiplications of a product; 0 for a copy."""
        return 0 if self.copying is not None else self.m * self.n * self.k

    @property
    def around_l2(self) -> bool:
        """Whether the measured kernel reads its weight around L2, so that it never hits there.

        The project's own products read it through L2.
        """
        return self.dtype == "int8" and self.m <= _ROWS_READ_AROUND_L2

    @property
    def weight_bytes(self) -> int:
        """Bytes of a product's weight, or of a copy's matrix."""
        if self.copying is not None:
            return 2 * self.m * self.n
        return self.n * self.k * _ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True)
class PointLaunch:
    """One launch of a point.

    Attributes:
        trace: the kernel's trace.
        scale: factor of its time, the launch excluded.
    """

    trace: bytes
    scale: float = 1


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

    def modelled_us(
        self, launches: Sequence[PointLaunch], replays: Sequence[Mapping[str, Any]]
    ) -> float:
        """The point's metric, us, from the result of `_lab.Timeline.run` for each launch."""
        if self.metric in _PIPES:
            cores = "vector_busy" if self.kernel.name == "copy_gm_ub" else "cube_busy"
            times = [replay[cores][_PIPES[self.metric]] for replay in replays]
        else:
            times = [replay["end"] - replay["start"] for replay in replays]
        us = sum(launch.scale * time for launch, time in zip(launches, times, strict=True))
        if self.holds_launch:
            us += sum(replay["start"] - replay["launched"] for replay in replays)
        return us

    @property
    def holds_launch(self) -> bool:
        """Whether the modelled time includes the launch."""
        return self.launch_included and self.metric not in _PIPES


def _limit(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"expected at most {most} {what}, which take minutes, got {count}")
