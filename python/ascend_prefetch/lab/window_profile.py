"""Reads the lengths of windows from a profile: kernel_details.csv of torch_npu.

The columns are those of op_summary.py in ascend_prefetch.lab.timing. A kernel is recognised by its
op type. A profile taken at Level0 has no types: there it is recognised by its name, of which the op
type is a part between underscores, as in aclnnX_YAiCore_Y for what was launched through aclnn. All
rows of a kernel make one window, whatever its shape: a profile for this should
hold decode steps alone.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ascend_prefetch.lab.timing.exports import WANTED, what_table
from ascend_prefetch.lab.timing.op_summary import NOTHING, column_of
from ascend_prefetch.lab.timing.profiles import Table, open_table
from ascend_prefetch.lab.timing.tables import BadLine, microseconds, row_of
from ascend_prefetch.shown import count_of
from ascend_prefetch.windows.file import KERNELS, MAX_US

FEW_ROWS = 10
"""Below this many rows short and long are the minimum and the maximum, else percentiles."""

_COLUMNS = ("type", "name", "duration")


class WindowProfile(NamedTuple):
    """The content of a profile.

    Attributes:
        windows: by name of KERNELS: {short, nominal, long, count, kernels}, us.
        rows: rows of the file.
        damaged: for lines that could not be read, the reason by line number.
        skipped: number of the other rows that are in no window, by reason.
    """

    windows: dict[str, dict[str, Any]]
    rows: int
    damaged: dict[int, str]
    skipped: dict[str, int]


def read_window_profile(path: Path) -> WindowProfile:
    """Reads a profile.

    A damaged line costs that line, as in `correlate`.

    Raises:
        ValueError: the file is of another kind, which is named if it is one of the profilers', or
            none of its kernels is a window.
        OSError: the file cannot be read.
    """
    with open_table(path) as table:
        try:
            return _read(table)
        except BadLine as error:
            raise ValueError(f"{table.path}, line {error.number}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{table.path}: {error}") from error


def _read(table: Table) -> WindowProfile:
    _, header, lines = table
    if header.damage:
        raise BadLine(header.number, header.damage)
    columns = _columns(header.cells)
    durations: dict[str, list[float]] = {}
    kernels: dict[str, Counter[str]] = {}
    damaged: dict[int, str] = {}
    skipped: Counter[str] = Counter()
    rows = 0
    for line in lines:
        rows += 1
        try:
            if line.damage:
                raise ValueError(line.damage)
            found = _window(row_of(header.cells, line.cells), columns)
        except ValueError as error:
            damaged[line.number] = str(error)
            continue
        if isinstance(found, str):
            skipped[found] += 1
        else:
            window, kernel, us = found
            durations.setdefault(window, []).append(us)
            kernels.setdefault(window, Counter())[kernel] += 1
    if not durations:
        wanted = ", ".join(names[-1] for names in KERNELS.values())
        raise ValueError(
            f"no kernel of a window in its {count_of(rows, 'row')}: expected some of {wanted}"
            + (f"; {count_of(len(damaged), 'line')} could not be read" if damaged else "")
        )
    windows = {
        name: {**lengths_of(durations[name]), "kernels": dict(kernels[name])}
        for name in KERNELS
        if name in durations
    }
    return WindowProfile(windows, rows, damaged, dict(skipped))


def lengths_of(durations: Sequence[float]) -> dict[str, Any]:
    """Short, nominal and long of some durations, us, and their count.

    Short and long are the 10th and the 90th percentile (nearest rank) of FEW_ROWS rows or more, the
    extremes of fewer; nominal is the median.
    """
    ordered = sorted(durations)
    count = len(ordered)
    few = count < FEW_ROWS
    return {
        "short": ordered[0 if few else math.ceil(0.1 * count) - 1],
        "nominal": statistics.median(ordered),
        "long": ordered[-1 if few else math.ceil(0.9 * count) - 1],
        "count": count,
    }


def _columns(header: Sequence[str]) -> dict[str, str]:
    """The names of the columns that are read, in this file."""
    names = {column: column_of(header, column) for column in _COLUMNS}
    found = {column: name for column, name in names.items() if name is not None}
    if "duration" not in found or not {"type", "name"} & set(found):
        other = what_table(header)
        raise ValueError(
            f"expected {WANTED}, with the columns Type or Name, and Duration(us)"
            + (f", but it is {other}" if other else "")
        )
    return found


def _window(row: Mapping[str, str], columns: Mapping[str, str]) -> tuple[str, str, float] | str:
    """The window of a row, its kernel and its us; for another row the reason why it is none."""
    text = row[columns["type"]] if "type" in columns else ""
    # The op type of a collective ends with an underscore itself.
    pattern = "^{}(_|$)"
    if text in NOTHING and "name" in columns:
        text, pattern = row[columns["name"]], "(^|_){}(_|$)"
    found = (
        (window, kernel)
        for window, kernels in KERNELS.items()
        for kernel in kernels
        if re.search(pattern.format(kernel.rstrip("_")), text)
    )
    window, kernel = next(found, ("", ""))
    if not window:
        return "a kernel of no window"
    text = row[columns["duration"]]
    if text in NOTHING or re.fullmatch(r"0+(\.0*)?", text):
        return "a kernel without a duration"
    us = microseconds(columns["duration"], text)
    if us > MAX_US:
        raise ValueError(f"{columns['duration']}: expected at most {MAX_US:g} us, got {us:g}")
    return window, kernel, us
