"""What every pipe does when, and what HBM and L2 deliver meanwhile: modelled, never measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, cast

from .sequence import Step, replay

# As csrc/twin/include/twin/trace_format.h numbers them.
_PIPES = ("S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX")
_OPS = ("load", "store", "move", "mmad", "fixpipe", "vector")

TRANSFERS = ("load", "store", "fixpipe")
"""Operations that move bytes from or to GM."""


class KernelBytes(TypedDict):
    """Bytes of a kernel, in whole lines of L2: of HBM, and of reads and writes by cores."""

    hbm_read: int
    hbm_written: int
    l2_hit: int
    written: int


class Interval(NamedTuple):
    """When a pipe worked on an instruction.

    Attributes:
        core: AICs first, then AIVs.
        pipe: "MTE2", "V", ...
        op: "load", "mmad", ...
        start: us since the sequence began, as is `end`.
        tensor: of a transfer, else "".
        bytes: of a transfer, else 0.
        site: file and line of the kernel.
        hbm_read: its share of the kernel's, as are hbm_written, l2_hit and written.
    """

    core: int
    pipe: str
    op: str
    start: float
    end: float
    tensor: str
    bytes: int
    site: str
    hbm_read: int
    hbm_written: int
    l2_hit: int
    written: int


class Rates(NamedTuple):
    """Bytes per us from `time` on, until the next change; SDMA's are among them."""

    time: float
    hbm_read: float
    hbm_written: float
    l2_hit: float
    written: float


class SdmaTransfer(NamedTuple):
    """A piece of a prefetch by the SDMA engine: us, bytes."""

    start: float
    end: float
    bytes: int
    hbm_read: int
    l2_hit: int


@dataclass(frozen=True)
class KernelTimeline:
    """One kernel of a sequence.

    Attributes:
        kernel: name of the launch.
        launched: us since the sequence began, as are `start` and `end`; the launch begins where
            the kernel before it ended.
        bytes: what it moved.
        aic_count: cores below it are AICs.
        intervals: in the order in which they ended.
    """

    kernel: str
    launched: float
    start: float
    end: float
    bytes: KernelBytes
    aic_count: int
    intervals: list[Interval]

    def is_cube(self, interval: Interval) -> bool:
        """Whether it is of an AIC."""
        return interval.core < self.aic_count


@dataclass(frozen=True)
class Timeline:
    """Kernels one after the other, with L2 empty at first.

    Attributes:
        kernels: in order.
        rates: of HBM and L2, whenever they change, in order of time.
        sdma: what the SDMA engine did beside them.
        prefetched: the tensors that vector cores may prefetch.
        hbm_rate: what HBM delivers at most, bytes per us.
    """

    kernels: list[KernelTimeline]
    rates: list[Rates]
    sdma: list[SdmaTransfer]
    prefetched: Collection[str]
    hbm_rate: float

    @property
    def end(self) -> float:
        """When the last kernel ended, us."""
        return self.kernels[-1].end

    def transfers(self) -> Iterator[Interval]:
        """All transfers of cores."""
        for kernel in self.kernels:
            yield from (interval for interval in kernel.intervals if interval.op in TRANSFERS)

    def is_prefetch(self, kernel: KernelTimeline, interval: Interval) -> bool:
        """Whether a vector core loads a weight: they compute nothing with those."""
        of_vector = interval.op == "load" and not kernel.is_cube(interval)
        return of_vector and interval.tensor in self.prefetched

    def prefetches(self) -> list[tuple[float, int]]:
        """When the bytes of each prefetch had come, and how many, in order of time."""
        loads = [(piece.end, piece.bytes) for piece in self.sdma]
        for kernel in self.kernels:
            loads += [
                (interval.end, interval.bytes)
                for interval in kernel.intervals
                if self.is_prefetch(kernel, interval)
            ]
        return sorted(loads)


def model_timeline(model: Any, steps: Sequence[Step], prefetched: Collection[str]) -> Timeline:
    """Replays kernels, and readers that stand for others, one after the other.

    Args:
        model: of TimedChip.timeline(); what was handed to its SDMA engine runs beside them.
        steps: of the sequence.
        prefetched: the tensors that vector cores may prefetch.

    Raises:
        ValueError: there is nothing to replay, or a trace that is none or does not fit the model.
    """
    kernels, rates = [], []
    for times in replay(model, steps, intervals=True):
        kernels.append(_kernel_timeline(times))
        rates += [Rates(*change) for change in times["rate_changes"]]
    if not kernels:
        raise ValueError("expected one or more kernels, got none")
    sdma = [SdmaTransfer(*piece) for piece in model.sdma_transfers]
    return Timeline(kernels, rates, sdma, prefetched, model.hbm_rate)


def _kernel_timeline(times: dict[str, Any]) -> KernelTimeline:
    intervals = [
        Interval(core, _PIPES[pipe], _OPS[op], *rest)
        for core, pipe, op, *rest in times["intervals"]
    ]
    return KernelTimeline(
        kernel=times["kernel"],
        launched=times["launched"],
        start=times["start"],
        end=times["end"],
        bytes=cast(KernelBytes, times["bytes"]),
        aic_count=times["aic_count"],
        intervals=intervals,
    )


def mean_rates(timeline: Timeline, name: str, bin_us: float, bins: int) -> list[float]:
    """Means of the rate `name` of Rates in each of `bins` bins from 0 on, bytes per us."""
    sums = [0.0] * bins
    ends = [*(rates.time for rates in timeline.rates[1:]), timeline.end]
    for rates, end in zip(timeline.rates, ends, strict=True):
        rate = getattr(rates, name)
        if rate == 0:
            continue
        start = rates.time
        for index in range(int(start / bin_us), min(bins - 1, int(end / bin_us)) + 1):
            inside = min(end, (index + 1) * bin_us) - max(start, index * bin_us)
            sums[index] += rate * max(0.0, inside)
    return [total / bin_us for total in sums]
