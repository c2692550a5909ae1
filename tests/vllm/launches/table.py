"""Which of upstream's published serve commands run the fused ops, and why the others do not.

    table.py [--json FILE] VERSION...

Every command of launches.tsv becomes real attention layers of its release (see cases.py), which run
a decode step with the plugin (see measure.py). Fused is what ran fused ops and equals upstream's
own path to the suite's tolerance; the reasons are the plugin's own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from launches import TRACE, cases, rows  # noqa: E402

RELEASES = Path(sys.prefix) / "releases"
_SECONDS = 900  # of a group of processes

# Fused commands of each release's tutorials: fewer are an error. Raise them with what they count.
LEAST = {"0.18.0": 33, "0.23.0": 45, "main": 46, "0.30.0rc2": 43}


def measured(version: str, wanted: list[cases.Case]) -> dict[cases.Case, dict]:
    """The results of cases on a release: of those of one rank, then of those of two."""
    found = {}
    for ranks in (1, 2):
        some = [case for case in wanted if case.ranks == ranks]
        if some:
            found.update(zip(some, _group(version, some, ranks), strict=True))
    return found


def _group(version: str, some: list[cases.Case], ranks: int) -> list[dict]:
    """Results of cases on so many ranks; the worst rank's of each."""
    with tempfile.TemporaryDirectory(prefix="ascend-prefetch-") as name:
        folder = Path(name)
        (folder / "cases.json").write_text(json.dumps([case.as_json() for case in some]))
        paths = [str(HERE.parent), str(RELEASES / version), os.environ.get("PYTHONPATH", "")]
        environment = dict(
            os.environ,
            PYTHONPATH=os.pathsep.join(filter(None, paths)),
            PYTHONPYCACHEPREFIX=str(Path(sys.prefix) / "compiled"),
            PYTHONDONTWRITEBYTECODE="",
            OMP_NUM_THREADS="1",
        )
        command = [sys.executable, str(HERE / "measure.py"), name]
        logs = [folder / f"log-{rank}" for rank in range(ranks)]
        group = [
            subprocess.Popen(
                [*command, str(rank), str(ranks)],
                env=environment,
                stdout=log.open("w"),
                stderr=subprocess.STDOUT,
            )
            for rank, log in enumerate(logs)
        ]
        try:
            for process in group:
                process.wait(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"vllm-ascend {version}, {ranks} ranks: no end after {_SECONDS} s")
        finally:
            for process in group:
                process.kill()
        said = [log.read_text() for log in logs]
        if os.environ.get(TRACE):
            print("\n".join(said))
        if any(process.wait() for process in group):
            print(f"vllm-ascend {version}, {ranks} ranks: FAILED\n{said[-1][-4000:]}", flush=True)
        files = [folder / f"rank-{rank}.json" for rank in range(ranks)]
        parts = [json.loads(file.read_text()) if file.exists() else [] for file in files]
        missing = {"outcome": "not run", "why": ["the process ended before it"]}
        results = []
        for i in range(len(some)):
            of_ranks = [part[i] if i < len(part) else missing for part in parts]
            results.append(max(of_ranks, key=lambda result: result["outcome"] != "fused"))
        return results


def outcomes(version: str) -> list[tuple[rows.Row, dict]]:
    """Every row that runs on a release, with its result; rows that do not decode are left out."""
    served = [row for row in rows.read() if row.run_on == version and row.decodes]
    by_row = {id(row): cases.of_row(row) for row in served if row.counted}
    results = measured(version, list(dict.fromkeys(by_row.values())))
    other = {"outcome": "not counted", "why": [], "ops": {}, "windows": {}}
    return [(row, results[by_row[id(row)]] if id(row) in by_row else other) for row in served]


def _describe(result: dict) -> str:
    windows = ", ".join(f"{op} {size // 1024} KB" for op, size in result.get("windows", {}).items())
    if result["outcome"] == "fused":
        return f"{sum(result['ops'].values())} calls" + (f"; windows: {windows}" if windows else "")
    return "; ".join(result["why"])


def show(found: list[tuple[rows.Row, dict]]) -> None:
    """Prints a line per launch."""
    names = [f"{row.release}  {row.page}" for row, _ in found]
    widths = max(map(len, names)), max(len(row.model) for row, _ in found)
    for name, (row, result) in zip(names, found, strict=True):
        line = f"{name:{widths[0]}}  {row.model:{widths[1]}}  {result['outcome']:11}"
        print(f"{line}  {_describe(result)}".rstrip())


def share(found: list[tuple[rows.Row, dict]], release: str) -> tuple[int, int]:
    """How many rows of a release's tutorials are fused, of how many that count."""
    counted = [result for row, result in found if row.release == release and row.counted]
    return sum(result["outcome"] == "fused" for result in counted), len(counted)


def complaints(found: list[tuple[rows.Row, dict]]) -> list[str]:
    """A line for each release of which fewer commands are fused than were before."""
    lines = []
    for release in dict.fromkeys(row.release for row, _ in found):
        fused, _ = share(found, release)
        if fused < LEAST.get(release, 0):
            lines.append(f"{release}: {fused} commands are fused, {LEAST[release]} were")
    return lines


def sum_up(found: list[tuple[rows.Row, dict]]) -> None:
    """Prints each release's share, and the reasons of the others."""
    for release in dict.fromkeys(row.release for row, _ in found):
        fused, count = share(found, release)
        print(f"\nTutorials of {release}: fused {fused} of {count} ({fused / count:.0%})")
        reasons = Counter(
            f"{result['outcome']}: {'; '.join(result['why'])}"
            for row, result in found
            if row.release == release and row.counted and result["outcome"] != "fused"
        )
        for reason, number in reasons.most_common():
            print(f"{number:4}  {reason}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="of vllm-ascend")
    parser.add_argument("--json", type=Path, help="where the results are written too")
    arguments = parser.parse_args()
    found: list[tuple[rows.Row, dict]] = []
    for version in arguments.versions:
        start = time.monotonic()
        found += outcomes(version)
        print(f"vllm-ascend {version}: {time.monotonic() - start:.0f} s", flush=True)
    show(found)
    sum_up(found)
    if arguments.json:
        results = [{"release": r.release, "page": r.page, **result} for r, result in found]
        arguments.json.write_text(json.dumps(results, indent=1))
    wrong = complaints(found)
    print("\n".join(["", *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
