"""What windows between kernels bring to layers as they are served."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.bench.row_file import Row
from ascend_prefetch.lab.bench.served import counted, gain_pct

from .figure import add_legend, draw_gains, new_figure, save_figure


def draw_served(rows: Sequence[Row], path: Path) -> None:
    """Draws the gain of `windows` over `fused_no_prefetch` at nominal constants.

    There is a column for each way of spreading a model over ranks, with a line for each model over
    the requests of a rank (the median over caches), and the range over lengths of windows and
    constants. Only rows that count are drawn.

    Raises:
        ValueError: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    found = list(counted(rows))
    spread = list(dict.fromkeys((row["quant"], row["tp"], row["dp"]) for row in found))
    figure = new_figure(2 + 2.4 * max(1, len(spread)), 3.6)
    (line,) = figure.subplots(1, max(1, len(spread)), sharey="row", squeeze=False)
    line[0].set_ylabel("gain over fused, no prefetch, %")
    models = list(dict.fromkeys(row["model"] for row in found))
    for (quant, tp, dp), axes in zip(spread, line, strict=False):
        mine = [row for row in found if (row["quant"], row["tp"], row["dp"]) == (quant, tp, dp)]
        axes.set_title(f"{quant}\nTP{tp} DP{dp} EP{tp * dp}", fontsize=9)
        axes.set_xlabel("requests of a rank")
        _draw_panel(axes, mine, models)
    figure.suptitle("Windows between kernels in a MoE layer: modelled, not measured", fontsize=11)
    add_legend(figure, line)
    save_figure(figure, path)


def _draw_panel(axes: Any, rows: Sequence[Row], models: Sequence[str]) -> None:
    batches = sorted({row["batch"] for row in rows})
    ends = {
        batch: [
            gain_pct(row, *end)
            for row in rows
            if row["batch"] == batch
            for end in (("short", "high"), ("long", "nominal"), ("short", "low"))
        ]
        for batch in batches
    }
    lines = {
        model: {
            batch: statistics.median(
                gain_pct(row) for row in rows if row["model"] == model and row["batch"] == batch
            )
            for batch in sorted({row["batch"] for row in rows if row["model"] == model})
        }
        for model in models
    }
    draw_gains(axes, ends, lines, "all rows, lengths and constants")
