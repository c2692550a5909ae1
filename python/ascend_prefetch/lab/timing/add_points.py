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
    """Writes rows that `read_points` reads, in place of those of the same id.

    Args:
        path: a points file; made where there is none.
        rows: values by COLUMNS.

    Raises:
        ValueError: as `known_points`; the file is as it was.
        OSError: it cannot be read or written.
    """
    merged = known_points(path)
    merged |= {row["id"]: row for row in rows}
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged.values())


def known_points(path: Path) -> dict[str, Row]:
    """The rows of a points file by id, as they stand there; none where there is no file.

    Raises:
        ValueError: the file is no points file of COLUMNS, a line is damaged, or an id is there
            twice: what cannot be read would be lost when it is written again.
        OSError: it cannot be read.
    """
    known: dict[str, Row] = {}

    def take(row: Row) -> None:
        if row["id"] in known:
            raise ValueError(f"id: there is a second {row['id']!r}")
        known[row["id"]] = row

    with contextlib.suppress(FileNotFoundError):
        take_table(path, COLUMNS, "the columns " + ",".join(COLUMNS), take)
    return known
