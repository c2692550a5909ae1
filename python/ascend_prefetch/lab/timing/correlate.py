"""Holds the timing model against measured points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from .chips import LEVELS, TimedChip
from .point import Point
from .replays import Replays


class PointResult(TypedDict):
    """A point beside what the model says, us; error_pct of the nominal time."""

    id: str
    measured_us: float
    modelled_us: float
    low_us: float
    high_us: float
    error_pct: float


@dataclass(frozen=True)
class Correlation:
    """Points and how far the model is from them.

    Attributes:
        points: one by one, in the order of the file.
        mape: mean absolute error, %.
        max_abs_pct: largest absolute error, %.
        within_10pct: share of the points within 10 %, 0 to 1.
    """

    points: list[PointResult]
    mape: float
    max_abs_pct: float
    within_10pct: float


def correlate(
    points: Sequence[Point],
    chip: TimedChip | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Correlation:
    """Models every point at low, nominal and high constants.

    Args:
        points: what was measured; at least one.
        chip: in the model the chip of every point; else what the table says of each point's own.
        progress: called with a line before each kernel.

    Raises:
        ValueError: a point whose kernel does not take its shape, or whose chip is not modelled.
    """
    times = Replays(points).times(chip, LEVELS, progress=progress)
    results = [
        PointResult(
            id=point.id,
            measured_us=point.measured_us,
            modelled_us=us["nominal"],
            low_us=us["low"],
            high_us=us["high"],
            error_pct=100 * (us["nominal"] / point.measured_us - 1),
        )
        for point, us in zip(points, times, strict=True)
    ]
    errors = [abs(result["error_pct"]) for result in results]
    return Correlation(
        points=results,
        mape=sum(errors) / len(errors),
        max_abs_pct=max(errors),
        within_10pct=sum(error <= 10 for error in errors) / len(errors),
    )
