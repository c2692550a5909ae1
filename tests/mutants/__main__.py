"""Mutants of kernels and planners that nobody planned, run against the tests of their op.

Draws changes of single places in csrc/kernels, csrc/lab/kernels and csrc/plan by a seed, the same
share of every kind of mistake, builds all of them at once, each behind a number in the environment,
and runs the tests that judge the file until the first fails: those first that found mutants of such
files before, then the quick ones. Results are kept in the folder and not run again, so that a run
may be interrupted; another seed draws others. --survivors runs new tests against those that
survived.

    python tests/mutants --count 200 --seed 1 --hours 8 --folder build-mutants

Exit status 1 where a mutant survives that equivalent.py does not know.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path

import switched
import trial
from equivalent import EQUIVALENT
from judges import CPP, judges
from sites import Site, sites

ROOT = Path(__file__).resolve().parents[2]
_UNMUTATED = "unmutated.json"
_DAY = 24 * 3600.0
_BUILDS = 8  # until every mutant that is left compiles


def drawn(seed: int) -> list[Site]:
    """All changes in the order in which they are taken: the kinds of mistake in turn.

    Each has its place by itself, so that a change elsewhere in the source moves no other.
    """
    kinds: dict[str, list[Site]] = {}
    for folder in ("csrc/kernels", "csrc/lab/kernels", "csrc/plan"):
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix in (".h", ".cpp"):
                for site in sites(ROOT, str(path.relative_to(ROOT))):
                    kinds.setdefault(site.mistake, []).append(site)
    for places in kinds.values():
        places.sort(key=lambda site: sha256(f"{seed} {site.key}".encode()).digest())
    turns = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [site for turn in turns for site in turn if site is not None]


def built(order: list[Site], count: int, folder: Path) -> dict[int, Site]:
    """Builds `count` mutants; those that do not compile are replaced by the next ones."""
    taken = folder / "mutants.json"
    queue = list(enumerate(order, start=1))
    mutants, queue = dict(queue[:count]), queue[count:]
    known = json.loads(taken.read_text()) if taken.exists() else None
    if known is not None and len(known) == count and set(known) <= {site.key for site in order}:
        # This very source was built already.
        by_key = {site.key: (number, site) for number, site in enumerate(order, start=1)}
        mutants, queue = dict(by_key[key] for key in known), []
    source, package = folder / "source", folder / "package"
    for _ in range(_BUILDS):
        if switched.write(ROOT, source, mutants):
            (folder / _UNMUTATED).unlink(missing_ok=True)
        bad = switched.build(source, ("_C", "_lab", *CPP), Path(sys.executable).parent)
        if not bad:
            taken.write_text(json.dumps([site.key for site in mutants.values()], indent=1))
            shutil.rmtree(package, ignore_errors=True)
            built = shutil.ignore_patterns("_C*.so", "_lab*.so")
            shutil.copytree(ROOT / "python", package, ignore=built)
            for module in (source / "build" / "csrc").glob("*/_*.so"):
                shutil.copy2(module, package / "ascend_prefetch")
            return mutants
        print(f"{len(bad)} do not compile", flush=True)
        mutants = {number: site for number, site in mutants.items() if number not in bad}
        fresh, queue = queue[: len(bad)], queue[len(bad) :]
        mutants |= dict(fresh)
    raise SystemExit(f"after {_BUILDS} builds there are still mutants that do not compile")


class Bench:
    """Where mutants are put before their tests.

    Attributes:
        folder: of the build.
        seconds: that each test takes without a mutant.
    """

    def __init__(self, folder: Path, paths: set[str]) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = {}
        self._cpp = sorted({name for path in paths for name in judges(path)[0]})
        self._python = sorted({name for path in paths for name in judges(path)[1]})
        self._runs = trial.Runs(folder / "source", folder / "package", self._python)

    def close(self) -> None:
        """Ends what runs the tests."""
        self._runs.close()

    def unmutated(self, jobs: int) -> None:
        """Runs all tests without a mutant, once for a build.

        Raises:
            SystemExit: one fails.
        """
        kept = self.folder / _UNMUTATED
        if kept.exists():
            self.seconds = json.loads(kept.read_text())
            return
        with ThreadPoolExecutor(jobs) as pool:
            outcomes = [
                *pool.map(lambda name: self._program(0, name), self._cpp),
                *pool.map(lambda name: self._tests(0, [name]), self._python),
            ]
        for outcome in outcomes:
            if outcome.failed:
                raise SystemExit(f"fails without a mutant: {outcome.failed}")
            self.seconds |= outcome.seconds
        kept.write_text(json.dumps(self.seconds, indent=1))
        print(f"without a mutant: {sum(self.seconds.values()):.0f} s", flush=True)

    def verdict(self, number: int, path: str, first: list[str], most: float) -> trial.Outcome:
        """What the tests of a file say of a mutant in it.

        Args:
            number: of the mutant.
            path: of the file.
            first: tests that run first.
            most: CPU seconds that the tests of Python may take.
        """
        cpp, python = judges(path)
        for name in cpp:
            outcome = self._program(number, name)
            if outcome.failed:
                return outcome
        return self._tests(number, python, first, most)

    def _program(self, number: int, name: str) -> trial.Outcome:
        program = self.folder / "source" / "build" / "tests" / "cpp" / name
        return trial.run_program(program, number, self.seconds.get(name, 0))

    def _tests(
        self, number: int, files: list[str], first: Sequence[str] = (), most: float = _DAY
    ) -> trial.Outcome:
        log = self.folder / f"{number}-{Path(files[0]).stem}.log"
        return self._runs.run(number, files, self.seconds, first, most, log)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=8, help="begin no mutant after that")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants side by side")
    parser.add_argument("--folder", type=Path, default=Path("build-mutants"))
    parser.add_argument(
        "--seconds", type=float, default=_DAY,
        help="of the CPU for the tests of Python of a mutant; a later run decides what they do not",
    )  # fmt: skip
    parser.add_argument(
        "--survivors", action="store_true", help="judge again those that survived an earlier run"
    )
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
    found_by: dict[str, Counter[str]] = defaultdict(Counter)
    for row in known.values():
        found_by[str(judges(row["path"]))][row["detected_by"]] += 1
    if options.survivors:
        known = {key: row for key, row in known.items() if row["detected_by"]}

    def judged(entry: tuple[int, Site]) -> dict | None:
        number, site = entry
        if site.key in known:
            return known[site.key]
        if site.key in EQUIVALENT:
            return {**asdict(site), "number": number, "detected_by": "", "seconds": 0}
        if time.monotonic() > end:
            return None
        start = time.monotonic()
        found = found_by[str(judges(site.path))]
        first = [test for test, _ in found.most_common()]
        outcome = bench.verdict(number, site.path, first, options.seconds)
        seconds, by = round(time.monotonic() - start), outcome.failed
        if not outcome.decided:
            print(f"undecided {seconds:5} s  {site.key}", flush=True)
            return None
        found[by] += 1
        row = {**asdict(site), "number": number, "detected_by": by, "seconds": seconds}
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{'detected' if by else 'SURVIVED'} {seconds:5} s  {site.key}  {by}", flush=True)
        return row

    rows = list(known.values())
    if left := {site.path for site in mutants.values() if site.key not in known}:
        bench = Bench(folder, left)
        bench.unmutated(options.jobs)
        with ThreadPoolExecutor(options.jobs) as pool:
            rows = [row for row in pool.map(judged, mutants.items()) if row is not None]
        bench.close()
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
