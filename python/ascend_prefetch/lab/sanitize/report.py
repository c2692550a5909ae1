"""The report that `python -m ascend_prefetch sanitize` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ascend_prefetch.lab import twin

from .checks import run_checks
from .run import clean_ops


def sanitize_report(progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Runs the kernels of all checks, and all cases of the ops in full mode.

    Args:
        progress: called with a line after each case.

    Returns:
        checks: see run_checks. clean_ops: names of the cases that ran without an error.
        unclean_ops: the error of each other case, by name. buffers: by kernel and local buffer,
        the largest peak of these cases and the capacity of a core, in bytes.
    """
    checks = run_checks()
    with twin.buffer_usage() as launches:
        found = clean_ops(progress=progress)
    return {
        "checks": checks,
        "clean_ops": [name for name, text in found.items() if text == "clean"],
        "unclean_ops": {name: text for name, text in found.items() if text != "clean"},
        "buffers": _largest(launches),
    }


def _largest(launches: Iterable[twin.LaunchBuffers]) -> dict[str, dict[str, dict[str, int]]]:
    kernels: dict[str, dict[str, dict[str, int]]] = {}
    for launch in launches:
        buffers = kernels.setdefault(launch.kernel, {})
        for name, usage in launch.buffers.items():
            most = buffers.setdefault(name, usage._asdict())
            most["peak"] = max(most["peak"], usage.peak)
    return dict(sorted(kernels.items()))


def report_passed(report: dict[str, Any]) -> bool:
    """Whether every broken kernel was detected and everything else ran without an error."""
    checks = report["checks"]
    return not report["unclean_ops"] and all(
        check["broken_detected"] and check["fixed_clean"] for check in checks
    )


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """The report as a table, with the full text of everything that failed."""
    checks = report["checks"]
    width = max(len(check["code"]) for check in checks)
    yield f"{'code':{width}}  kernels  broken    corrected"
    for check in checks:
        broken = "detected" if check["broken_detected"] else "MISSED"
        fixed = "clean" if check["fixed_clean"] else "REPORTED"
        yield f"{check['code']:{width}}  {len(check['pairs']):7}  {broken:8}  {fixed}"
        for pair in check["pairs"]:
            if not pair["broken_detected"]:
                yield f"  MISSED: {pair['name']} at {pair['line']}: {pair['report'] or 'clean'}"
            if not pair["fixed_clean"]:
                yield f"  REPORTED: corrected form of: {pair['name']}: {pair['fixed_report']}"
    for name in report["clean_ops"]:
        yield f"clean in full mode: {name}"
    for name, text in report["unclean_ops"].items():
        yield f"NOT CLEAN: {name}: {text}"
    for kernel, buffers in report["buffers"].items():
        used = [
            f"{name} {usage['peak'] / 1024:.0f} of {usage['capacity'] / 1024:g} KiB"
            for name, usage in buffers.items()
            if usage["peak"]
        ]
        yield f"peak use of {kernel}: " + ", ".join(used)
    pairs = sum(len(check["pairs"]) for check in checks)
    yield (
        f"{len(checks)} checks with {pairs} pairs of kernels; {len(report['clean_ops'])} runs of "
        f"ops clean, {len(report['unclean_ops'])} not"
    )
