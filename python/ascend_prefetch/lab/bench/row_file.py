"""Files of modelled rows: written group by group as processes finish them, and read again."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from ascend_prefetch.files import whole_file
from ascend_prefetch.lab.interrupts import map_in_processes
from ascend_prefetch.lab.timing.tables import take_table
from ascend_prefetch.shown import shown

Row = dict[str, Any]
"""A value of each column."""

Group = TypeVar("Group")


def write_rows(
    out: Path,
    columns: Sequence[str],
    model: Callable[[Group], list[Row]],
    groups: Sequence[Group],
    processes: int,
    finished: Callable[[Group, int], None],
) -> list[Row]:
    """Models all groups and writes their rows as a CSV; a partial file is never left.

    Args:
        out: the file. Until all rows are done they are written to a temporary file beside it, in
            the order of `groups`.
        columns: its header.
        model: the rows of a group; runs in another process where there are several.
        groups: the groups to model.
        processes: number of processes that share the work.
        finished: called after each group, with the number of rows so far.

    Raises:
        ValueError, RuntimeError: an op refuses a configuration.
        OSError: the file cannot be written.
    """
    rows: list[Row] = []
    with ExitStack() as stack:
        part = stack.enter_context(whole_file(out))
        file = stack.enter_context(part.open("w", encoding="utf-8", newline=""))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        results = stack.enter_context(map_in_processes(model, groups, processes))
        for group, found in zip(groups, results, strict=True):
            rows += found
            writer.writerows(found)
            file.flush()
            finished(group, len(rows))
    return rows


def read_rows(
    path: Path, columns: Sequence[str], expected: str, value: Callable[[str, str], Any]
) -> list[Row]:
    """The rows that write_rows wrote.

    Args:
        path: the file.
        columns: its header.
        expected: description of the columns, for the error.
        value: the value of a cell, by the names of its column and its text; raises ValueError for a
            wrong one.

    Raises:
        ValueError: the file has other columns, no row or a wrong cell; the message names the line.
        OSError: the file cannot be read.
    """
    rows: list[Row] = []
    take_table(
        path,
        columns,
        expected,
        lambda cells: rows.append({name: value(name, text) for name, text in cells.items()}),
    )
    if not rows:
        raise ValueError(f"{path}: there is no row in it")
    return rows


def number(name: str, text: str, whole: bool) -> float:
    """A finite number of a cell, an int if it is a whole one.

    Raises:
        ValueError: the text is no such number.
    """
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a number, got {shown(text)}")
    return value
