"""How much memory of tensors a piece of code takes, by the allocator's own record."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass

import torch

_PART = "part that is measured"


@dataclass
class Memory:
    """Bytes that were allocated since the record began, less those that were freed.

    Attributes:
        kept: at its end.
        peak: at most at one time in the part that is measured.
    """

    kept: int = 0
    peak: int = 0


@contextlib.contextmanager
def record() -> Iterator[Memory]:
    """Records allocations. What is freed counts if it was allocated in here as well.

    The result is filled in on leaving.
    """
    result = Memory()
    gc.collect()
    gc.disable()  # what others have left is not freed in between
    try:
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            yield result
    finally:
        gc.enable()
    events = sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    measured = False
    for event in events:
        if event.name() == _PART:
            measured, result.peak = True, result.kept
        elif event.name() == "[memory]":
            result.kept += event.nbytes()
            if measured:
                result.peak = max(result.peak, result.kept)


def part() -> contextlib.AbstractContextManager:
    """The part of a record whose peak is measured, up to the end of the record."""
    return torch.profiler.record_function(_PART)
