"""What windows between kernels bring to layers as they are served."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figure import new_figure, save_figure

if TYPE_CHECKING:
    from ascend_prefetch.lab.bench.served import Row


def draw_served(rows: Sequence[Row], path: Path) -> None:
    """Draws the gain of `windows` over `fused_no_prefetch` at nominal constants.

    There is a column for each way of spreading a model over ranks, with a line for each model over
    the requests of a rank (the median over caches), and the range over lengths of windows and
    constants. Only rows that count are drawn.

    Raises:
        ValueError: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    from ascend_prefetch.lab.bench.served import counted

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
    handles = {
        label: handle
        for axes in line
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
    save_figure(figure, path)


def _draw_panel(axes: Any, rows: Sequence[Row], models: Sequence[str]) -> None:
    from ascend_prefetch.lab.bench.served import gain_pct

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
    axes.axhline(0, color="black", linewidth=0.8)
    axes.fill_between(
        batches,
        [min(ends[batch]) for batch in batches],
        [max(ends[batch]) for batch in batches],
        color="grey",
        alpha=0.2,
        linewidth=0,
        label="all rows, lengths and constants",
    )
    for number, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        counts = sorted({row["batch"] for row in own})
        medians = [
            statistics.median(gain_pct(row) for row in own if row["batch"] == count)
            for count in counts
        ]
        if counts:
            axes.plot(counts, medians, "o-", markersize=3, color=f"C{number}", label=model)
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.grid(alpha=0.3)
