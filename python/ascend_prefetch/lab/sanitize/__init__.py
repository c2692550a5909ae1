"""The twin as a sanitizer: its rules, small runs of every op, and mutants of the kernels."""

from .cases import CASES, SanitizeCase
from .checks import Check, CheckedPair, run_checks
from .mutation import Mutant, MutationTable, mutate
from .report import report_lines, report_passed, sanitize_report
from .run import clean_ops

__all__ = [
    "CASES",
    "Check",
    "CheckedPair",
    "Mutant",
    "MutationTable",
    "SanitizeCase",
    "clean_ops",
    "mutate",
    "report_lines",
    "report_passed",
    "run_checks",
    "sanitize_report",
]
