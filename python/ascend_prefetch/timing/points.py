"""Measured points: what files of them look like, and the kernel that stands for each."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ascend_prefetch import _C, twin

COLUMNS = (
    "id", "kernel", "soc", "aic", "aiv", "dtype", "m", "n", "k", "weight_layout", "total_bytes",
    "tile", "l2_state", "metric", "value_us", "launch_included", "source",
)  # fmt: skip
"""Columns of a points file; total_bytes, l2_state and source are not used."""

KERNELS = ("copy_gm_ub", "copy_gm_l1", "gemm")
METRICS = ("task", "aic_time", "mte2", "mac")
_MSPROF_COLUMNS = ("OP Type", "Task Duration(us)", "Input Shapes", "Input Data Types")


@dataclass(frozen=True)
class Copying:
    """How a copy goes over its matrix: tiles, and how often each part of the columns is read."""

    tile_rows: int
    tile_bytes: int
    slices: int = 1
    repeats: int = 1


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        id: its name.
        kernel: "copy_gm_ub", "copy_gm_l1" or "gemm".
        soc: SoC name.
        cores: cores of the kernel's type.
        m, n, k: of a gemm; rows and columns of the matrix of a copy.
        bf16: the type of a gemm, else fp16.
        nz: the weight is FRACTAL_NZ.
        copying: of a copy.
        metric: "task" and "aic_time" are the whole kernel, "mte2" and "mac" what that pipe worked.
        measured_us: what was measured.
        launch_included: whether that holds launch and start.
    """

    id: str
    kernel: str
    soc: str
    cores: int
    m: int
    n: int
    k: int
    bf16: bool
    nz: bool
    copying: Copying | None
    metric: str
    measured_us: float
    launch_included: bool

    def trace(self) -> bytes:
        """The kernel's trace, from a dry run of the twin.

        Raises:
            ValueError: a shape that the kernel does not take.
        """
        if self.copying is None:
            return _C.trace_matmul(self.soc, self.m, self.n, self.k, self.nz, self.bf16, self.cores)
        copying = self.copying
        return _C.trace_copy(
            self.soc,
            self.m,
            2 * self.n,
            copying.tile_rows,
            copying.tile_bytes,
            copying.slices,
            copying.repeats,
            self.kernel == "copy_gm_l1",
            self.cores,
        )


def read_points(path: Path) -> list[Point]:
    """Reads a points file, or an op_summary file of msprof.

    Args:
        path: CSV with COLUMNS; or msprof's, of which matrix products become points of metric
            "task" and everything else is left out.

    Raises:
        ValueError: a malformed file; names the line.
        OSError: a file that cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            msprof = set(_MSPROF_COLUMNS) <= set(names)
            missing = [name for name in COLUMNS if name not in names]
            if missing and not msprof:
                raise ValueError(f"{path}, line 1: there is no column {', '.join(missing)}")
            points = []
            for row in reader:
                point = _read(path, reader.line_num, row, msprof)
                if point is not None:
                    points.append(point)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: no CSV file: {error}") from error
    if not points:
        raise ValueError(f"{path}: there is no point in it")
    return points


def _read(path: Path, line: int, row: Mapping[str, str | None], msprof: bool) -> Point | None:
    try:
        if None in row or None in row.values():
            raise ValueError(f"expected {len([key for key in row if key])} columns")
        fields = {key: (value or "").strip() for key, value in row.items()}
        return _msprof_point(fields, line) if msprof else _point(fields)
    except ValueError as error:
        raise ValueError(f"{path}, line {line}: {error}") from error


def _point(row: Mapping[str, str]) -> Point:
    kernel = _one_of(row, "kernel", KERNELS)
    metric = _one_of(row, "metric", METRICS)
    soc = row["soc"]
    twin.find_chip(soc)
    gemm = kernel == "gemm"
    return Point(
        id=row["id"],
        kernel=kernel,
        soc=soc,
        cores=_count(row, "aiv" if kernel == "copy_gm_ub" else "aic"),
        m=_count(row, "m"),
        n=_count(row, "n"),
        k=_count(row, "k") if gemm else 0,
        bf16=_one_of(row, "dtype", ("fp16", "bf16")) == "bf16",
        nz=gemm and _one_of(row, "weight_layout", ("ND", "NZ")) == "NZ",
        copying=None if gemm else _copying(row["tile"]),
        metric=metric,
        measured_us=_microseconds(row, "value_us"),
        launch_included=_one_of(row, "launch_included", ("yes", "no")) == "yes",
    )


def _copying(tile: str) -> Copying:
    """Of a copy of 16-bit elements, in the words of the file."""
    if match := re.fullmatch(r"(\d+)KB rows of (\d+)(KB|B)", tile):
        row = int(match[2]) * (1024 if match[3] == "KB" else 1)
        if row and int(match[1]) * 1024 % row == 0:
            return Copying(int(match[1]) * 1024 // row, row)
    if match := re.fullmatch(r"(\d+)B per instruction", tile):
        return Copying(1, int(match[1]))
    if match := re.fullmatch(r"[\d.]+MB slices read (\d+) times", tile):
        # As many slices as readings: the whole is 4 times a slice where each is read 4 times.
        return Copying(64, 2048, slices=int(match[1]), repeats=int(match[1]))
    if match := re.fullmatch(r"whole tensor read (\d+) times", tile):
        return Copying(64, 2048, repeats=int(match[1]))
    raise ValueError(
        "tile: expected 'xKB rows of yKB', 'xKB rows of yB', 'xB per instruction', "
        f"'xMB slices read y times' or 'whole tensor read y times', got {tile!r}"
    )


def _msprof_point(row: Mapping[str, str], line: int) -> Point | None:
    """A matrix product of an op_summary; None for other ops and types."""
    if not row["OP Type"].startswith("MatMul"):
        return None
    shapes = [
        [int(size) for size in shape.split(",")]
        for shape in row["Input Shapes"].strip('"').split(";")
        if shape
    ]
    types = row["Input Data Types"].split(";")
    names = {"DT_BF16": True, "BF16": True, "DT_FLOAT16": False, "FLOAT16": False}
    if len(shapes) < 2 or len(shapes[0]) != 2 or types[0] not in names:
        return None
    (m, k), weight = shapes[0], shapes[1]
    formats = row.get("Input Formats", "").split(";")
    nz = len(weight) == 4 or (len(formats) > 1 and formats[1] == "FRACTAL_NZ")
    size = 1
    for factor in weight:
        size *= factor
    if k == 0 or size % k:
        raise ValueError(f"Input Shapes: {row['Input Shapes']} is no matrix product")
    soc = row.get("SoC", "") or "Ascend910_9391"
    cores = row.get("Block Dim", "")
    return Point(
        id=row.get("Op Name") or f"line {line}",
        kernel="gemm",
        soc=soc,
        cores=min(int(cores) if cores else 0, twin.find_chip(soc)["aic_count"]),
        m=m,
        n=size // k,
        k=k,
        bf16=names[types[0]],
        nz=nz,
        copying=None,
        metric="task",
        measured_us=_microseconds(row, "Task Duration(us)"),
        launch_included=True,
    )


def _one_of(row: Mapping[str, str], column: str, allowed: Sequence[str]) -> str:
    if row[column] not in allowed:
        raise ValueError(f"{column}: expected one of {', '.join(allowed)}, got {row[column]!r}")
    return row[column]


def _count(row: Mapping[str, str], column: str) -> int:
    if not row[column].isdecimal() or int(row[column]) == 0:
        raise ValueError(f"{column}: expected a positive number, got {row[column]!r}")
    return int(row[column])


def _microseconds(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError(f"{column}: expected us above 0, got {row[column]!r}")
    return value
