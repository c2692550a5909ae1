"""Runs of the cases under the sanitizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ascend_prefetch.lab import twin

from .cases import CASES, SanitizeCase


def clean_ops(
    cases: Sequence[SanitizeCase] = CASES, progress: Callable[[str], None] = lambda line: None
) -> dict[str, str]:
    """Runs every case in full mode; returns "clean" or the error, by name of the case.

    Args:
        cases: the cases to run.
        progress: called with a line after each case.
    """
    found = {}
    with twin.sanitizing("full"):
        for number, case in enumerate(cases, 1):
            start = time.monotonic()
            try:
                case.run()
            except twin.TwinError as error:
                found[case.name] = str(error).splitlines()[0]
            else:
                found[case.name] = "clean"
            progress(
                f"[{number}/{len(cases)}] {case.name}: {found[case.name]}, "
                f"{time.monotonic() - start:.1f} s"
            )
    return found
