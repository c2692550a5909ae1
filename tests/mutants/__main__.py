"""Mutants of kernels and planners that nobody planned, run against the tests of their op.

Draws changes of single places in csrc/kernels and csrc/plan by a seed, the same share of every kind
of mistake, builds all of them at once, each behind a number in the environment, and runs the tests
that judge the file until the first fails. Results are kept in the folder and not run again, so that
a run may be interrupted; another seed draws others.

    python tests/mutants --count 200 --seed 1 --hours 8 --folder build-mutants

Exit status 1 where a mutant survives that equivalent.py does not know.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

import switched
from equivalent import EQUIVALENT
from judges import CPP, judges
from sites import Site, sites

ROOT = Path(__file__).resolve().parents[2]
_BUILDS = 8  # until every mutant that is left compiles


def drawn(seed: int) -> list[Site]:
    """All changes in the order in which they are taken: the kinds of mistake in turn."""
    kinds: dict[str, list[Site]] = {}
    for folder in ("csrc/kernels", "csrc/plan"):
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix in (".h", ".cpp"):
                for site in sites(ROOT, str(path.relative_to(ROOT))):
                    kinds.setdefault(site.mistake, []).append(site)
    chance = random.Random(seed)
    for kind in sorted(kinds):
        chance.shuffle(kinds[kind])
    turns = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [site for turn in turns for site in turn if site is not None]


def built(order: list[Site], count: int, folder: Path) -> dict[int, Site]:
    """Builds `count` mutants; those that do not compile are replaced by the next ones."""
    taken = folder / "mutants.json"
    queue = list(enumerate(order, start=1))
    mutants, queue = dict(queue[:count]), queue[count:]
    known = json.loads(taken.read_text()) if taken.exists() else None
    if known is not None and set(known) <= {site.key for site in order}:
        # This very source was built already.
        by_key = {site.key: (number, site) for number, site in enumerate(order, start=1)}
        mutants, queue = dict(by_key[key] for key in known), []
    source = folder / "source"
    for _ in range(_BUILDS):
        switched.write(ROOT, source, mutants)
        bad = switched.build(source, ("_C", *CPP), Path(sys.executable).parent)
        if not bad:
            taken.write_text(json.dumps([site.key for site in mutants.values()], indent=1))
            package = folder / "package"
            shutil.rmtree(package, ignore_errors=True)
            shutil.copytree(ROOT / "python", package, ignore=shutil.ignore_patterns("_C*.so"))
            for module in (source / "build" / "csrc" / "python").glob("_*.so"):
                shutil.copy2(module, package / "ascend_prefetch")
            return mutants
        print(f"{len(bad)} do not compile", flush=True)
        mutants = {number: site for number, site in mutants.items() if number not in bad}
        fresh, queue = queue[: len(bad)], queue[len(bad) :]
        mutants |= dict(fresh)
    raise SystemExit(f"after {_BUILDS} builds there are still mutants that do not compile")


def verdict(number: int, path: str, folder: Path, seconds: float) -> tuple[str, float]:
    """(the test that failed, or "timeout", or ""; seconds)."""
    cpp, python = judges(path)
    environment = dict(
        os.environ,
        OMP_NUM_THREADS="1",
        PYTHONPATH=str(folder / "package"),
        **{switched.VARIABLE: str(number)},
    )
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
    commands = [[folder / "source" / "build" / "tests" / "cpp" / name] for name in cpp]
    commands += [[*pytest, *python]]
    start = time.monotonic()
    for command in commands:
        left = seconds - (time.monotonic() - start)
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True,
                timeout=max(left, 1), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "timeout", time.monotonic() - start
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).splitlines()
            failed = [line for line in lines if "FAILED" in line or "ERROR" in line]
            named = failed[0].split(" - ")[0] if failed else f"status {done.returncode}"
            return f"{Path(command[0]).name}: {named}"[:160], time.monotonic() - start
    return "", time.monotonic() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=8, help="begin no mutant after that")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants side by side")
    parser.add_argument("--folder", type=Path, default=Path("build-mutants"))
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one mutant")
    options = parser.parse_args()
    folder = (options.folder / f"seed-{options.seed}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    order = drawn(options.seed)
    print(f"{len(order)} places and mistakes, {options.count} drawn", flush=True)
    mutants = built(order, options.count, folder)
    results = folder / "results.jsonl"
    known = {}
    if results.exists():
        known = {row["key"]: row for row in map(json.loads, results.read_text().splitlines())}
    end = time.monotonic() + 3600 * options.hours

    def judged(entry: tuple[int, Site]) -> dict | None:
        number, site = entry
        if site.key in known:
            return known[site.key]
        if time.monotonic() > end:
            return None
        by, seconds = verdict(number, site.path, folder, options.timeout)
        row = {**asdict(site), "number": number, "detected_by": by, "seconds": round(seconds)}
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{'detected' if by else 'SURVIVED'} {seconds:5.0f} s  {site.key}  {by}", flush=True)
        return row

    unmutated = {}
    for path in sorted({site.path for site in mutants.values() if site.key not in known}):
        unmutated.setdefault(str(judges(path)), path)
    for path in unmutated.values():
        by, seconds = verdict(0, path, folder, options.timeout)
        print(f"without a mutant: {path}'s tests, {seconds:.0f} s", flush=True)
        if by:
            raise SystemExit(f"the tests of {path} fail without a mutant: {by}")
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = [row for row in pool.map(judged, mutants.items()) if row is not None]
    survived = [row for row in rows if not row["detected_by"]]
    unknown = [row for row in survived if row["key"] not in EQUIVALENT]
    for row in survived:
        reason = EQUIVALENT.get(row["key"], "a test is missing, or it is equivalent: say why")
        print(f"{row['path']}:{row['line']}: {row['key']}: {reason}")
    print(
        f"{len(mutants)} mutants, {len(rows)} run: {len(rows) - len(survived)} detected, "
        f"{len(survived) - len(unknown)} equivalent, {len(unknown)} survived"
    )
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
