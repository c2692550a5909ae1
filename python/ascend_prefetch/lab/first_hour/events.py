"""Times between events of the current stream, for what cannot be captured or not as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Mark = Callable[[], None]


def spans_us(npu: Any, work: Callable[[Mark], object], count: int) -> list[float]:
    """The us between successive marks of one call.

    The host has to issue all of it before the device arrives there, so that nothing is measured
    while the device waits for the host: `work` begins with something long that is not measured.

    Args:
        npu: torch.npu, or a stand-in for it.
        work: takes a function that records an event on the current stream.
        count: number of times that it calls that.
    """
    events = [npu.Event(enable_timing=True) for _ in range(count)]
    left = iter(events)
    work(lambda: next(left).record())
    npu.synchronize()
    return [
        before.elapsed_time(after) * 1e3 for before, after in zip(events, events[1:], strict=False)
    ]
