"""floors: how far the fused kernels are from their floor."""

from __future__ import annotations

import argparse
from typing import Any

from ascend_prefetch.lab.bench.floors import floor_rows
from ascend_prefetch.lab.timing import LEVELS, find_timed_chip

from .common import Verb, list_of, positive, progress


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", type=list_of(positive), default=(16,), metavar="A,B,..", help="batches"
    )
    parser.add_argument(
        "--soc",
        type=list_of(str),
        default=("Ascend910_9391",),
        metavar="A,B,..",
        help="SoC names or chip files, a column of rows each",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    chips = [find_timed_chip(name) for name in options.soc]
    return {"rows": floor_rows(chips, options.tokens, progress=progress)}


def _show(result: dict[str, Any]) -> None:
    rows = result["rows"]
    print(
        "net of launch, us at nominal (low to high); prefetch: fused over the kernel without it, "
        "with launch, at low / nominal / high"
    )
    print(
        f"{'op':10} {'model':14} TP  {'quant':12} wt     T  floor  fused{'':16}  fused/floor"
        f"{'':12}  warm  prefetch{'':14}  MB    constants"
    )
    for row in rows:
        fused, over = row["fused"], row["over_floor"]
        cost = " / ".join(f"{row['over_no_prefetch'][level]:.3f}" for level in LEVELS)
        print(
            f"{row['op']:10} {row['model']:14} {row['tp']:<3} {row['quant']:12} {row['weights']} "
            f"{row['tokens']:5} {row['floor']:6.1f} {fused['nominal']:6.1f} ({fused['low']:.1f} to "
            f"{fused['high']:.1f})  {over['nominal']:.2f} ({over['low']:.2f} to {over['high']:.2f})"
            f"  {row['fused_warm']['nominal']:6.1f}  {cost}  {row['prefetched'] / 1e6:.2f}  "
            f"{row['constants']}"
        )


VERB = Verb(
    "floors",
    "model how far the fused kernels are from their floor",
    _run,
    _show,
    _add_arguments,
    description="Models the ops of what is served (W8A8, and bf16 for comparison) from dry traces: "
    "time over floor, net of launch; the time behind a call that read the same weights; and what "
    "a prefetch costs its own kernel. Several chips stand side by side, such as the model's table "
    "and a chip file. Everything is modelled, nothing was measured.",
)
