"""first-hour: runs tests, measurements and benchmarks on a device, and packs what came of them."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ascend_prefetch.lab import npu
from ascend_prefetch.lab.first_hour import (
    Step,
    first_hour_steps,
    run_steps,
    summarise,
    write_report,
)
from ascend_prefetch.lab.first_hour.report import described, summary_lines
from ascend_prefetch.shown import shown

from .common import OutputOption, Verb, list_of, progress

# What the steps are for where no NPU tells its chip and number.
_SOC, _RANKS = "Ascend910_9391", 2


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.tar.gz", help="the report to write"
    )
    parser.add_argument(
        "--only",
        type=list_of(str),
        metavar="STEP,...",
        help="run these steps alone; without a device all are listed",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    status = npu.status()
    if not status.visible:
        steps = _chosen(first_hour_steps(Path(), _SOC, _RANKS), options.only)
        return {
            "out": None,
            "reason": status.missing,
            "minutes": sum(step.minutes for step in steps),
            "steps": [described(step) for step in steps],
        }
    device: dict[str, Any] = {"visible": len(status.visible), "missing": status.missing}
    soc, count = _SOC, 0
    if status.missing is None:
        torch_npu = importlib.import_module("torch_npu")
        soc, count = torch_npu.npu.get_device_name(), torch_npu.npu.device_count()
        device |= {"soc": soc, "count": count, "torch_npu": torch_npu.__version__}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        steps = _chosen(first_hour_steps(folder, soc, count or _RANKS), options.only)
        outcomes, stopped = run_steps(steps, folder, count, status.missing, progress)
        summary = summarise(outcomes, folder, device)
        write_report(options.out, folder, summary)
    if stopped is not None:
        progress(f"wrote {options.out}, with what was done until then")
        raise stopped
    return {"out": str(options.out), **summary}


def _chosen(steps: list[Step], only: tuple[str, ...] | None) -> list[Step]:
    names = [step.name for step in steps]
    for name in only or ():
        if name not in names:
            raise ValueError(f"only: expected some of {', '.join(names)}, got {shown(name)}")
    return [step for step in steps if only is None or step.name in only]


def _show(result: dict[str, Any]) -> None:
    if result["out"] is not None:
        print("\n".join(summary_lines(result)))
        print(f"wrote {result['out']}")
        return
    print(f"no NPU: {result['reason']}. On a device these steps would run:")
    width = max(len(step["name"]) for step in result["steps"])
    for step in result["steps"]:
        print(f"  {step['name']:{width}}  {step['minutes']:3} min  {step['settles']}")
    print(f"{result['minutes']} minutes in all, estimated: nobody has run it yet")
    print("no report was written: nothing was measured")


def _passed(result: dict[str, Any]) -> bool:
    """Whether all steps passed that could be run; with an NPU that cannot be used none could."""
    if result["out"] is None:
        return True
    bad = {"failed", "timed out"}
    return result["device"]["missing"] is None and not any(
        step["status"] in bad for step in result["steps"]
    )


VERB = Verb(
    "first-hour",
    "run tests, measurements and benchmarks on a device, and pack a report",
    _run,
    _show,
    _add_arguments,
    description="Runs everything that the first hour on a device is for: tests, the three "
    "measurements that settle what the planner assumes, benchmarks and profiles. Each is a step "
    "with a log, an exit status and seconds of its own; what fails, hangs or is missing is written "
    "down, and the next one runs. The report holds all files of the steps, the points that "
    "correlate and calibrate read, and a summary. Times in it are us of the device. Without a "
    "device it lists the steps, what each settles and how many minutes it takes, and writes no "
    "report. The exit status is 1 if a step failed.",
    passed=_passed,
    outputs=(OutputOption("out", (".tar.gz",)),),
)
