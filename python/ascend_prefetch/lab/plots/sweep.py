"""The gains of prefetching over a sweep."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figure import add_legend, draw_gains, new_figure, save_figure

if TYPE_CHECKING:
    from ascend_prefetch.lab.bench.row_file import Row

# The forms that `planned` is compared with, and their labels.
_BASES = (("layer_none", "separate kernels"), ("layer_fused_no_prefetch", "fused, no prefetch"))


def draw_sweep(rows: Sequence[Row], path: Path) -> None:
    """Draws the gains of `planned` at nominal constants over the number of tokens.

    There is a column for each tensor-parallel degree, with a line for each model (the median over
    caches, experts and formats) and the range of all rows. The chip with the most rows is drawn.

    Raises:
        ValueError: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    socs = [row["soc"] for row in rows]
    soc = max(dict.fromkeys(socs), key=socs.count)
    rows = [row for row in rows if row["soc"] == soc]
    degrees = sorted({row["tp"] for row in rows})
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = new_figure(2 + 2.4 * len(degrees), 6)
    grid = figure.subplots(2, len(degrees), sharex=True, sharey="row", squeeze=False)
    for (base, name), line_of_axes in zip(_BASES, grid, strict=True):
        line_of_axes[0].set_ylabel(f"gain over {name}, %")
        for degree, axes in zip(degrees, line_of_axes, strict=True):
            _draw_panel(axes, [row for row in rows if row["tp"] == degree], models, base)
    for degree, top, bottom in zip(degrees, *grid, strict=True):
        top.set_title(f"TP{degree}", fontsize=10)
        bottom.set_xlabel("tokens")
    figure.suptitle(
        f"Planned prefetching in a layer on {soc}: modelled at nominal, not measured", fontsize=11
    )
    add_legend(figure, grid.flat)
    save_figure(figure, path)


def _draw_panel(axes: Any, rows: Sequence[Row], models: Sequence[str], base: str) -> None:
    tokens = sorted({row["tokens"] for row in rows})
    gains = {
        count: [_gain(row, base) for row in rows if row["tokens"] == count] for count in tokens
    }
    lines = {
        model: {
            count: statistics.median(
                _gain(row, base) for row in rows if row["model"] == model and row["tokens"] == count
            )
            for count in sorted({row["tokens"] for row in rows if row["model"] == model})
        }
        for model in models
    }
    draw_gains(axes, gains, lines, "all rows")


def _gain(row: Row, base: str) -> float:
    return 100 * (1 - row["layer_planned_us_nominal"] / row[f"{base}_us_nominal"])
