"""Opens the tables of profiles, whatever the profilers wrote: CSV, a database, or a directory.

The tables of the databases msprof_*.db and ascend_pytorch_profiler_*.db are those of Ascend/msprof
(docs/en/user_guide/profile_data_file_references_db.md): COMPUTE_TASK_INFO has the ops, TASK their
times in ns, COMMUNICATION_OP the collectives, STRING_IDS the text of all of them. They are read as
the table that op_summary_*.csv would be.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote

from ascend_prefetch.files import open_regular

from .exports import WANTED, what_format
from .tables import Line, table_lines

_SQLITE = b"SQLite format 3\0"

# Number of bytes at the start of a file that suffice to recognise its format.
_PEEKED = 64

# What a profiler's directory may hold of the same run, the most detailed first.
_IN_DIRECTORIES = ("kernel_details.csv", "op_summary*.csv", "*.db")

# Columns of the table that a database is read as, and where each stands in it. Texts are numbers
# there, keys of STRING_IDS. Before there was blockNum, blockDim was the number of blocks.
_TEXTS = {
    "Op Name": ("name",),
    "OP Type": ("opType",),
    "Task Type": ("taskType",),
    "Input Shapes": ("inputShapes",),
    "Input Data Types": ("inputDataTypes",),
    "Input Formats": ("inputFormats",),
    "Output Shapes": ("outputShapes",),
}
_NUMBERS = {"Block Num": ("blockNum", "blockDim")}
_DURATION = "Task Duration(us)"
_NAMES = (*_TEXTS, *_NUMBERS, _DURATION)
_OPS, _TASKS, _COLLECTIVES, _STRINGS = "COMPUTE_TASK_INFO", "TASK", "COMMUNICATION_OP", "STRING_IDS"


class Table(NamedTuple):
    """An open table.

    Attributes:
        path: the file that it is read from.
        header: the line of column names, which may be damaged.
        lines: the lines after it; of a database the rows, numbered from 1 on.
    """

    path: Path
    header: Line
    lines: Iterator[Line]


@contextmanager
def open_table(path: Path, wanted: str = WANTED) -> Iterator[Table]:
    """Opens a CSV file, a profiler's database, or what a profiler's directory holds of these.

    Args:
        path: a file or a directory, such as PROF_*, *_ascend_pt or ASCEND_PROFILER_OUTPUT.
        wanted: what is expected, for errors.

    Raises:
        ValueError: the file is empty, damaged or of another format, which is named; or the
            directory holds no profile, or several.
        OSError: the file cannot be read.
    """
    if path.is_dir():
        path = _file_in(path, wanted)
    with open_regular(path) as file:
        start = file.read(_PEEKED)
        file.seek(0)
        if start.startswith(_SQLITE):
            with closing(_connect(path)) as database:
                yield Table(path, Line(1, list(_NAMES)), _rows(database, wanted))
            return
        yield _csv(path, file, start, wanted)


def _csv(path: Path, file: BinaryIO, start: bytes, wanted: str) -> Table:
    if other := what_format(start):
        raise ValueError(f"{path}: expected a table as CSV, {wanted}, but it is {other}")
    lines = table_lines(file)
    header = next(lines, None)
    if header is None:
        raise ValueError(f"{path}: it is empty")
    return Table(path, header, lines)


def _file_in(directory: Path, wanted: str) -> Path:
    """The file of a profile in a directory or in those below it."""
    for pattern in _IN_DIRECTORIES:
        found = sorted(path for path in directory.rglob(pattern) if _is_profile(path))
        if len(found) == 1:
            return found[0]
        if found:
            named = ", ".join(str(path.relative_to(directory)) for path in found[:3])
            raise ValueError(
                f"{directory}: expected the profile of one device, found {len(found)}: {named}"
                + (", ..." if len(found) > 3 else "")
                + "; name one of them"
            )
    raise ValueError(f"{directory}: expected {wanted} in it, found none")


def _is_profile(path: Path) -> bool:
    """Whether a file of a profile's name is one: databases may be others, of raw data."""
    if not path.is_file():
        return False
    if path.suffix != ".db":
        return True
    try:
        with closing(_connect(path)) as database:
            return _OPS in _tables(database)
    except (sqlite3.Error, ValueError):
        return False


def _connect(path: Path) -> sqlite3.Connection:
    # Read-only, and without the files that sqlite would make beside a database that is in use.
    address = f"file:{quote(os.fsencode(path.resolve()))}?mode=ro&immutable=1"
    database = sqlite3.connect(address, uri=True)
    # Strings that are no text cost their cell, not the table.
    database.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    return database


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def _rows(database: sqlite3.Connection, wanted: str) -> Iterator[Line]:
    """The ops that ran on the device and the collectives, each in the order of time, as _NAMES.

    Raises:
        ValueError: the database is damaged, or has other tables.
    """
    try:
        tables = _tables(database)
        missing = [table for table in (_OPS, _TASKS, _STRINGS) if table not in tables]
        if missing:
            raise ValueError(
                f"expected {wanted}, but it is a database without {' and '.join(missing)}: "
                "expected msprof_*.db or ascend_pytorch_profiler_*.db"
            )
        _check_columns(database, _STRINGS, ("id", "value"))
        strings = dict(database.execute(f"SELECT id, value FROM {_STRINGS}"))
        queries = [_ops_query(database)]
        if _COLLECTIVES in tables:
            queries.append(_collectives_query(database))
        number = 0
        for query in queries:
            for row in database.execute(query):
                number += 1
                yield Line(number, _cells(row, strings))
    except sqlite3.Error as error:
        raise ValueError(f"a damaged database: {error}") from None


def _cells(row: Sequence[Any], strings: Mapping[Any, Any]) -> list[str]:
    """A row as the line of a table: its texts, its numbers, and its duration in us."""
    texts = [strings.get(cell, "N/A") for cell in row[: len(_TEXTS)]]
    *numbers, begin, end = row[len(_TEXTS) :]
    known = isinstance(begin, int) and isinstance(end, int)
    cells = [*texts, *numbers, f"{(end - begin) / 1e3:.3f}" if known else None]
    return ["N/A" if cell is None else str(cell) for cell in cells]


def _ops_query(database: sqlite3.Connection) -> str:
    there = _check_columns(database, _OPS, ("globalTaskId",))
    _check_columns(database, _TASKS, ("globalTaskId", "startNs", "endNs"))
    found = [
        next((f"o.{name}" for name in names if name in there), "NULL")
        for names in (_TEXTS | _NUMBERS).values()
    ]
    return (
        f"SELECT {', '.join(found)}, t.startNs, t.endNs FROM {_OPS} o "
        f"JOIN {_TASKS} t ON t.globalTaskId = o.globalTaskId ORDER BY t.startNs"
    )


def _collectives_query(database: sqlite3.Connection) -> str:
    there = _check_columns(database, _COLLECTIVES, ("opName", "startNs", "endNs"))
    kind = "opType" if "opType" in there else "NULL"
    rest = ", ".join(["NULL"] * (len(_TEXTS) + len(_NUMBERS) - 2))
    return f"SELECT opName, {kind}, {rest}, startNs, endNs FROM {_COLLECTIVES} ORDER BY startNs"


def _check_columns(database: sqlite3.Connection, table: str, needed: tuple[str, ...]) -> set[str]:
    """The columns of a table.

    Raises:
        ValueError: one that is needed is not there.
    """
    there = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    for column in needed:
        if column not in there:
            raise ValueError(
                f"table {table}: expected a column {column}, got {', '.join(sorted(there))}"
            )
    return there
