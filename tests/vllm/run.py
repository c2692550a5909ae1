"""Runs the suite for every release of vLLM Ascend, each in a process of its own, and sums it up.

As many of them side by side as there are cores, each with one thread: dimensions are small.

Usage: run.py VERSION... [--configuration VERSION...] [-- PYTEST ARGUMENTS]

The configuration, of which upstream has one in a process, is tested in processes of its own.
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
RELEASES = Path(sys.prefix) / "releases"
CONFIGURATION = "test_configuration.py"


def run(version: str, configuration: bool, arguments: list[str]) -> tuple[bool, list[dict], float]:
    """Whether a part of the suite passed, the rows of its table, and seconds.

    Prints what pytest said.

    Args:
        version: of vllm-ascend.
        configuration: whether it is the test of the configuration, or all of the others.
        arguments: for pytest.
    """
    report = RELEASES / version / f"report-{configuration}.json"
    report.unlink(missing_ok=True)
    paths = [str(HERE), str(RELEASES / version), os.environ.get("PYTHONPATH", "")]
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
    alone = str(HERE / CONFIGURATION)
    part = [alone] if configuration else [f"--ignore={alone}", str(HERE)]
    command = [*pytest, *arguments, *part]
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
    at = versions.index("--configuration") if "--configuration" in versions else len(versions)
    parts = [(version, False) for version in versions[:at]]
    parts += [(version, True) for version in versions[at + 1 :]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda part: run(*part, pytest_arguments), parts)
        results = list(zip(parts, runs, strict=True))
    rows = [row for _, (_, part, _) in results for row in part]
    if rows:
        print(table(rows))
    for (version, configuration), (passed, part, seconds) in results:
        equal = sum(row["equal"] for row in part)
        what = "configuration" if configuration else f"{equal} of {len(part)} comparisons equal"
        passes = "passed" if passed else "FAILED"
        print(f"vllm-ascend {version}: {passes}, {what}, {seconds:.0f} s")
    return 0 if all(passed for _, (passed, _, _) in results) else 1


if __name__ == "__main__":
    sys.exit(main())
