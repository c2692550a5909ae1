"""Summary of a sweep: the best and the worst value of each comparison, and where it occurs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ascend_prefetch.lab.bench.row_file import Row
from ascend_prefetch.lab.bench.sweep import KEYS
from ascend_prefetch.lab.timing import LEVELS

RATIOS = {
    "layer: in_kernel / fused_no_prefetch": ("layer_in_kernel", ("layer_fused_no_prefetch",)),
    "layer: planned / fused_no_prefetch": ("layer_planned", ("layer_fused_no_prefetch",)),
    "layer: planned / better of in_kernel and cmo_best": (
        "layer_planned",
        ("layer_in_kernel", "layer_cmo_best"),
    ),
    "layer: planned / none": ("layer_planned", ("layer_none",)),
    "layer: fused_no_prefetch / none": ("layer_fused_no_prefetch", ("layer_none",)),
    "prolog: fused / fused_no_prefetch": ("prolog_fused", ("prolog_fused_no_prefetch",)),
    "prolog: fused / separate": ("prolog_fused", ("prolog_separate",)),
    "o_proj: fused / fused_no_prefetch": ("o_proj_fused", ("o_proj_fused_no_prefetch",)),
    "o_proj: fused / separate": ("o_proj_fused", ("o_proj_separate",)),
}
"""By name: the form in the numerator, and those of whose times the shortest is the denominator."""


def ratio(row: Row, name: str, level: str) -> float:
    """The value of one of RATIOS in a row."""
    above, below = RATIOS[name]
    return row[f"{above}_us_{level}"] / min(row[f"{form}_us_{level}"] for form in below)


def sweep_totals(rows: Sequence[Row]) -> dict[str, Any]:
    """The number of rows and, by ratio and level, the worst (largest) and the best value, each with
    the KEYS of its row."""

    def extreme(name: str, level: str, choose: Any) -> dict[str, Any]:
        row = choose(rows, key=lambda row: ratio(row, name, level))
        return {"ratio": ratio(row, name, level), **{key: row[key] for key in KEYS}}

    return {
        "rows": len(rows),
        "ratios": {
            name: {
                level: {
                    "worst": extreme(name, level, max),
                    "best": extreme(name, level, min),
                }
                for level in LEVELS
            }
            for name in RATIOS
        },
    }
