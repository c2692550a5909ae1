"""Runs of the cases under the sanitizer."""

from __future__ import annotations

from collections.abc import Sequence

from ascend_prefetch import twin

from .cases import CASES, SanitizeCase


def clean_ops(cases: Sequence[SanitizeCase] = CASES) -> dict[str, str]:
    """Runs every case in full mode: "clean", or what was found, by name of the case."""
    found = {}
    with twin.sanitizing("full"):
        for case in cases:
            try:
                case.run()
            except twin.TwinError as error:
                found[case.name] = str(error).splitlines()[0]
            else:
                found[case.name] = "clean"
    return found
