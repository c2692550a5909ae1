"""Files of measured points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ascend_prefetch.lab import twin
from ascend_prefetch.shown import count_of, shown

from .exports import WANTED, what_table
from .op_summary import ProfileReader, is_profile
from .point import METRICS, Copying, Point, PointKernel
from .profiles import Table, open_table
from .tables import (
    BadLine,
    Line,
    columns_twice,
    microseconds,
    row_of,
    take_rows,
    whole_number,
)

COLUMNS = (
    "id", "kernel", "soc", "aic", "aiv", "dtype", "m", "n", "k", "weight_layout", "total_bytes",
    "tile", "l2_state", "metric", "value_us", "launch_included", "source",
)  # fmt: skip
"""Columns of a points file; total_bytes and source are not used."""

KERNELS = ("copy_gm_ub", "copy_gm_l1", "gemm", "quant_gemm")

# Element types of each kernel. A quant_gemm quantises bf16 and multiplies int8; rows give either.
_DTYPES = {
    "gemm": ("fp16", "bf16", "fp32", "int8"),
    "quant_gemm": ("int8", "bf16"),
}

PUBLISHED_POINTS = Path(__file__).with_name("measured.csv")
"""Measurements published by others, each with its source."""

# Maximum rows of a matrix; the model takes 32-bit numbers.
_MAX_ROWS = 2**24

# Maximum length of an id, since printed tables are as wide as their longest id.
_LONGEST_ID = 200


@dataclass(frozen=True)
class Points:
    """The content of a file.

    Attributes:
        points: the points, in the order of the file.
        skipped: number of rows of a profile that did not become points, by reason.
        damaged: for lines of a profile that could not be read, the reason by line number.
    """

    points: list[Point]
    skipped: Mapping[str, int] = field(default_factory=dict)
    damaged: Mapping[int, str] = field(default_factory=dict)


def read_points(path: Path, soc: str | None = None) -> Points:
    """Reads a points file, or a profile (see op_summary.py).

    A damaged line of a profile, as a full disk or a killed exporter may leave it, is skipped. A
    damaged line of a points file is refused: such files are written by hand or by `bench`, so the
    line can be corrected.

    Args:
        path: CSV with COLUMNS, or a profile: a CSV file, a database, or a profiler's directory.
        soc: the chip. Only this chip's rows of a points file are taken, or all rows if it is None.
            A profile does not tell its chip, so it requires one.

    Raises:
        ValueError: the file is of another kind, which is named if it is one of the profilers'; a
            line of a points file is malformed, and named; or the file has no point for the chip,
            for the reason given.
        OSError: the file cannot be read.
    """
    with open_table(path, f"{WANTED}, or a points file") as table:
        try:
            return _read(table, soc)
        except BadLine as error:
            raise ValueError(f"{table.path}, line {error.number}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{table.path}: {error}") from error


def what_was_left_out(skipped: Mapping[str, int], damaged: Mapping[int, str]) -> list[str]:
    """Lines about the rows of a profile that are in no point: reasons and counts, line numbers."""
    lines = []
    if skipped:
        reasons = ", ".join(f"{count} of {reason}" for reason, count in sorted(skipped.items()))
        lines.append(f"{count_of(sum(skipped.values()), 'row')} skipped: {reasons}")
    if damaged:
        first = [f"line {number}: {why}" for number, why in sorted(damaged.items())]
        more = [f"{len(first) - _MAX_NAMED} more"] if len(first) > _MAX_NAMED else []
        lines.append(
            f"{count_of(len(damaged), 'line')} could not be read: "
            + "; ".join(first[:_MAX_NAMED] + more)
        )
    return lines


# Maximum number of damaged lines that are named; all of them are counted.
_MAX_NAMED = 3


def _read(table: Table, soc: str | None) -> Points:
    _, header, lines = table
    try:
        if header.damage:
            raise ValueError(header.damage)
        is_one = _is_profile(header.cells)
    except ValueError as error:
        raise BadLine(header.number, error) from error
    if not is_one:
        return _read_points(header.cells, lines, soc)
    return _read_profile(ProfileReader(soc), header.cells, lines)


def _is_profile(names: list[str]) -> bool:
    """Whether a file with these columns is a profile; raises ValueError if it is no points file."""
    if is_profile(names):
        return True
    if twice := columns_twice(names, COLUMNS):
        raise ValueError(f"the column {twice[0]} is there twice")
    missing = [name for name in COLUMNS if name not in names]
    if len(missing) > len(COLUMNS) / 2:
        other = what_table(names) or "a file with the columns " + shown(", ".join(names))
        raise ValueError(f"expected {WANTED}, or a points file, got {other}")
    if missing:
        raise ValueError("there is no column " + ", ".join(missing))
    return False


def _read_profile(profile: ProfileReader, names: list[str], lines: Iterator[Line]) -> Points:
    damaged: dict[int, str] = {}
    for line in lines:
        try:
            if line.damage:
                raise ValueError(line.damage)
            profile.add(row_of(names, line.cells))
        except ValueError as error:
            damaged[line.number] = str(error)
    points = profile.points()
    if not points:
        left_out = what_was_left_out(profile.skipped, damaged)
        why = [profile.why_none()] if profile.skipped else []
        raise ValueError("; ".join([*why, *left_out]) or "there is no row in it")
    return Points(points, profile.skipped, damaged)


def _read_points(names: list[str], lines: Iterator[Line], soc: str | None) -> Points:
    points: dict[str, Point] = {}

    def take(row: Mapping[str, str]) -> None:
        point = _point(row)
        if point.id in points:
            raise ValueError(f"id: there is a second {point.id!r}")
        points[point.id] = point

    take_rows(lines, names, take)
    found = [point for point in points.values() if soc is None or point.kernel.soc == soc]
    if not found:
        raise ValueError("there is no point in it" + f" of {soc}" * bool(points))
    return Points(found)


def _point(row: Mapping[str, str]) -> Point:
    name = _one_of(row, "kernel", KERNELS)
    chip = twin.find_chip(row["soc"])
    product = name in _DTYPES
    if not row["id"]:
        raise ValueError("id: expected a name, got none")
    if not (row["id"].isprintable() and len(row["id"]) <= _LONGEST_ID):
        raise ValueError(
            f"id: expected at most {_LONGEST_ID} characters that can be printed, "
            f"got {shown(row['id'])}"
        )
    cores = "aiv" if name == "copy_gm_ub" else "aic"
    kernel = PointKernel(
        name=name,
        soc=row["soc"],
        cores=whole_number(cores, row[cores], chip["aiv_count" if cores == "aiv" else "aic_count"]),
        m=whole_number("m", row["m"], _MAX_ROWS),
        n=whole_number("n", row["n"], _MAX_ROWS),
        k=whole_number("k", row["k"], _MAX_ROWS) if product else 0,
        dtype=_dtype(row, name),
        nz=product and _one_of(row, "weight_layout", ("ND", "NZ")) == "NZ",
        copying=None if product else _copying(row["tile"]),
        weights=_weights_in_turn(row["l2_state"], product),
    )
    return Point(
        id=row["id"],
        kernel=kernel,
        metric=_one_of(row, "metric", METRICS),
        measured_us=microseconds("value_us", row["value_us"]),
        launch_included=_one_of(row, "launch_included", ("yes", "no")) == "yes",
    )


def _dtype(row: Mapping[str, str], kernel: str) -> str:
    dtype = _one_of(row, "dtype", _DTYPES.get(kernel, ("fp16", "bf16")))
    return "int8" if kernel == "quant_gemm" else dtype


def _weights_in_turn(state: str, product: bool) -> int:
    """Kernel.weights, from the column `l2_state`; a copy's tile tells what it reads again."""
    if state in ("", "cold") or (not product and re.fullmatch(r"hit [0-9]{1,3}%", state)):
        return 0
    if state == "warm":
        return 1
    if match := re.fullmatch(r"rotate:([1-9][0-9]{0,2})", state):
        return int(match[1])
    raise ValueError(
        f"l2_state: expected cold, warm or rotate:N, N from 1 to 999, got {shown(state)}"
    )


def _copying(tile: str) -> Copying:
    """Parses the column `tile` of a copy of 16-bit elements."""
    if match := re.fullmatch(r"([0-9]{1,5})KB rows of ([0-9]{1,5})(KB|B)", tile):
        row = int(match[2]) * (1024 if match[3] == "KB" else 1)
        if row and int(match[1]) and int(match[1]) * 1024 % row == 0:
            return Copying(int(match[1]) * 1024 // row, row)
    if match := re.fullmatch(r"([1-9][0-9]{0,5})B per instruction", tile):
        return Copying(1, int(match[1]))
    if match := re.fullmatch(r"[0-9.]+MB slices read ([1-9][0-9]{0,3}) times", tile):
        # There are as many slices as repeats: a matrix whose slices are read 4 times has 4 slices.
        return Copying(64, 2048, slices=int(match[1]), repeats=int(match[1]))
    if match := re.fullmatch(r"whole tensor read ([1-9][0-9]{0,3}) times", tile):
        return Copying(64, 2048, repeats=int(match[1]))
    raise ValueError(
        "tile: expected 'xKB rows of yKB', 'xKB rows of yB', 'xB per instruction', "
        f"'xMB slices read y times' or 'whole tensor read y times', got {shown(tile)}"
    )


def _one_of(row: Mapping[str, str], column: str, allowed: Sequence[str]) -> str:
    if row[column] not in allowed:
        raise ValueError(
            f"{column}: expected one of {', '.join(allowed)}, got {shown(row[column])}"
        )
    return row[column]
