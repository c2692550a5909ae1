"""The twin's own rules: a broken and a corrected kernel for each of its codes."""

from __future__ import annotations

from typing import TypedDict

from ascend_prefetch import _lab


class CheckedPair(TypedDict):
    """One broken kernel and its corrected form, run in full mode.

    name: what is wrong with the broken kernel.
    line: "file:line" of the instruction that breaks the rule.
    broken_detected: whether the broken kernel was reported with the code, at that line, and the
        twin still works afterwards.
    fixed_clean: whether the corrected kernel was not reported.
    report, fixed_report: the report of each kernel; "" for none.
    """

    name: str
    line: str
    broken_detected: bool
    fixed_clean: bool
    report: str
    fixed_report: str


class Check(TypedDict):
    """A code of the twin, one line on its meaning, and its pairs of kernels.

    broken_detected, fixed_clean: whether these hold for all pairs; false if there is none.
    """

    code: str
    summary: str
    broken_detected: bool
    fixed_clean: bool
    pairs: list[CheckedPair]


def run_checks() -> list[Check]:
    """Runs the kernels of csrc/twin/checks; returns one entry for every code of the twin."""
    pairs: dict[str, list[CheckedPair]] = {}
    for pair in _lab.run_checks():
        pairs.setdefault(pair.pop("code"), []).append(pair)
    return [_check(code, summary, pairs.get(code, [])) for code, summary in _lab.error_codes()]


def _check(code: str, summary: str, pairs: list[CheckedPair]) -> Check:
    return {
        "code": code,
        "summary": summary,
        "broken_detected": bool(pairs) and all(pair["broken_detected"] for pair in pairs),
        "fixed_clean": bool(pairs) and all(pair["fixed_clean"] for pair in pairs),
        "pairs": pairs,
    }
