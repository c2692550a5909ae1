"""Compares the timing model with measured points."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from .chips import LEVELS, TimedChip
from .point import Point
from .replays import Replays
from .worth_of_l2 import WorthOfL2, worth_of_l2


class PointResult(TypedDict):
    """A point with its measured and modelled times, us; error_pct is that of the nominal time."""

    id: str
    measured_us: float
    modelled_us: float
    low_us: float
    high_us: float
    error_pct: float


class Regime(TypedDict):
    """The errors of the points that are alike in one respect.

    `by` names the respect: "MB" of a product's weight or a copy's matrix, "rows" of the left
    matrix, "k", "state" of L2 or "dtype". `inside` is the share of the points between low and high,
    from 0 to 1.
    """

    by: str
    regime: str
    points: int
    mape: float
    bias_pct: float
    inside: float


@dataclass(frozen=True)
class Correlation:
    """Points and the errors of the model.

    Attributes:
        points: the results of single points, in the order of the file.
        mape: mean absolute error, %.
        max_abs_pct: largest absolute error, %.
        within_10pct: share of the points whose error is within 10 %, from 0 to 1.
        median_abs_pct: median of the absolute errors, %.
        bias_pct: mean of the errors, %; negative where the model is too fast.
        inside: share of the points whose measured time is between the modelled low and high times,
            from 0 to 1.
        regimes: the errors of groups of points.
        worth_of_l2: what a byte in L2 saves; None where too few points tell.
    """

    points: list[PointResult]
    mape: float
    max_abs_pct: float
    within_10pct: float
    median_abs_pct: float
    bias_pct: float
    inside: float
    regimes: list[Regime]
    worth_of_l2: WorthOfL2 | None


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
    overall = _errors(results)
    return Correlation(
        points=results,
        mape=overall.mape,
        max_abs_pct=max(errors),
        within_10pct=sum(error <= 10 for error in errors) / len(errors),
        median_abs_pct=statistics.median(errors),
        bias_pct=overall.bias_pct,
        inside=overall.inside,
        regimes=_regimes(points, results),
        worth_of_l2=worth_of_l2(points, [result["modelled_us"] for result in results]),
    )


class _Errors(NamedTuple):
    mape: float
    bias_pct: float
    inside: float


def _errors(results: Sequence[PointResult]) -> _Errors:
    errors = [result["error_pct"] for result in results]
    inside = sum(r["low_us"] <= r["measured_us"] <= r["high_us"] for r in results)
    return _Errors(
        statistics.fmean(map(abs, errors)), statistics.fmean(errors), inside / len(results)
    )


# Upper ends of the ranges of a regime; the last range has none.
_MEGABYTES = (1, 5, 25, 60, 150)
_ROWS = (16, 128, 1024)
_DEPTHS = (1024, 4096, 8192, 12288)


def _regimes(points: Sequence[Point], results: Sequence[PointResult]) -> list[Regime]:
    groups: dict[tuple[str, int, str], list[PointResult]] = {}
    for point, result in zip(points, results, strict=True):
        for by, rank, regime in _regimes_of(point):
            groups.setdefault((by, rank, regime), []).append(result)
    by_order = ["MB", "rows", "k", "state", "dtype"]
    regimes = []
    for by, _, regime in sorted(groups, key=lambda key: (by_order.index(key[0]), *key[1:])):
        members = groups[by, _, regime]
        errors = _errors(members)
        regimes.append(
            Regime(
                by=by,
                regime=regime,
                points=len(members),
                mape=errors.mape,
                bias_pct=errors.bias_pct,
                inside=errors.inside,
            )
        )
    return regimes


def _regimes_of(point: Point) -> list[tuple[str, int, str]]:
    """The regimes of a point: respect, rank among the regimes of this respect, name."""
    kernel = point.kernel
    regimes = [("MB", *_range(kernel.weight_bytes / 1e6, _MEGABYTES))]
    if kernel.copying is None:
        regimes.append(("rows", *_range(kernel.m, _ROWS)))
        regimes.append(("k", *_range(kernel.k, _DEPTHS)))
    state = {0: "cold", 1: "warm"}.get(kernel.weights, f"rotate:{kernel.weights}")
    regimes.append(("state", kernel.weights, state))
    name = kernel.name if kernel.name != "gemm" else f"gemm {kernel.dtype}"
    regimes.append(("dtype", 0, name))
    return regimes


def _range(value: float, ends: Sequence[int]) -> tuple[int, str]:
    for rank, end in enumerate(ends):
        if value <= end:
            return rank, f"{'over ' + str(ends[rank - 1]) + ' ' if rank else ''}to {end}"
    return len(ends), f"over {ends[-1]}"
