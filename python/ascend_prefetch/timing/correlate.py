"""Holds the timing model against measured points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from .chips import LEVELS, TimedChip
from .points import Point


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
    progress: Callable[[str], None] | None = None,
) -> Correlation:
    """Models every point at low, nominal and high constants.

    Args:
        points: what was measured.
        chip: takes the place of a point's chip in the model where it is of the same SoC.
        progress: told the id of each point before it is modelled.

    Raises:
        ValueError: a point whose kernel does not take its shape, or whose chip is not modelled.
    """
    results = []
    for point in points:
        if progress is not None:
            progress(point.id)
        times = modelled_times(point, chip)
        error = 100 * (times["nominal"] / point.measured_us - 1)
        results.append(
            PointResult(
                id=point.id,
                measured_us=point.measured_us,
                modelled_us=times["nominal"],
                low_us=times["low"],
                high_us=times["high"],
                error_pct=error,
            )
        )
    errors = [abs(result["error_pct"]) for result in results]
    return Correlation(
        points=results,
        mape=sum(errors) / len(errors),
        max_abs_pct=max(errors),
        within_10pct=sum(error <= 10 for error in errors) / len(errors),
    )


def modelled_times(point: Point, chip: TimedChip | None = None) -> dict[str, float]:
    """What the point's metric would be, us, by level."""
    own = chip if chip is not None and chip.soc == point.soc else TimedChip(point.soc)
    try:
        trace = point.trace()
        return {level: _modelled(point, own, level, trace) for level in LEVELS}
    except ValueError as error:
        raise ValueError(f"point {point.id}: {error}") from error


def _modelled(point: Point, chip: TimedChip, level: str, trace: bytes) -> float:
    times = chip.timeline(level).run(trace)
    if point.metric == "mac":
        return times["cube_busy"]["cube"]
    if point.metric == "mte2" and point.copying is None:
        return times["cube_busy"]["mte2"]
    return times["us"] if point.launch_included else times["end"] - times["start"]


def draw_correlation(correlation: Correlation, path: Path) -> None:
    """Scatter plot of measured against modelled times.

    Raises:
        ValueError: matplotlib is not installed.
    """
    from .plots import scatter

    scatter(
        [(point["id"], point["measured_us"], point["modelled_us"]) for point in correlation.points],
        path,
    )
