"""Measured against modelled times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ascend_prefetch.lab.timing.correlate import PointResult

from .figure import new_figure, save_figure

_BANDS = ((0.10, "-"), (0.25, ":"))


def draw_correlation(points: Sequence[PointResult], path: Path) -> None:
    """A scatter plot with logarithmic axes, bars from low to high, and lines at 10 % and 25 %.

    Points whose error exceeds 10 % are named.

    Raises:
        ValueError: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    figure = new_figure(7, 6.5)
    axes = figure.add_subplot()
    measured = [point["measured_us"] for point in points]
    modelled = [point["modelled_us"] for point in points]
    ends = [min(measured) / 1.6, max(measured) * 1.6]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    for share, style in _BANDS:
        for factor in (1 - share, 1 + share):
            label = f"±{share:.0%}" if factor > 1 else None
            line = [factor * end for end in ends]
            axes.plot(ends, line, style, color="grey", linewidth=0.8, label=label)
    bars = [
        [point["modelled_us"] - point["low_us"] for point in points],
        [point["high_us"] - point["modelled_us"] for point in points],
    ]
    bars = [[max(0.0, length) for length in side] for side in bars]
    axes.errorbar(measured, modelled, bars, fmt="o", markersize=4, label="low, nominal, high")
    for point in points:
        if abs(point["error_pct"]) <= 10:
            continue
        # Labels are placed on the side away from the lines.
        above = point["error_pct"] > 0
        axes.annotate(
            point["id"],
            (point["measured_us"], point["modelled_us"]),
            xytext=(-5, 4) if above else (5, -8),
            textcoords="offset points",
            ha="right" if above else "left",
            fontsize=7,
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set(xlabel="measured, us", ylabel="modelled, us")
    axes.legend()
    save_figure(figure, path)
