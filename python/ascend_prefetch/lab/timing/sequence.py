"""Replays sequences of kernels, other projects' reads and SDMA prefetches on one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin

ReplayTimes = dict[str, Any]
"""The result of `_lab.Timeline.run`: times in us, and bytes."""


@dataclass(frozen=True)
class TracedKernel:
    """A kernel, represented by its trace."""

    trace: bytes

    @property
    def name(self) -> str:
        """The kernel's name in the trace."""
        return _lab.describe_trace(self.trace)["kernel"]


@dataclass(frozen=True)
class Reader:
    """A kernel that represents another project's: all cube cores together read a region once.

    Attributes:
        name: what it represents.
        address: GM address.
        nbytes: bytes of the region.
    """

    name: str
    address: int
    nbytes: int


@dataclass(frozen=True)
class CmoPrefetch:
    """A prefetch of part of a tensor by the SDMA engine, which starts when the step before it ends.

    Attributes:
        address: GM address of the tensor.
        nbytes: bytes of the tensor.
        offset: first byte of the part.
        length: bytes of the part; None for everything from the offset on.
        stream: number of the SDMA stream; two streams that work at the same time slow each other
            down.
    """

    address: int
    nbytes: int
    offset: int = 0
    length: int | None = None
    stream: int = 0


@dataclass(frozen=True)
class Pause:
    """Another project's kernel of a known length, launch included, such as a collective.

    Attributes:
        name: what runs.
        us: how long; longer where its reads take longer.
        reads: what passes through L2 meanwhile, at the best rate from its start on.
    """

    name: str
    us: float
    reads: tuple[Reader, ...] = ()


SequenceStep = TracedKernel | Reader | Pause | CmoPrefetch


def dry_kernels(
    run: Callable[..., object], separate: bool = False, **options: Any
) -> list[TracedKernel]:
    """The kernels that a call launches, from a dry run on the twin.

    Args:
        run: a function that calls ops on CPU tensors.
        separate: whether the ops run as separate kernels.
        options: options passed to `run`.
    """
    with twin.dry(), twin.tracing() as traces:
        if separate:
            with twin.separate_kernels():
                run(**options)
        else:
            run(**options)
    return [TracedKernel(trace) for trace in traces]


def find_tensor(kernels: Iterable[TracedKernel], name: str) -> tuple[int, int]:
    """Address and bytes of a tensor of one of the kernels.

    Raises:
        KeyError: no kernel has a tensor of this name.
    """
    for kernel in kernels:
        tensors = _lab.describe_trace(kernel.trace)["tensors"]
        if name in tensors:
            return tensors[name]
    raise KeyError(name)


def account_prefetch(steps: Sequence[SequenceStep], weights: Sequence[str]) -> twin.PrefetchBytes:
    """twin.account_prefetch for a sequence, including what its readers evict from L2.

    Raises:
        ValueError: as in twin.account_prefetch; or the sequence has a prefetch by the SDMA engine,
            which no trace orders before a read.
    """
    launches: list[bytes | tuple[str, int, int]] = []
    for step in steps:
        if isinstance(step, CmoPrefetch):
            raise ValueError("account_prefetch: expected kernels and readers, got a CmoPrefetch")
        if isinstance(step, Reader):
            launches.append((step.name, step.address, step.nbytes))
        elif isinstance(step, Pause):
            launches += [(one.name, one.address, one.nbytes) for one in step.reads]
        else:
            launches.append(step.trace)
    return cast(twin.PrefetchBytes, _lab.account_prefetch(launches, list(weights)))


def replay(
    timeline: Any, steps: Sequence[SequenceStep], intervals: bool = False
) -> list[ReplayTimes]:
    """Continues a timeline (`TimedChip.timeline`); returns the times of all but prefetches.

    Args:
        timeline: a timeline of the chip.
        steps: the steps that follow.
        intervals: whether to keep the intervals of every pipe and the rates of HBM and L2
            (`_lab.Timeline.run`).
    """
    times = []
    for step in steps:
        if isinstance(step, TracedKernel):
            times.append(timeline.run(step.trace, intervals))
        elif isinstance(step, Reader):
            times.append(timeline.stream(step.name, step.address, step.nbytes, True, intervals))
        elif isinstance(step, Pause):
            times.append(_pause(timeline, step))
        else:
            timeline.prefetch(
                step.address,
                step.nbytes,
                offset=step.offset,
                length=step.length,
                stream=step.stream,
            )
    return times


def _pause(timeline: Any, step: Pause) -> ReplayTimes:
    start = timeline.now
    counts: dict[str, int] = {}
    for read in step.reads:
        found = timeline.stream(read.name, read.address, read.nbytes, True)
        counts = {name: counts.get(name, 0) + count for name, count in found["bytes"].items()}
    timeline.wait(max(0.0, start + step.us - timeline.now))
    return {
        "kernel": step.name,
        "launched": start,
        "start": start,
        "end": timeline.now,
        "us": timeline.now - start,
        "bytes": counts,
    }
