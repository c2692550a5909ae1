"""Reads CSV tables line by line, so that a damaged line spoils no other, and parses cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ascend_prefetch.files import open_regular
from ascend_prefetch.shown import shown

MIN_US = 1e-3
MAX_US = 1e9
"""Upper limit of a measured time; profilers write us with three decimals, 1e9 us are 17 minutes."""

# No real line is longer. Without a limit a file of zeros would be one line, as large as the file.
_MAX_LINE_BYTES = 1 << 20

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class Line(NamedTuple):
    """A non-empty line of a table.

    Attributes:
        number: line number, from 1 on.
        cells: the cells without surrounding spaces; empty for a damaged line.
        damage: why the line cannot be read; "" if it can.
    """

    number: int
    cells: list[str]
    damage: str = ""


def table_lines(file: BinaryIO) -> Iterator[Line]:
    """The lines of a CSV file in UTF-8. A quoted cell may not span lines.

    Args:
        file: the file, at its beginning.
    """
    number = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        whole = True
        while len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
            whole, line = False, file.readline(_MAX_LINE_BYTES)
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not whole:
            yield Line(number, [], f"expected a line, got more than {_MAX_LINE_BYTES} bytes")
        elif line.strip():
            yield _line(number, line.rstrip(b"\r\n"))


def columns_twice(names: Sequence[str], used: Sequence[str]) -> list[str]:
    """The `used` columns that a table has more than once, so that one would hide the other."""
    return [name for name in used if names.count(name) > 1]


def row_of(names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """The cells by the names of their columns.

    Raises:
        ValueError: there are more or fewer cells than columns.
    """
    if len(cells) != len(names):
        raise ValueError(f"expected {len(names)} cells, got {len(cells)}")
    return dict(zip(names, cells, strict=True))


class BadLine(ValueError):
    """An error in a line of a table.

    Attributes:
        number: line number, from 1 on.
    """

    def __init__(self, number: int, problem: object) -> None:
        super().__init__(str(problem))
        self.number = number


def take_rows(
    lines: Iterable[Line], columns: Sequence[str], take: Callable[[dict[str, str]], object]
) -> None:
    """Passes every row of a table to `take`; no line may be wrong.

    Args:
        lines: the lines after the header.
        columns: the names in the header.
        take: called with each row; raises ValueError for an invalid one.

    Raises:
        BadLine: at the first line that is damaged, has too many or too few cells, or is refused by
            `take`.
    """
    for line in lines:
        try:
            if line.damage:
                raise ValueError(line.damage)
            take(row_of(columns, line.cells))
        except ValueError as error:
            raise BadLine(line.number, error) from error


def take_table(
    path: Path, columns: Sequence[str], expected: str, take: Callable[[dict[str, str]], object]
) -> None:
    """Applies `take_rows` to a file with exactly these columns, in this order.

    Args:
        path: the file.
        columns: the expected names in the header.
        expected: description of the columns, for the error.
        take: as in `take_rows`.

    Raises:
        ValueError: the columns differ, or as in `take_rows`; file and line are named.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        lines = table_lines(file)
        try:
            header = next(lines, Line(1, []))
            if header.cells != list(columns):
                raise BadLine(header.number, f"expected {expected}")
            take_rows(lines, columns, take)
        except BadLine as error:
            raise ValueError(f"{path}, line {error.number}: {error}") from error


def microseconds(column: str, text: str) -> float:
    """Parses a measured time.

    Raises:
        ValueError: not a number from MIN_US to MAX_US. A time near 0 would make any model's
            error infinite.
    """
    value = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not MIN_US <= value < MAX_US:
        raise ValueError(f"{column}: expected us from {MIN_US:g} to {MAX_US:g}, got {shown(text)}")
    return value


def whole_number(column: str, text: str, most: int) -> int:
    """Parses a positive integer.

    Raises:
        ValueError: not an integer from 1 to `most` in decimal digits.
    """
    digits = re.fullmatch(r"[0-9]{1,9}", text)
    if digits is None or not 0 < int(text) <= most:
        raise ValueError(f"{column}: expected a number from 1 to {most}, got {shown(text)}")
    return int(text)


def _line(number: int, content: bytes) -> Line:
    if b"\0" in content:
        return Line(number, [], "there are bytes of value 0 in it")
    try:
        (cells,) = csv.reader([content.decode("utf-8")], strict=True)
    except UnicodeDecodeError as error:
        return Line(number, [], f"no text in UTF-8: {error}")
    except csv.Error as error:
        return Line(number, [], f"no line of CSV: {error}")
    return Line(number, [cell.strip() for cell in cells])
