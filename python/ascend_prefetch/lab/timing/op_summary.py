"""Matrix products of a profile: op_summary_*.csv of msprof, torch_npu's kernel_details.csv, or the
same table of their databases (profiles.py).

The columns are those of
https://www.hiascend.com/document/detail/en/canncommercial/850/devaids/profiling/
atlasprofiling_16_0067.html, and of the exporters' own lists of headers (Ascend/msprof,
Ascend/pytorch torch_npu/profiler/analysis/prof_common_func/_csv_headers.py).

A row becomes a point if it is
  - a MatMul, MatMulV2 or MatMulV3 of bf16 or fp16 that ran on AI_CORE, or
  - a QuantBatchMatmul of int8 by int8, which dequantises as the model's int8 product does: on
    AI_CORE with a scale for each output, on MIX_AIC where vector cores multiply by those of the
    tokens as well (hicann/ops-nn, matmul/quant_batch_matmul_v3/README.md). The two are kept apart.
All rows of one shape, type, layout and number of cores make one point with their median time, as a
profile has a product once per layer and step. Whether an operand is stored transposed is found from
the shapes. It makes no difference to the model, since the same number of bytes is read: the weight
is taken as [n, k]. A bias is neglected. Rows that do not become points are counted by reason:
  - quantised products of other types (int4 weights, 16-bit activations); batched and grouped ones;
    those fused with a collective; fp32
  - other products on MIX_AIC, where vector cores rewrite inputs whose rows are not aligned (the
    note on MatMul on the page above): another kernel than the model's
  - shapes that the model's kernel does not support, for example n or k not a multiple of 16

A profile taken at Level0 (torch_npu) or with --task-time=l0 (msprof) has neither op types nor
shapes: the columns are missing, or hold N/A.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from ascend_prefetch.lab import twin
from ascend_prefetch.shown import count_of, plain, shown

from .point import Point, PointKernel
from .tables import columns_twice, microseconds

NAMES = {
    "name": ("Op Name", "Name"),
    "type": ("OP Type", "Type"),
    "core": ("Task Type", "Accelerator Core"),
    "duration": ("Task Duration(us)", "Task Duration", "Duration(us)"),
    "blocks": ("Block Dim", "Block Num"),
    "shapes": ("Input Shapes",),
    "types": ("Input Data Types",),
    "formats": ("Input Formats",),
    "outputs": ("Output Shapes",),
}
"""The names of a column in different versions; kernel_details.csv has the last ones."""

_NEEDED = ("type", "duration", "shapes", "types")
_LEVEL0_HAS = ("type", "duration", "core")
_BF16 = {"DT_BF16": True, "BF16": True, "DT_FLOAT16": False, "FLOAT16": False}
NOTHING = ("", "N/A")
"""Cells of a profile without a value."""
_FRACTAL = 16  # rows, and columns of 16-bit elements

# Cores of a product whose vector cores have work too.
_MIX = "MIX_AIC"

# Parts of an op's type, the most specific first, and what distinguishes such a product.
_OTHER_PRODUCTS = (
    ("allreduce", "a product fused with a collective"),
    ("allgather", "a product fused with a collective"),
    ("reducescatter", "a product fused with a collective"),
    ("alltoall", "a product fused with a collective"),
    ("grouped", "a grouped product"),
    ("quant", "a quantised product"),
    ("batch", "a batched product"),
    ("matmul", "another product"),
)
_QUANTISED = "a quantised product"
_INT8 = ("INT8", "DT_INT8")
_INTEGER_TYPES = (*_INT8, "INT4", "DT_INT4")

_LEVEL0 = (
    "a profile without {what}: it was taken at Level0, which records none. Take it again with "
    "profiler_level=torch_npu.profiler.ProfilerLevel.Level1 in the profiler's _ExperimentalConfig, "
    "or with msprof --task-time=l1"
)


class _Skip(Exception):
    """A row does not become a point; it has the reason, under which the row is counted."""

    def __init__(self, reason: str, op_type: str = "") -> None:
        super().__init__(f"{reason} ({plain(op_type, 80)})" if op_type else reason)
        self.reason = reason


def is_profile(columns: Sequence[str]) -> bool:
    """Whether a file with these columns is a profile.

    Raises:
        ValueError: the profile was taken at Level0, or a column occurs twice.
    """
    missing = [NAMES[column][0] for column in _NEEDED if not _has(columns, column)]
    if missing and all(_has(columns, column) for column in _LEVEL0_HAS):
        raise ValueError(_LEVEL0.format(what=" and ".join(missing)))
    if missing:
        return False
    for column in NAMES:
        if column != "name":
            column_of(columns, column)
    return True


def column_of(columns: Sequence[str], column: str) -> str | None:
    """The name that a column of NAMES has in a file with these columns; None if it is not there.

    Raises:
        ValueError: it is there twice, or under two names.
    """
    there = [name for name in NAMES[column] if name in columns]
    if len(there) > 1:
        raise ValueError(f"expected one of the columns {' and '.join(there)}, got both")
    if columns_twice(columns, there):
        raise ValueError(f"the column {there[0]} is there twice")
    return there[0] if there else None


def _has(columns: Sequence[str], column: str) -> bool:
    return any(name in columns for name in NAMES[column])


class ProfileReader:
    """Collects the rows of a profile.

    Attributes:
        skipped: number of rows that do not become points, by reason.
    """

    def __init__(self, soc: str | None) -> None:
        """`soc` is as in read_points.

        Raises:
            ValueError: `soc` is None.
        """
        if soc is None:
            raise ValueError("a profile does not say its chip: name it by --soc")
        self._soc = soc
        self._most_cores = twin.find_chip(soc)["aic_count"]
        self._durations: dict[tuple[str, bool, PointKernel], list[float]] = {}
        self._kinds: Counter[str] = Counter()
        self._with_shapes = 0
        self.skipped: Counter[str] = Counter()

    def add(self, row: Mapping[str, str]) -> None:
        """Adds a row.

        Raises:
            ValueError: the row is malformed.
        """
        fields = {
            column: next((row[name] for name in names if name in row), "")
            for column, names in NAMES.items()
        }
        self._with_shapes += bool(_listed(fields["shapes"]))
        try:
            kernel = self._kernel(fields)
            duration = _duration(fields["duration"])
        except _Skip as skip:
            self.skipped[str(skip)] += 1
            self._kinds[skip.reason] += 1
            return
        key = (fields["type"], fields["core"] == _MIX, kernel)
        self._durations.setdefault(key, []).append(duration)

    def points(self) -> list[Point]:
        """A point for each kernel, in the order of the file."""
        points = []
        for (op_type, mixed, kernel), durations in self._durations.items():
            try:
                kernel.launches()
            except ValueError:
                self.skipped[_NO_SHAPE] += len(durations)
                self._kinds[_NO_SHAPE] += len(durations)
                continue
            cores = f" on {kernel.cores} cores" if kernel.cores != self._most_cores else ""
            cores += f" {_MIX}" if mixed else ""
            points.append(
                Point(
                    id=f"{op_type} {kernel.m}x{kernel.n}x{kernel.k} "
                    f"{kernel.dtype} {'NZ' if kernel.nz else 'ND'}{cores}",
                    kernel=kernel,
                    metric="task",
                    measured_us=statistics.median(durations),
                    launch_included=True,
                )
            )
        return points

    def why_none(self) -> str:
        """Why no row of the file became a point; call it after `points`."""
        products = {kind: count for kind, count in self._kinds.items() if "product" in kind}
        if self._with_shapes == 0 and (products or self._kinds[_NO_TYPE]):
            return _LEVEL0.format(what="op types" if self._kinds[_NO_TYPE] else "shapes")
        if set(products) == {_QUANTISED}:
            rows = count_of(products[_QUANTISED], "row")
            return (
                f"nothing but quantised products is in it, {rows}, of other types than int8 by int8"
            )
        return "no product in it is one to model" if products else "there is no product in it"

    def _kernel(self, fields: Mapping[str, str]) -> PointKernel:
        quantised = _check_op(fields["type"])
        allowed = ("AI_CORE", _MIX) if quantised else ("AI_CORE",)
        if fields["core"] not in (*allowed, *NOTHING):
            raise _Skip("a product on other cores", fields["core"])
        shapes = _shapes(fields["shapes"])
        if not shapes:
            raise _Skip("a product without shapes")
        dtype = _dtype(_listed(fields["types"]), fields["type"], quantised)
        formats = _listed(fields["formats"]) + ["", ""]
        outputs = _shapes(fields["outputs"])
        m, n, k = _product(shapes, outputs[0] if outputs else None, formats)
        return PointKernel(
            name="gemm",
            soc=self._soc,
            cores=self._cores(fields["blocks"]),
            m=m,
            n=n,
            k=k,
            dtype=dtype,
            nz=_is_nz(shapes[1], formats[1]),
        )

    def _cores(self, blocks: str) -> int:
        """The number of cores that run these blocks; excess blocks run after the first ones."""
        if blocks in NOTHING:
            return self._most_cores
        if not re.fullmatch(r"[0-9]{1,9}", blocks):
            raise ValueError(f"Block Dim: expected a number, got {shown(blocks)}")
        return min(int(blocks), self._most_cores) or self._most_cores


_NO_TYPE = "a row without an op type"
_NO_SHAPE = "a product of a shape that the model's kernel does not take"


def _check_op(op_type: str) -> bool:
    """Whether a product of two matrices is a quantised one; raises _Skip for another op."""
    if found := re.fullmatch(r"(?i)(QuantBatch)?MatMul(V[0-9]{1,3})?", op_type):
        return found[1] is not None
    if op_type in NOTHING:
        raise _Skip(_NO_TYPE)
    for word, reason in _OTHER_PRODUCTS:
        if word in op_type.lower() and "matmul" in op_type.lower():
            raise _Skip(reason, op_type)
    raise _Skip("another op")


def _dtype(types: Sequence[str], op_type: str, quantised: bool) -> str:
    """The type of a product's factors; raises _Skip for types that the model does not have."""
    if quantised and len(types) > 1 and types[0] in _INT8 and types[1] in _INT8:
        return "int8"
    if quantised or (types and types[0] in _INTEGER_TYPES):
        raise _Skip(_QUANTISED, op_type)
    if len(types) < 2 or types[0] not in _BF16 or types[0] != types[1]:
        raise _Skip("a product of another type than bf16 or fp16")
    return "bf16" if _BF16[types[0]] else "fp16"


def _duration(text: str) -> float:
    if text in NOTHING or re.fullmatch(r"0+(\.0*)?", text):
        raise _Skip("a product without a duration")
    return microseconds("Task Duration", text)


def _listed(text: str) -> list[str]:
    """The items of a list "a;b", which the exporters put in additional quotes in places."""
    text = text.strip('"')
    return [] if text in NOTHING else [item.strip() for item in text.split(";")]


def _shapes(text: str) -> list[list[int]]:
    """The shapes in "16,5120;17408,5120", without leading sizes of 1; a scalar's is empty."""
    shapes = []
    for item in _listed(text):
        if not re.fullmatch(r"([0-9]{1,9}(,[0-9]{1,9})*)?", item):
            raise ValueError(
                f"Shapes: expected numbers such as 16,5120;17408,5120, got {shown(text)}"
            )
        shape = [int(size) for size in item.split(",") if size]
        while len(shape) > 2 and shape[0] == 1:
            del shape[0]
        shapes.append(shape)
    return shapes


def _is_nz(weight: Sequence[int], layout: str) -> bool:
    return len(weight) == 4 or layout.endswith("FRACTAL_NZ")


def _product(
    shapes: Sequence[Sequence[int]], output: Sequence[int] | None, formats: Sequence[str]
) -> tuple[int, int, int]:
    """m, n and k of a product, whether or not operands are stored transposed."""
    if len(shapes) < 2 or len(shapes[0]) != 2 or _is_nz(shapes[0], formats[0]):
        raise _Skip("a product without a plain left matrix")
    m, k = shapes[0]
    if output is not None and len(output) == 2 and output[0] != m and output[0] == k:
        m, k = k, m
    rows, columns = _FRACTAL, _FRACTAL
    weight = list(shapes[1])
    padded = len(weight) == 4
    if padded:
        # FRACTAL_NZ: [columns / C, rows / R, R, C] of a matrix that is padded to fractals, whose
        # rows have 32 bytes: 16 elements of 16 bits, 32 of int8.
        rows, columns = weight[2], weight[3]
        weight = [weight[1] * rows, weight[0] * columns]
    if len(weight) != 2:
        raise _Skip("a product whose shapes do not match")
    # [n, k], or transposed.
    for n, n_step, depth, k_step in (
        (weight[0], rows, weight[1], columns),
        (weight[1], columns, weight[0], rows),
    ):
        whole = -(-k // k_step) * k_step if padded and k_step else k
        if depth != whole:
            continue
        if output is None or len(output) != 2:
            return m, n, k
        if output[0] == m and (n - n_step < output[1] <= n if padded else output[1] == n):
            return m, output[1], k
    raise _Skip("a product whose shapes do not match")
