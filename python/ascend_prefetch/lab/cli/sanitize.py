"""sanitize: broken kernels, where the twin must report errors, and ops, where it must not."""

from __future__ import annotations

import argparse
from typing import Any

from ascend_prefetch.lab.sanitize import report_lines, report_passed, sanitize_report

from .common import Verb, progress


def _run(_: argparse.Namespace) -> dict[str, Any]:
    return sanitize_report(progress=progress)


def _show(result: dict[str, Any]) -> None:
    for line in report_lines(result):
        print(line)


VERB = Verb(
    "sanitize",
    "run what the twin must find, and the ops where it must find nothing",
    _run,
    _show,
    description="For every error code of the twin: runs small broken kernels, which must be "
    "reported with the code at the right line, and their corrected forms, which must be "
    "clean. Then runs every op on small shapes in full mode. Exit status 1 when something is "
    "missed or not clean. docs/sanitizer.md explains the codes.",
    passed=report_passed,
)
