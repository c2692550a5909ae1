"""windows: reads the lengths of the windows between kernels from a profile."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ascend_prefetch.files import whole_file
from ascend_prefetch.lab.timing.points import what_was_left_out
from ascend_prefetch.lab.window_profile import read_window_profile

from .common import OutputOption, Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        type=Path,
        required=True,
        metavar="PROFILE",
        help="of decode steps: kernel_details.csv of torch_npu, op_summary_*.csv of msprof, the "
        ".db of either, or the directory that a profiler wrote (PROF_*, ASCEND_PROFILER_OUTPUT)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.json", help="the file of lengths to write"
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    found = read_window_profile(options.profile)
    content = {
        "profile": options.profile.resolve().name,
        "rows": found.rows,
        "windows": found.windows,
        "skipped": found.skipped,
        "damaged": {str(number): why for number, why in found.damaged.items()},
    }
    with whole_file(options.out) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return {"out": str(options.out), **content}


def _show(result: dict[str, Any]) -> None:
    print(f"windows of {result['profile']}, us: short, nominal (median), long")
    for name, window in result["windows"].items():
        kernels = ", ".join(f"{kernel} {count}" for kernel, count in window["kernels"].items())
        print(
            f"  {name:21}{window['short']:9.1f}{window['nominal']:9.1f}{window['long']:9.1f}"
            f"   {kernels}"
        )
    for line in what_was_left_out(
        result["skipped"], {int(n): why for n, why in result["damaged"].items()}
    ):
        print(line)
    print(f"wrote {result['out']}")


VERB = Verb(
    "windows",
    "read the lengths of the windows between kernels from a profile",
    _run,
    _show,
    _add_arguments,
    description="Reads how long collectives, MoE dispatch and combine and attention took in a "
    "profile of your own server, in us, for `layer --windows FILE.json`: short is the 10th "
    "percentile (of fewer than 10 rows the minimum), nominal the median, long the 90th percentile "
    "(the maximum). All rows of a kernel count alike: profile decode steps alone, at the batch "
    "that you serve.",
    outputs=(OutputOption("out", (".json",)),),
    inputs=("profile",),
)
