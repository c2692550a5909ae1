"""Files of measured points."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ascend_prefetch import twin

from .op_summary import ProfileReader, is_profile
from .point import METRICS, Copying, Kernel, Point

COLUMNS = (
    "id", "kernel", "soc", "aic", "aiv", "dtype", "m", "n", "k", "weight_layout", "total_bytes",
    "tile", "l2_state", "metric", "value_us", "launch_included", "source",
)  # fmt: skip
"""Columns of a points file; total_bytes, l2_state and source are not used."""

KERNELS = ("copy_gm_ub", "copy_gm_l1", "gemm")

PUBLISHED_POINTS = Path(__file__).with_name("measured.csv")
"""Measurements that others published, each with its source."""

# Of a matrix; what the model takes has 32 bits.
_MOST_ROWS = 2**24


@dataclass(frozen=True)
class Points:
    """What a file holds.

    Attributes:
        points: in the order of the file.
        skipped: rows of a profile that did not become points, by reason.
    """

    points: list[Point]
    skipped: Mapping[str, int] = field(default_factory=dict)


def read_points(path: Path, soc: str | None = None) -> Points:
    """Reads a points file, or a profile (see op_summary.py).

    Args:
        path: CSV with COLUMNS, or a profile.
        soc: the chip: of a points file the rows of this one are taken, else all of them; a profile
            does not say where it was taken and needs it.

    Raises:
        ValueError: a malformed file, whose line is named; nothing in it for the chip.
        OSError: a file that cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            names = [name.strip() for name in next(reader, [])]
            profile = ProfileReader(soc) if is_profile(names) else None
            missing = [name for name in COLUMNS if name not in names]
            if missing and profile is None:
                raise ValueError("there is no column " + ", ".join(missing))
            points: list[Point] = []
            known: set[str] = set()
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(names):
                    raise ValueError(f"expected {len(names)} cells, got {len(cells)}")
                row = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
                if profile is not None:
                    profile.add(row)
                    continue
                points.append(_point(row))
                if row["id"] in known:
                    raise ValueError(f"id: there is a second {row['id']!r}")
                known.add(row["id"])
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: no text in UTF-8: {error}") from error
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}, line {max(reader.line_num, 1)}: {error}") from error
    result = Points(points) if profile is None else Points(profile.points(), profile.skipped)
    if profile is None and soc is not None:
        result = Points([point for point in points if point.kernel.soc == soc])
    if not result.points:
        rows = sum(result.skipped.values())
        raise ValueError(
            f"{path}: there is no point in it"
            + (f" of {soc}" if points else f": {rows} rows, none a product to model" * (rows > 0))
        )
    return result


def _point(row: Mapping[str, str]) -> Point:
    name = _one_of(row, "kernel", KERNELS)
    chip = twin.find_chip(row["soc"])
    gemm = name == "gemm"
    if not row["id"]:
        raise ValueError("id: expected a name, got none")
    cores = "aiv" if name == "copy_gm_ub" else "aic"
    kernel = Kernel(
        name=name,
        soc=row["soc"],
        cores=_count(row, cores, chip["aiv_count" if cores == "aiv" else "aic_count"]),
        m=_count(row, "m"),
        n=_count(row, "n"),
        k=_count(row, "k") if gemm else 0,
        bf16=_one_of(row, "dtype", ("fp16", "bf16")) == "bf16",
        nz=gemm and _one_of(row, "weight_layout", ("ND", "NZ")) == "NZ",
        copying=None if gemm else _copying(row["tile"]),
    )
    return Point(
        id=row["id"],
        kernel=kernel,
        metric=_one_of(row, "metric", METRICS),
        measured_us=_microseconds(row, "value_us"),
        launch_included=_one_of(row, "launch_included", ("yes", "no")) == "yes",
    )


def _copying(tile: str) -> Copying:
    """Of a copy of 16-bit elements, in the words of the file."""
    if match := re.fullmatch(r"(\d{1,5})KB rows of (\d{1,5})(KB|B)", tile):
        row = int(match[2]) * (1024 if match[3] == "KB" else 1)
        if row and int(match[1]) and int(match[1]) * 1024 % row == 0:
            return Copying(int(match[1]) * 1024 // row, row)
    if match := re.fullmatch(r"([1-9]\d{0,5})B per instruction", tile):
        return Copying(1, int(match[1]))
    if match := re.fullmatch(r"[\d.]+MB slices read ([1-9]\d{0,3}) times", tile):
        # As many slices as readings: the whole is 4 times a slice where each is read 4 times.
        return Copying(64, 2048, slices=int(match[1]), repeats=int(match[1]))
    if match := re.fullmatch(r"whole tensor read ([1-9]\d{0,3}) times", tile):
        return Copying(64, 2048, repeats=int(match[1]))
    raise ValueError(
        "tile: expected 'xKB rows of yKB', 'xKB rows of yB', 'xB per instruction', "
        f"'xMB slices read y times' or 'whole tensor read y times', got {tile!r}"
    )


def _one_of(row: Mapping[str, str], column: str, allowed: Sequence[str]) -> str:
    if row[column] not in allowed:
        raise ValueError(f"{column}: expected one of {', '.join(allowed)}, got {row[column]!r}")
    return row[column]


def _count(row: Mapping[str, str], column: str, most: int = _MOST_ROWS) -> int:
    text = row[column]
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 0 < int(text) <= most):
        raise ValueError(f"{column}: expected a number from 1 to {most}, got {text!r}")
    return int(text)


def _microseconds(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError(f"{column}: expected us above 0, got {row[column]!r}")
    return value
