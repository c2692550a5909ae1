"""Picture of a timeline: lanes of every core and pipe, with the rates of HBM and L2 below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.timing.timeline import TRANSFERS, Interval, RecordedTimeline, mean_rates

from .figure import new_figure, save_figure

# Pipes of a type of core, in the order in which data passes through them, with their function.
_CUBE = (("MTE2", "loads"), ("MTE1", "L1 to L0"), ("M", "products"), ("FIX", "stores"))
_VECTOR = (("MTE2", "loads"), ("V", "vector"), ("MTE3", "stores"))

# One colour for each of the first tensors; all others share one.
_COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#17becf", "#e377c2", "#bcbd22",
)  # fmt: skip
_OTHER = "#8c6d52"
_COMPUTE = "#404040"

# Heights in inches.
_LANES, _ROW = 0.4, 0.009  # of the lanes of a pipe, and of each core in it
_RATES = 1.5

# Number of bins, for each of which the mean rate is drawn.
_BINS = 500

# Characters that fit the width of the picture, and its pixels.
_CHARACTERS = 200
_PIXELS = 1700


def draw_timeline(timeline: RecordedTimeline, title: str, path: Path) -> None:
    """Writes a PNG: a row for each core, grouped by pipe, and the rates of HBM and L2.

    Transfers have the colour of their tensor; the legend names the tensors that move most bytes.

    Raises:
        ValueError: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    lanes = _lanes(timeline)
    prefetches = timeline.prefetches()
    heights = [0.35, *(_LANES + _ROW * rows for _, rows, _ in lanes), _RATES]
    heights += [0.6 * _RATES] if prefetches else []
    figure = new_figure(13, sum(heights) + 0.12 * len(heights) + 1.2)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    colours = _tensor_colours(timeline)
    _draw_kernels(panels[0], timeline)
    for axes, (label, rows, intervals) in zip(panels[1:], lanes, strict=False):
        _draw_lanes(axes, label, rows, intervals, colours, timeline.end / _PIXELS)
    _draw_rates(panels[1 + len(lanes)], timeline)
    if prefetches:
        _draw_prefetched(panels[-1], prefetches, timeline.end)
    for axes in panels:
        axes.grid(axis="x", linewidth=0.3)
        axes.set_axisbelow(True)
    panels[-1].set(xlim=(0, timeline.end), xlabel="modelled time since the first launch, us")
    figure.suptitle(title, fontsize=11)
    _draw_legend(figure, colours)
    save_figure(figure, path)


def _lanes(timeline: RecordedTimeline) -> list[tuple[str, int, list[tuple[int, Interval]]]]:
    """For each pipe that did work: label, number of cores, and intervals with the row of a core."""
    lanes: dict[tuple[bool, str], list[tuple[int, Interval]]] = {}
    cores = {True: 0, False: 0}
    for kernel in timeline.kernels:
        for interval in kernel.intervals:
            is_cube = kernel.is_cube(interval)
            row = interval.core if is_cube else interval.core - kernel.aic_count
            cores[is_cube] = max(cores[is_cube], row + 1)
            lanes.setdefault((is_cube, interval.pipe), []).append((row, interval))
    result = []
    for is_cube, core_type, pipes in ((True, "AIC", _CUBE), (False, "AIV", _VECTOR)):
        for pipe, what in pipes:
            if (is_cube, pipe) in lanes:
                label = f"{core_type} {pipe}\n{what}"
                result.append((label, cores[is_cube], lanes[is_cube, pipe]))
    return result


def _tensor_colours(timeline: RecordedTimeline) -> dict[str, str]:
    """The colour of each tensor, sorted by the bytes that it moves, most first."""
    moved: Counter[str] = Counter()
    for transfer in timeline.transfers():
        moved[transfer.tensor] += transfer.bytes
    return dict(zip((tensor for tensor, _ in moved.most_common()), _COLOURS, strict=False))


def _draw_kernels(axes: Any, timeline: RecordedTimeline) -> None:
    for kernel in timeline.kernels:
        launch = [(kernel.launched, kernel.start - kernel.launched)]
        axes.broken_barh(launch, (0, 1), facecolor="white", edgecolor="grey", hatch="////")
        duration = kernel.end - kernel.start
        axes.broken_barh([(kernel.start, duration)], (0, 1), facecolor="#dddddd", edgecolor="grey")
        if kernel.end - kernel.launched > timeline.end * len(kernel.kernel) / _CHARACTERS:
            middle = (kernel.launched + kernel.end) / 2
            text = axes.text(
                middle, 0.47, kernel.kernel, ha="center", va="center", fontsize=7, clip_on=True
            )
            text.set_bbox({"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1})
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("kernels", rotation=0, ha="right", va="center", fontsize=8)


def _draw_lanes(
    axes: Any,
    label: str,
    rows: int,
    intervals: Iterable[tuple[int, Interval]],
    colours: dict[str, str],
    pixel: float,
) -> None:
    """Draws the lanes of a pipe; transfers are at least `pixel` us wide, so that all are seen."""
    from matplotlib.collections import PolyCollection

    boxes, faces = [], []
    for row, interval in intervals:
        is_transfer = interval.op in TRANSFERS
        start = interval.start
        end = max(interval.end, start + pixel) if is_transfer else interval.end
        boxes.append(((start, row), (start, row + 1), (end, row + 1), (end, row)))
        faces.append(colours.get(interval.tensor, _OTHER) if is_transfer else _COMPUTE)
    axes.add_collection(PolyCollection(boxes, facecolors=faces, linewidths=0), autolim=False)
    axes.set(ylim=(rows, 0), yticks=[0.5, rows - 0.5], yticklabels=["0", str(rows - 1)])
    axes.tick_params(axis="y", labelsize=6, length=2)
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)


def _draw_rates(axes: Any, timeline: RecordedTimeline) -> None:
    width = timeline.end / _BINS
    edges = [width * index for index in range(_BINS + 1)]
    for label, name, colour in (
        ("HBM read", "hbm_read", "#d62728"),
        ("L2 hit", "l2_hit", "#1f77b4"),
    ):
        # Bytes per us are 10^-6 TB/s.
        rates = [rate / 1e6 for rate in mean_rates(timeline, name, width, _BINS)]
        axes.stairs(rates, edges, color=colour, label=label, linewidth=1)
    most = timeline.hbm_rate / 1e6
    axes.axhline(most, color="#d62728", linestyle=":", linewidth=0.8, label="HBM at most")
    axes.set_ylim(0, 1.3 * max(most, axes.get_ylim()[1]))
    axes.set_ylabel("TB/s", rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", linewidth=0.3)
    axes.legend(loc="upper center", ncols=3, fontsize=7, frameon=False)


def _draw_prefetched(axes: Any, prefetches: Iterable[tuple[float, int]], last: float) -> None:
    times, totals, total = [0.0], [0.0], 0
    for end, count in prefetches:
        total += count
        times.append(end)
        totals.append(total / 1e6)
    axes.step([*times, last], [*totals, totals[-1]], where="post", color="#2ca02c")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("prefetched\nMB", rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", linewidth=0.3)


def _draw_legend(figure: Any, colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    named = [*colours.items(), ("other tensors", _OTHER), ("no transfer", _COMPUTE)]
    handles = [Patch(color=colour, label=name) for name, colour in named]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
