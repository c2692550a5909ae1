"""The work of every pipe and the rates of HBM and L2 over time: modelled, never measured."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, cast

from .sequence import SequenceStep, replay

# In the order of their numbers in csrc/twin/include/twin/trace_format.h.
_PIPES = ("S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX")
_OPS = ("load", "store", "move", "mmad", "fixpipe", "vector")

TRANSFERS = ("load", "store", "fixpipe")
"""Operations that move bytes to or from GM."""


class KernelBytes(TypedDict):
    """Bytes that a kernel moves, in whole lines of L2: from and to HBM, and by cores from L2."""

    hbm_read: int
    hbm_written: int
    l2_hit: int
    written: int


class Interval(NamedTuple):
    """The time during which a pipe worked on an instruction.

    Attributes:
        core: number of the core; AICs come first, then AIVs.
        pipe: "MTE2", "V", ...
        op: "load", "mmad", ...
        start, end: us since the sequence began.
        tensor: name of the tensor of a transfer; "" for other instructions.
        bytes: bytes of a transfer; 0 for other instructions.
        site: file and line in the kernel's source.
        hbm_read, hbm_written, l2_hit, written: its share of the kernel's bytes of that kind.
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
    """Rates in bytes per us from `time` until the next change; they include SDMA's."""

    time: float
    hbm_read: float
    hbm_written: float
    l2_hit: float
    written: float


class SdmaTransfer(NamedTuple):
    """A piece of a prefetch by the SDMA engine; times in us."""

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
        launched, start, end: us since the sequence began; the launch begins when the previous
            kernel ends.
        bytes: the bytes that it moved.
        aic_count: number of AICs; cores with lower numbers are AICs.
        intervals: the intervals, in the order of their ends.
    """

    kernel: str
    launched: float
    start: float
    end: float
    bytes: KernelBytes
    aic_count: int
    intervals: list[Interval]

    @functools.cached_property
    def multiplies(self) -> bool:
        """Whether the kernel has products."""
        return any(interval.op == "mmad" for interval in self.intervals)

    def is_cube(self, interval: Interval) -> bool:
        """Whether the interval is one of an AIC."""
        return interval.core < self.aic_count


@dataclass(frozen=True)
class RecordedTimeline:
    """A sequence of kernels, which starts with an empty L2.

    Attributes:
        kernels: the kernels, in order.
        rates: the rates of HBM and L2 whenever they change, in order of time.
        sdma: the transfers of the SDMA engine beside the kernels.
        prefetched: the tensors that cores may prefetch.
        hbm_rate: peak rate of HBM, bytes per us.
        beside: the kernels that ran on a side stream, beside others.
    """

    kernels: list[KernelTimeline]
    rates: list[Rates]
    sdma: list[SdmaTransfer]
    prefetched: Collection[str]
    hbm_rate: float
    beside: Sequence[KernelTimeline] = ()

    @property
    def end(self) -> float:
        """The end of the last kernel, us."""
        return self.kernels[-1].end

    def transfers(self) -> Iterator[Interval]:
        """All transfers by cores."""
        for kernel in self.kernels:
            yield from (interval for interval in kernel.intervals if interval.op in TRANSFERS)

    def is_prefetch(self, kernel: KernelTimeline, interval: Interval) -> bool:
        """Whether a core loads a weight with which it computes nothing.

        Vector cores never do, nor do cube cores in a kernel without products.
        """
        computes = kernel.multiplies and kernel.is_cube(interval)
        return interval.op == "load" and not computes and interval.tensor in self.prefetched

    def prefetches(self) -> list[tuple[float, int]]:
        """The end (us) and the bytes of each prefetching transfer, in order of time."""
        loads = [(piece.end, piece.bytes) for piece in self.sdma]
        for kernel in [*self.kernels, *self.beside]:
            loads += [
                (interval.end, interval.bytes)
                for interval in kernel.intervals
                if self.is_prefetch(kernel, interval)
            ]
        return sorted(loads)


def model_timeline(
    model: Any, steps: Sequence[SequenceStep], prefetched: Collection[str]
) -> RecordedTimeline:
    """Replays kernels and readers one after the other.

    Args:
        model: the result of TimedChip.timeline(); prefetches already given to its SDMA engine run
            beside them.
        steps: the steps of the sequence.
        prefetched: the tensors that cores may prefetch.

    Raises:
        ValueError: there is nothing to replay, or a trace is invalid or does not fit the model.
    """
    kernels, rates, beside = [], [], []
    for times in replay(model, steps, intervals=True):
        kernels.append(_kernel_timeline(times))
        beside += [_kernel_timeline(one) for one in times.get("beside", ())]
        rates += [Rates(*change) for change in times["rate_changes"]]
    if not kernels:
        raise ValueError("expected one or more kernels, got none")
    sdma = [SdmaTransfer(*piece) for piece in model.sdma_transfers]
    return RecordedTimeline(kernels, rates, sdma, prefetched, model.hbm_rate, beside)


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


def mean_rates(timeline: RecordedTimeline, name: str, bin_us: float, bins: int) -> list[float]:
    """Means of the rate `name` of Rates, bytes per us, in `bins` bins that start at time 0."""
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
