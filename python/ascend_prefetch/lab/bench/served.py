"""Models layers as they are served, with their windows, over models, ranks, caches and batches.

A row says what the windows between kernels bring: what the planner fetches, what it saves at every
length of the windows, and how near to the bound that is.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.bench.layer import TwoLayerOps, check_layer, model_windows
from ascend_prefetch.lab.bench.layer_config import PUBLISHED_WINDOWS, LayerConfig
from ascend_prefetch.lab.bench.layer_memory import layer_memory
from ascend_prefetch.lab.bench.row_file import Row, number, read_rows, write_rows
from ascend_prefetch.lab.timing import LEVELS
from ascend_prefetch.models import get_experts, get_model
from ascend_prefetch.shown import shown
from ascend_prefetch.windows import CASES

_TEXTS = ("model", "quant", "why_fused_qkv_a")
_WHOLE = ("tp", "dp", "ep", "batch", "kv_len", "cube_bytes", "sdma_bytes", "fused_qkv_a_bytes")
_FLAGS = ("fits", "extrapolated")
_FORMS = ("fused_no_prefetch", "in_kernel", "windows")
_ENDS = [(case, level) for case in CASES for level in LEVELS if case != "long"]
_POINTS = {
    "fused_no_prefetch": [*_ENDS, ("long", "nominal")],
    "in_kernel": [("nominal", level) for level in LEVELS],
    "windows": [*_ENDS, ("long", "nominal")],
}

COLUMNS = (
    "model", "quant", "tp", "dp", "ep", "batch", "kv_len", "fits", "extrapolated",
    *(f"{form}_us_{case}_{level}" for form in _FORMS for case, level in _POINTS[form]),
    "bound_us", "planned_us", "saved_us", "cube_bytes", "sdma_bytes", "fused_qkv_a_bytes",
    "why_fused_qkv_a",
)  # fmt: skip
"""`fits`: whether the model's weights fit a die. `extrapolated`: whether a window that fetches
something has a length outside what was published. `bound_us`, `planned_us`: sums of the rows of
windows (verb layer) at the short length; `saved_us`: at the nominal one. `*_bytes`: what windows
fetch by engine, and of the next layer's fused_qkv_a; why no more of it."""


@dataclass(frozen=True)
class ServedGrid:
    """All combinations of these; `ranks` are (quantisation, tp, dp)."""

    models: Sequence[str] = ("deepseek-v3", "deepseek-v3.2", "glm-5", "kimi-k2")
    ranks: Sequence[tuple[str, int, int]] = (
        ("w8a8_dynamic", 4, 4),
        ("w8a8_dynamic", 8, 2),
        ("w8a8_dynamic", 16, 1),
        ("w8a8_dynamic", 1, 32),
        ("w8a8_dynamic", 1, 256),
        ("none", 16, 2),
    )
    kv_len: Sequence[int] = (4096, 20480)
    batch: Sequence[int] = (4, 16)


def served_groups(grid: ServedGrid = ServedGrid()) -> list[list[LayerConfig]]:
    """The layers of a grid, those that share ops together.

    Left out are ranks among which a model's experts cannot be spread, models that do not fit a die
    there, and caches or experts that are too large to be modelled.

    Raises:
        ValueError: a name is unknown, or no layer is left.
    """
    groups = []
    for model, (quant, tp, dp), batch in itertools.product(grid.models, grid.ranks, grid.batch):
        if get_experts(model).count < tp * dp:
            continue
        group = []
        for kv_len in grid.kv_len:
            layer = LayerConfig(
                model,
                tp=tp,
                dp=dp,
                batch=batch,
                kv_len=kv_len,
                quant=quant,
                weights="nz",
                kind="moe",
                windows=PUBLISHED_WINDOWS,
            )
            memory = layer_memory(layer, get_model(model))
            if memory is not None and not memory["fits"]:
                continue
            try:
                check_layer(layer)
            except ValueError as error:
                if str(error).startswith(("kv-len:", "ep:")):
                    continue
                raise
            group.append(layer)
        if group:
            groups.append(group)
    if not groups:
        raise ValueError("no combination of what was asked for makes sense")
    return groups


def served_rows(group: Sequence[LayerConfig]) -> list[Row]:
    """The rows of layers that share ops."""
    ops = TwoLayerOps(group[0].bench())
    return [_row(layer, ops) for layer in group]


def _row(layer: LayerConfig, ops: TwoLayerOps) -> Row:
    found = model_windows(layer, ops)
    row: Row = {
        "model": layer.model, "quant": layer.quant, "tp": layer.tp, "dp": layer.dp,
        "ep": layer.ranks, "batch": layer.batch, "kv_len": layer.kv_len,
        "fits": found["memory"] is None or found["memory"]["fits"],
    }  # fmt: skip
    for case, forms in found["windows_case"].items():
        for form, times in forms.items():
            for level, us in times.items():
                row[f"{form}_us_{case}_{level}"] = round(us, 4)
    fetched = [one for one in found["windows"] if one["bytes"]]
    qkv_a = [one for one in found["windows"] if one["region"] == "layer+1.fused_qkv_a"]
    row["extrapolated"] = any(one["extrapolated"] for one in fetched)
    row["bound_us"] = round(found["windows_bound"]["bound_us"], 4)
    row["planned_us"] = round(found["windows_bound"]["planned_us"], 4)
    row["saved_us"] = round(sum(one["saved_us"]["nominal"] for one in fetched), 4)
    for engine in ("cube", "sdma"):
        row[f"{engine}_bytes"] = sum(one["bytes"] for one in fetched if one["engine"] == engine)
    row["fused_qkv_a_bytes"] = sum(one["bytes"] for one in qkv_a)
    # The window that ends the layer has the last word.
    last = [one["why"] for one in qkv_a if one["bytes"]] or [
        one["why"] for one in qkv_a if one["name"] in ("combine", "all_gather")
    ]
    row["why_fused_qkv_a"] = last[0] if last else ""
    return {column: row.get(column) for column in COLUMNS}


def run_served(
    groups: Sequence[Sequence[LayerConfig]],
    out: Path,
    processes: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Models all layers and writes them as a CSV with COLUMNS; a partial file is never left.

    Raises:
        ValueError, RuntimeError: an op refuses a configuration.
        OSError: the file cannot be written.
    """
    count = sum(map(len, groups))

    def finished(group: Sequence[LayerConfig], rows: int) -> None:
        first = group[0]
        progress(
            f"[{rows}/{count}] {first.model} {first.quant} TP{first.tp} DP{first.dp} "
            f"batch {first.batch}"
        )

    return write_rows(out, COLUMNS, served_rows, groups, processes, finished)


def read_served(path: Path) -> list[Row]:
    """The rows that run_served wrote.

    Raises:
        ValueError: the file is not one of this version; the message names the line.
        OSError: the file cannot be read.
    """
    return read_rows(path, COLUMNS, "the columns of served layers of this version", _value)


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return text
    if name in _FLAGS:
        if text not in ("True", "False"):
            raise ValueError(f"{name}: expected True or False, got {shown(text)}")
        return text == "True"
    return number(name, text, name in _WHOLE)


def gain_pct(row: Row, case: str = "nominal", level: str = "nominal") -> float:
    """The gain of `windows` over `fused_no_prefetch` in a row, %."""
    windows, fused = (row[f"{form}_us_{case}_{level}"] for form in (_FORMS[2], _FORMS[0]))
    return 100 * (1 - windows / fused)


def counted(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows that count: of models that fit a die, with windows of published length."""
    return (row for row in rows if row["fits"] and not row["extrapolated"])


def served_totals(rows: Sequence[Row]) -> dict[str, Any]:
    """What the rows that count say together.

    Returns:
        `rows` and `counted`; `gains`: least, most and median gain of `windows` over
        `fused_no_prefetch` for each way of spreading a model, %; `least_share` of the bound;
        `worst_pct`: the least gain at any constants and any length of the windows.
    """
    found = list(counted(rows))
    gains = []
    for quant, tp, dp in dict.fromkeys((row["quant"], row["tp"], row["dp"]) for row in found):
        mine = sorted(
            gain_pct(row)
            for row in found
            if (row["quant"], row["tp"], row["dp"]) == (quant, tp, dp)
        )
        gains.append(
            {
                "quant": quant, "tp": tp, "dp": dp, "least": mine[0], "most": mine[-1],
                "median": statistics.median(mine),
            }
        )  # fmt: skip
    return {
        "rows": len(rows),
        "counted": len(found),
        "gains": gains,
        "least_share": min(
            (row["planned_us"] / row["bound_us"] for row in found if row["bound_us"] > 0),
            default=1.0,
        ),
        "worst_pct": min(
            (gain_pct(row, *point) for row in found for point in _POINTS["windows"]),
            default=0.0,
        ),
    }
