"""Adds measured points to a points file."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ascend_prefetch.files import whole_file

from .points import COLUMNS
from .tables import take_table

Row = Mapping[str, str]


def add_points(path: Path, rows: Sequence[Row]) -> None:
    """Adds rows to a points file; they replace rows with the same id.

    Args:
        path: a points file, which is created if it does not exist.
        rows: values by the names in COLUMNS.

    Raises:
        ValueError: as in `known_points`; the file is unchanged.
        OSError: the file cannot be read or written.
    """
    merged = known_points(path)
    merged |= {row["id"]: row for row in rows}
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged.values())


def known_points(path: Path) -> dict[str, Row]:
    """The rows of a points file by id, with their text unchanged; empty if there is no file.

    Raises:
        ValueError: the file is not a points file with COLUMNS, a line is damaged, or an id occurs
            twice. Writing the file again would lose what cannot be read.
        OSError: the file cannot be read.
    """
    known: dict[str, Row] = {}

    def take(row: Row) -> None:
        if row["id"] in known:
            raise ValueError(f"id: there is a second {row['id']!r}")
        known[row["id"]] = row

    with contextlib.suppress(FileNotFoundError):
        take_table(path, COLUMNS, "the columns " + ",".join(COLUMNS), take)
    return known
