"""Compares the timing model with measured points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from .chips import LEVELS, TimedChip
from .point import Point
from .replays import Replays


class PointResult(TypedDict):
    """A point with its measured and modelled times, us; error_pct is that of the nominal time."""

    id: str
    measured_us: float
    modelled_us: float
    low_us: float
    high_us: float
    error_pct: float


@dataclass(frozen=True)
class Correlation:
    """Points and the errors of the model.

    Attributes:
        points: the results of single points, in the order of the file.
        mape: mean absolute error, %.
        max_abs_pct: largest absolute error, %.
        within_10pct: share of the points whose error is within 10 %, from 0 to 1.
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
        points: measured points; at least one.
        chip: the chip to model all points with; by default the table's row of each point's chip.
        progress: called with a line before each kernel.

    Raises:
        ValueError: a kernel does not support the shape of its point, or a chip is not modelled.
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
