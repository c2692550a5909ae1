"""Adds measured points to a points file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from .points import COLUMNS


def add_points(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Writes rows that `read_points` reads, in place of those of the same id.

    Args:
        path: a points file; made where there is none.
        rows: values by COLUMNS.

    Raises:
        ValueError: the file is no points file of these columns.
        OSError: it cannot be read or written.
    """
    merged: dict[str, Mapping[str, str]] = {}
    if path.exists():
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{path}: expected the columns {','.join(COLUMNS)}")
            merged = {row["id"]: row for row in reader}
    merged |= {row["id"]: row for row in rows}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged.values())
