"""A timeline as trace events, for ui.perfetto.dev or chrome://tracing.

The format: "Trace Event Format", linked from
https://android.googlesource.com/platform/external/chromium-trace/+/be1f909/catapult/docs/trace-event-format.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ascend_prefetch.files import whole_file

from .timeline import TRANSFERS, Interval, KernelTimeline, RecordedTimeline, mean_rates

COUNTER_US = 0.1
"""Rates are averaged over this time."""

_KERNELS, _CUBE, _VECTOR, _MEMORY = 1, 2, 3, 4
_GROUPS = {
    _KERNELS: "kernels (modelled)",
    _CUBE: "cube cores (AIC)",
    _VECTOR: "vector cores (AIV)",
    _MEMORY: "memory",
}

# Lanes of a core, in the order in which data passes through them.
_PIPE_ORDER = ("MTE2", "MTE1", "M", "V", "FIX", "MTE3", "S")

# The labels of counters, by the fields of Rates.
_RATES = {
    "HBM read": "hbm_read",
    "HBM written back": "hbm_written",
    "L2 hit": "l2_hit",
    "L2 written": "written",
}

Event = dict[str, Any]


def write_trace_events(timeline: RecordedTimeline, about: Mapping[str, Any], path: Path) -> None:
    """Writes a timeline as a JSON file of trace events; a partial file is never left.

    Args:
        timeline: the timeline.
        about: further data that the viewer shows.
        path: path of the file.

    Raises:
        OSError: the file cannot be written.
    """
    lines = (json.dumps(event, separators=(",", ":")) for event in trace_events(timeline))
    text = (
        f'{{"displayTimeUnit":"ns","otherData":{json.dumps(about)},"traceEvents":[\n'
        + ",\n".join(lines)
        + "\n]}\n"
    )
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def trace_events(timeline: RecordedTimeline) -> list[Event]:
    """Metadata, one complete event for each interval, and counters.

    Times are us rounded to whole ns, in the same way at both ends, so that the events of a lane
    never overlap. Counters are the rates of HBM, L2 and SDMA in MB per us, except those that are
    always 0, and the MB prefetched so far.
    """
    lanes = _Lanes()
    events: list[Event] = []
    for kernel in timeline.kernels:
        events += _kernel_events(kernel, lanes)
        events += _core_events(kernel, timeline, lanes)
    for kernel in timeline.beside:
        lane = lanes.lane(_KERNELS, 1, "side stream")
        moved = dict(kernel.bytes)
        events.append(_complete(lane, kernel.kernel, "prefetch", kernel.start, kernel.end, moved))
        events += _core_events(kernel, timeline, lanes)
    events += _sdma_events(timeline, lanes)
    return [*lanes.metadata(), *events, *_counters(timeline)]


class _Lanes:
    """Numbers the lanes; lanes have different numbers even in different groups."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int, int, str], int] = {}

    def lane(self, group: int, core: int, name: str, order: int = 0) -> tuple[int, int]:
        """The process and thread numbers that stand for a lane in the trace events."""
        # A thread with the number of a process would be taken for its main thread.
        number = len(_GROUPS) + 1 + len(self._numbers)
        return group, self._numbers.setdefault((group, core, order, name), number)

    def metadata(self) -> Iterator[Event]:
        for group in sorted({_MEMORY, *(lane[0] for lane in self._numbers)}):
            yield _metadata(group, 0, "process_name", name=_GROUPS[group])
            yield _metadata(group, 0, "process_sort_index", sort_index=group)
        for index, lane in enumerate(sorted(self._numbers)):
            group, _, _, name = lane
            yield _metadata(group, self._numbers[lane], "thread_name", name=name)
            yield _metadata(group, self._numbers[lane], "thread_sort_index", sort_index=index)


def _metadata(pid: int, tid: int, kind: str, **args: Any) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "ts": 0, "name": kind, "args": args}


def _nanoseconds(us: float) -> int:
    return round(us * 1000)


def _complete(
    lane: tuple[int, int], name: str, category: str, start: float, end: float, args: Event
) -> Event:
    first, last = _nanoseconds(start), _nanoseconds(end)
    return {
        "ph": "X",
        "pid": lane[0],
        "tid": lane[1],
        "ts": first / 1000,
        "dur": (last - first) / 1000,
        "name": name,
        "cat": category,
        "args": args,
    }


def _kernel_events(kernel: KernelTimeline, lanes: _Lanes) -> Iterator[Event]:
    lane = lanes.lane(_KERNELS, 0, "kernels")
    if kernel.start > kernel.launched:
        yield _complete(lane, "launch and start", "launch", kernel.launched, kernel.start, {})
    yield _complete(lane, kernel.kernel, "kernel", kernel.start, kernel.end, dict(kernel.bytes))


def _core_events(
    kernel: KernelTimeline, timeline: RecordedTimeline, lanes: _Lanes
) -> Iterator[Event]:
    for interval in kernel.intervals:
        if kernel.is_cube(interval):
            group, core, core_type = _CUBE, interval.core, "AIC"
        else:
            group, core, core_type = _VECTOR, interval.core - kernel.aic_count, "AIV"
        order = _PIPE_ORDER.index(interval.pipe)
        lane = lanes.lane(group, core, f"{core_type} {core} {interval.pipe}", order)
        category = "prefetch" if timeline.is_prefetch(kernel, interval) else interval.op
        start, end = interval.start, interval.end
        yield _complete(lane, _name(interval), category, start, end, _arguments(interval))


def _sdma_events(timeline: RecordedTimeline, lanes: _Lanes) -> Iterator[Event]:
    for piece in timeline.sdma:
        lane = lanes.lane(_MEMORY, 0, "SDMA")
        args = {"bytes": piece.bytes, "hbm_read": piece.hbm_read, "l2_hit": piece.l2_hit}
        yield _complete(lane, "prefetch", "prefetch", piece.start, piece.end, args)


def _name(interval: Interval) -> str:
    return interval.tensor if interval.op in TRANSFERS else interval.op


def _arguments(interval: Interval) -> dict[str, Any]:
    if interval.op not in TRANSFERS:
        return {"site": interval.site}
    return {
        "bytes": interval.bytes,
        "hbm_read": interval.hbm_read,
        "hbm_written": interval.hbm_written,
        "l2_hit": interval.l2_hit,
        "written": interval.written,
        "site": interval.site,
    }


def _counters(timeline: RecordedTimeline) -> Iterator[Event]:
    bins = math.ceil(timeline.end / COUNTER_US)
    for series, name in _RATES.items():
        rates = mean_rates(timeline, name, COUNTER_US, bins)
        if any(rates):
            yield from _rate(series, rates)
    yield from _sdma_rate(timeline)
    total = 0
    yield _counter(0, "prefetched so far", "MB", 0)
    for end, count in timeline.prefetches():
        total += count
        yield _counter(_nanoseconds(end), "prefetched so far", "MB", total / 1e6)


def _sdma_rate(timeline: RecordedTimeline) -> Iterator[Event]:
    """The counter of the SDMA engine, which transfers one piece at a time."""
    end = None
    for piece in timeline.sdma:
        if end is not None and piece.start > end:
            yield _counter(_nanoseconds(end), "SDMA", "MB/us", 0)
        end = piece.end
        rate = piece.bytes / (end - piece.start)
        yield _counter(_nanoseconds(piece.start), "SDMA", "MB/us", rate / 1e6)
    if end is not None:
        yield _counter(_nanoseconds(end), "SDMA", "MB/us", 0)


def _rate(name: str, rates: list[float]) -> Iterator[Event]:
    """The counter of a rate: an event wherever the value changes, and 0 after the last."""
    before = None
    for index, rate in enumerate([*rates, 0.0]):
        if rate != before:
            yield _counter(_nanoseconds(index * COUNTER_US), name, "MB/us", rate / 1e6)
        before = rate


def _counter(time: int, name: str, unit: str, value: float) -> Event:
    return {
        "ph": "C",
        "pid": _MEMORY,
        "tid": 0,
        "ts": time / 1000,
        "name": name,
        "args": {unit: round(value, 6)},
    }
