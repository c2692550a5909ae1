"""mutate: removes every synchronisation and rounding of the kernels, one at a time."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from typing import Any

from ascend_prefetch.lab.sanitize import Mutant, mutate

from .common import MAX_PROCESSES, Verb, progress, whole


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes",
        type=whole(1, MAX_PROCESSES),
        default=os.cpu_count() or 1,
        help="that share the work",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    table = mutate(processes=options.processes, progress=_progress)
    return {
        "sites": table.sites,
        "mutants": len(table.mutants),
        "detected": table.detected,
        "documented": table.count("documented"),
        "redundant": table.count("redundant"),
        "survived": table.count("survived"),
        "list": [mutant._asdict() for mutant in table.mutants],
    }


def _progress(mutant: Mutant, done: int, count: int) -> None:
    if mutant.case == "" or done % 25 == 0 or done == count:
        progress(f"[{done}/{count}] {mutant.kind} at {mutant.site}: {mutant.verdict}")


def _show(result: dict[str, Any]) -> None:
    """Prints each undetected mutant, and the number of mutants detected in each way."""
    unnoticed = [mutant for mutant in result["list"] if mutant["case"] == ""]
    for mutant in unnoticed:
        reference = f" ({mutant['reference']})" if mutant["reference"] else ""
        print(f"{mutant['verdict']}: {mutant['kind']} at {mutant['site']}{reference}")
    verdicts = Counter(mutant["verdict"] for mutant in result["list"] if mutant["case"] != "")
    for verdict, count in verdicts.most_common():
        print(f"{count:5d}  {verdict}")
    print(
        f"{result['mutants']} mutants of {result['sites']} calls: {result['detected']} detected, "
        f"{result['documented']} documented, {result['redundant']} redundant, "
        f"{result['survived']} survived"
    )


def _passed(result: dict[str, Any]) -> bool:
    return result["survived"] == 0 and result["redundant"] == 0


VERB = Verb(
    "mutate",
    "take every synchronisation and rounding of the kernels away, one at a time",
    _run,
    _show,
    _add_arguments,
    description="Runs small calls of every op on the twin, in full sanitizer mode, with one "
    "synchronisation call, one pair of them or one rounding of the kernels taken away or "
    "weakened, and lists how that was found. Exit status 1 if anything was not. Takes about "
    "two minutes on two cores.",
    passed=_passed,
)
