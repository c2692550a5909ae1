"""Replays sequences of kernels, other projects' reads and SDMA prefetches on one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from ascend_prefetch.planning import EngineCost

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
        offset: first byte that is read.
        length: bytes that are read; None for everything from the offset on.
    """

    name: str
    address: int
    nbytes: int
    offset: int = 0
    length: int | None = None


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
        delay: us until its first byte.
    """

    address: int
    nbytes: int
    offset: int = 0
    length: int | None = None
    stream: int = 0
    delay: float = 0.0


@dataclass(frozen=True)
class Beside:
    """A prefetch by kernels on a side stream, forked where a Pause begins and joined at its end.

    They are launched together with the kernel of the Pause.

    Attributes:
        kernels: the kernels, one after another.
        fork_us: from the Pause's begin until they start.
        join_us: of the stream that waits for them.
        slowed_us: by which they make the Pause's kernel longer.
    """

    kernels: tuple[TracedKernel | Reader, ...]
    fork_us: float
    join_us: float
    slowed_us: float


@dataclass(frozen=True)
class Pause:
    """Another project's kernel of a known length, launch included, such as a collective.

    Attributes:
        name: what runs.
        us: how long; longer where its reads take longer.
        reads: what passes through L2 meanwhile, at the best rate from its start on.
        beside: what a side stream prefetches meanwhile, after these reads.
        spread: whether the reads are spread over its length and leave HBM room for SDMA; otherwise
            they come first, at HBM's best rate.
    """

    name: str
    us: float
    reads: tuple[Reader, ...] = ()
    beside: Beside | None = None
    spread: bool = False


@dataclass(frozen=True)
class Join:
    """Lets the stream wait for all prefetches of the SDMA engine.

    Attributes:
        cost: the engine's, with its join, and its spikes as far as the time does not cover them for
            which it has been idle.
        slowed_us: by which the prefetches have made the kernels beside them longer.
    """

    cost: EngineCost
    slowed_us: float = 0.0


SequenceStep = TracedKernel | Reader | Pause | CmoPrefetch | Join


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
        if isinstance(step, CmoPrefetch | Join):
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

    The times of a Pause have, by the key `beside`, those of the kernels beside it.
    """
    times = []
    for step in steps:
        if isinstance(step, TracedKernel):
            times.append(timeline.run(step.trace, intervals))
        elif isinstance(step, Reader):
            times.append(_read(timeline, step, intervals))
        elif isinstance(step, Pause):
            times.append(_pause(timeline, step, intervals))
        elif isinstance(step, Join):
            _join(timeline, step)
        else:
            timeline.prefetch(
                step.address,
                step.nbytes,
                offset=step.offset,
                length=step.length,
                delay=step.delay,
                stream=step.stream,
            )
    return times


def _read(
    timeline: Any, step: Reader, intervals: bool = False, launched: bool = False
) -> ReplayTimes:
    return timeline.stream(
        step.name,
        step.address,
        step.nbytes,
        True,
        intervals,
        launched=launched,
        offset=step.offset,
        length=step.length,
    )


def _join(timeline: Any, step: Join) -> None:
    begun = timeline.now
    ended = max((end for _, end, *_ in timeline.sdma_transfers), default=begun)
    timeline.join_prefetch()
    # The kernels beside it end as much later as they were slowed down.
    slack = max(0.0, begun + step.slowed_us - ended) if timeline.now == begun else 0.0
    late = step.cost.expected_spike_us(slack)
    timeline.wait(max(0.0, begun + step.slowed_us - timeline.now) + step.cost.join_us + late)


def _added(counts: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + count for name, count in more.items()}


def _pause(timeline: Any, step: Pause, intervals: bool) -> ReplayTimes:
    start = timeline.now
    counts: dict[str, int] = {}
    reads: list[ReplayTimes] = []
    beside: list[ReplayTimes] = []
    length, joined = step.us, 0.0
    # Kernels on a side stream are launched with the pause's own: no launch comes before its reads.
    launched = step.beside is not None
    for read in step.reads:
        if step.spread:
            timeline.touch(read.address, read.nbytes, False)
            counts = _added(counts, {"hbm_read": read.nbytes})
            length = max(length, read.nbytes / timeline.hbm_rate)
            continue
        found = _read(timeline, read, intervals, launched)
        counts = _added(counts, found["bytes"])
        reads.append(found)
    if step.beside is not None:
        timeline.wait(max(0.0, start + step.beside.fork_us - timeline.now))
        for kernel in step.beside.kernels:
            if isinstance(kernel, Reader):
                found = _read(timeline, kernel, intervals, launched=True)
            else:
                found = timeline.run(kernel.trace, intervals, launched=True)
            counts = _added(counts, found["bytes"])
            beside.append(found)
        length += step.beside.slowed_us
        joined = step.beside.join_us
    timeline.wait(max(0.0, start + length - timeline.now) + joined)
    return {
        "kernel": step.name,
        "launched": start,
        "start": start,
        "end": timeline.now,
        "us": timeline.now - start,
        "bytes": counts,
        "aic_count": 0,
        "intervals": [],
        "rate_changes": [
            change for found in [*reads, *beside] for change in found.get("rate_changes", [])
        ],
        "beside": beside,
    }
