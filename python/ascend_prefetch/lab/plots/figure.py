"""Shared by all pictures: loading matplotlib when something is drawn, and saving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ascend_prefetch.files import whole_file


def new_figure(width: float, height: float) -> Any:
    """An empty figure, sizes in inches, that needs neither a display nor pyplot.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            "matplotlib is not installed: pip install 'ascend-prefetch[plots]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def has_matplotlib() -> bool:
    """Whether pictures can be drawn."""
    try:
        new_figure(1, 1)
    except ValueError:
        return False
    return True


def require_matplotlib() -> None:
    """Raises ValueError, before any work, if nothing can be drawn."""
    new_figure(1, 1)


def save_figure(figure: Any, path: Path) -> None:
    """Writes a PNG file; a failure leaves no partial file.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=150)


def draw_gains(
    axes: Any,
    ends: Mapping[int, Sequence[float]],
    lines: Mapping[str, Mapping[int, float]],
    name: str,
) -> None:
    """Draws gains in percent over counts: the range of all, and a line for each model.

    Args:
        axes: axes of matplotlib.
        ends: by count, gains whose range is drawn.
        lines: by model and count, the gain; a model keeps its colour if it has none.
        name: of the range, in the legend.
    """
    counts = list(ends)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.fill_between(
        counts,
        [min(ends[count]) for count in counts],
        [max(ends[count]) for count in counts],
        color="grey",
        alpha=0.2,
        linewidth=0,
        label=name,
    )
    for number, (model, line) in enumerate(lines.items()):
        if line:
            axes.plot(
                list(line), list(line.values()), "o-", markersize=3, color=f"C{number}", label=model
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.grid(alpha=0.3)


def add_legend(figure: Any, panels: Iterable[Any]) -> None:
    """One legend beside all panels, with each label once."""
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
