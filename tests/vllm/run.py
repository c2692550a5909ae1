"""Runs the suite for every release of vLLM Ascend, each in a process of its own, and sums it up.

As many of them side by side as there are cores, each with one thread: dimensions are small.

Usage: run.py VERSION... [-- PYTEST ARGUMENTS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHEELS = Path(sys.prefix) / "wheels"


def run(version: str, arguments: list[str]) -> tuple[bool, list[dict], float]:
    """Whether the suite passed, the rows of its table, and seconds; prints what pytest said."""
    report = WHEELS / version / "report.json"
    report.unlink(missing_ok=True)
    paths = [str(HERE), str(WHEELS / version), os.environ.get("PYTHONPATH", "")]
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
        # Upstream's modules are compiled once, out of sight, whatever the caller's settings are.
        PYTHONPYCACHEPREFIX=str(Path(sys.prefix) / "compiled"),
        PYTHONDONTWRITEBYTECODE="",
        OMP_NUM_THREADS="1",
        ASCEND_PREFETCH_VLLM_REPORT=str(report),
    )
    start = time.monotonic()
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command = [*pytest, *arguments, str(HERE)]
    done = subprocess.run(
        command,
        env=environment,
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(f"vllm-ascend {version}\n{done.stdout}", flush=True)
    rows = json.loads(report.read_text()) if report.exists() else []
    return done.returncode == 0, rows, time.monotonic() - start


def table(rows: list[dict]) -> str:
    """One line per case: what was compared and how far apart it was."""
    columns = ["vllm-ascend", "attention", "quantisation", "scenario", "fused calls", "result"]
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def main() -> int:
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    versions, pytest_arguments = arguments[:split], arguments[split + 1 :]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda version: run(version, pytest_arguments), versions)
        results = dict(zip(versions, runs, strict=True))
    rows = [row for _, part, _ in results.values() for row in part]
    if rows:
        print(table(rows))
    for version, (passed, part, seconds) in results.items():
        equal = sum(row["equal"] for row in part)
        print(
            f"vllm-ascend {version}: {'passed' if passed else 'FAILED'}, "
            f"{equal} of {len(part)} comparisons equal, {seconds:.0f} s"
        )
    return 0 if all(passed for passed, _, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
