"""Shared by all pictures: loading matplotlib when something is drawn, and saving."""

from __future__ import annotations

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
