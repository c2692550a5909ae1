"""sweep: models every model, rank, batch and cache length, for one table and one picture."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.bench.common import DTYPES
from ascend_prefetch.lab.bench.served import ServedGrid, run_served, served_groups, served_totals
from ascend_prefetch.lab.bench.sweep import DEFAULT_GRIDS, run_sweep, sweep_groups
from ascend_prefetch.lab.bench.sweep_totals import sweep_totals
from ascend_prefetch.lab.plots import draw_served, draw_sweep
from ascend_prefetch.models import model_name

from .common import (
    MAX_PROCESSES,
    OutputOption,
    Verb,
    byte_count,
    list_of,
    microseconds,
    positive,
    progress,
    whole,
)

# For each option: the field of Grid, the type of an element, and the help text.
_AXES = (
    ("models", str, "models, each as in bench"),
    ("tp", positive, "tensor-parallel degrees; those that do not divide a model's heads are left "
     "out"),
    ("tokens", positive, "sequences of the batch, one token each"),
    ("kv_len", positive, "cached tokens of each sequence"),
    ("moe_bytes", byte_count, "bytes of expert weights after o_proj"),
    ("soc", str, "SoC names or chip files"),
    ("weights", str, "nd, nz"),
    ("quant", str, "none, w8a8, w8a8_dynamic"),
)  # fmt: skip


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the table")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the gains")
    for name, element, text in _AXES:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=list_of(element), metavar="A,B,..", help=text)
    parser.add_argument(
        "--served",
        action="store_true",
        help="model MoE layers as they are served, with the windows between kernels, instead",
    )
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    parser.add_argument(
        "--launch-us", type=microseconds, help="launch and start cost of a kernel, us"
    )
    parser.add_argument(
        "--processes",
        type=whole(1, MAX_PROCESSES),
        default=os.cpu_count() or 1,
        help="that share the work; as many as the host has CPUs without it",
    )


def _run_served(options: argparse.Namespace) -> dict[str, Any]:
    axes = {"models": "models", "tokens": "batch", "kv_len": "kv_len"}
    given = [name for name, *_ in _AXES if getattr(options, name) and name not in axes]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"--served: expected --models, --tokens or --kv-len, got {names}")
    asked = {axes[name]: getattr(options, name) for name in axes if getattr(options, name)}
    grid = dataclasses.replace(ServedGrid(), **asked)
    rows = run_served(served_groups(grid), options.out, options.processes, progress)
    if options.plot is not None:
        draw_served(rows, options.plot)
    return {**served_totals(rows), "out": str(options.out)}


def _run(options: argparse.Namespace) -> dict[str, Any]:
    if options.served:
        return _run_served(options)
    asked = {name: getattr(options, name) for name, *_ in _AXES}
    asked = {name: values for name, values in asked.items() if values is not None}
    if "models" in asked:
        asked["models"] = tuple(model_name(text) for text in asked["models"])
    # The last grid, of a few models only, covers the other chips; a requested chip gets all models.
    grids = DEFAULT_GRIDS if "soc" not in asked else DEFAULT_GRIDS[:2]
    groups = sweep_groups(
        [
            dataclasses.replace(grid, dtype=options.dtype, launch_us=options.launch_us, **asked)
            for grid in grids
        ]
    )
    rows = run_sweep(groups, options.out, options.processes, progress)
    if options.plot is not None:
        draw_sweep(rows, options.plot)
    return {**sweep_totals(rows), "out": str(options.out)}


def _show(result: dict[str, Any]) -> None:
    if "gains" in result:
        print(f"{result['rows']} layers, modelled, {result['counted']} of them count")
        for one in result["gains"]:
            print(
                f"  {one['quant']:13} TP{one['tp']} DP{one['dp']}: gain {one['least']:.2f} to "
                f"{one['most']:.2f} %, median {one['median']:.2f} %"
            )
        print(f"  least share of the bound {result['least_share']:.2f}")
        print(f"  worst at any constants and length {result['worst_pct']:+.2f} %")
        print(f"wrote {result['out']}")
        return
    print(f"{result['rows']} rows, modelled: time over time, worst and best")
    for name, levels in result["ratios"].items():
        print(f"  {name}")
        for level, found in levels.items():
            worst, best = found["worst"], found["best"]
            print(
                f"    {level:8}{worst['ratio']:7.3f}  {_where(worst)}\n"
                f"            {best['ratio']:7.3f}  {_where(best)}"
            )
    print(f"wrote {result['out']}")


def _where(row: dict[str, Any]) -> str:
    return (
        f"{row['model']} TP{row['tp']} T={row['tokens']} KV {row['kv_len']}, "
        f"{row['moe_bytes'] / 1e6:.0f} MB of experts, {row['quant']} {row['weights']}, {row['soc']}"
    )


VERB = Verb(
    "sweep",
    "model every configuration into one table",
    _run,
    _show,
    _add_arguments,
    description="Models prolog, o_proj and a layer in all forms over every model, tensor-parallel "
    "degree, batch and cache length, and a few on every other chip that the model knows: a CSV "
    "with a row each, times in us at low, nominal and high constants, which takes about twelve "
    "minutes on two cores. Each option replaces an axis; what makes no sense is left out. With "
    "--served it models MoE layers with the windows between kernels, of which --tokens are the "
    "requests of a rank; that takes about ten minutes. "
    "Everything is modelled, nothing was measured.",
    outputs=(OutputOption("out"), OutputOption("plot", (".png",))),
)
