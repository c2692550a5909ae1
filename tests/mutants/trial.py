"""Runs of tests with one mutant each, forked from one pytest that has collected them all.

A mutant is found in a second or two, most of it by the first few tests. To start Python, to import
torch and to collect some thousand tests takes ten times as long: it is done once.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import switched

_MIN_SECONDS = 30  # of the CPU before a test counts as hanging, and some for one that is slow
_LONGEST = 4 * 3600  # of a run that waits for something
_MEMORY = 12 << 30  # bytes of address space: what a mutant plans may be of any size


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        failed: the test at which it stopped, with the signal where there was one; "" for none.
        seconds: of the tests that passed, by their names.
        decided: whether all tests ran, or one failed.
    """

    failed: str
    seconds: dict[str, float]
    decided: bool = True


def run_program(program: Path, number: int, seconds: float) -> Outcome:
    """Runs the executable of C++ tests, which takes `seconds` without a mutant."""
    environment = {**os.environ, switched.VARIABLE: str(number)}
    process = subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    )  # fmt: skip
    most = int(_MIN_SECONDS + 2 * seconds)
    resource.prlimit(process.pid, resource.RLIMIT_CPU, (most, most))
    resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
    resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    start = time.monotonic()
    for line in process.stdout or []:
        if line.startswith("FAILED"):
            process.kill()
            process.wait()
            return Outcome(f"{program.name}: {line.split()[1]}", {})
    if process.wait() != 0:
        return Outcome(f"{program.name} ({process.returncode})", {})
    return Outcome("", {program.name: time.monotonic() - start})


class Runs:
    """Runs tests of Python, several at once if need be.

    Args:
        source: the folder in which pytest runs.
        package: the folder of ascend_prefetch.
        files: all files of tests, relative to `source`.
    """

    def __init__(self, source: Path, package: Path, files: Sequence[str]) -> None:
        reader, self._requests = os.pipe()
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(package),
            switched.VARIABLE: "0",
        }
        command = [sys.executable, __file__, str(reader), *files]
        self._server = subprocess.Popen(command, cwd=source, env=environment, pass_fds=[reader])
        os.close(reader)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Ends the process that collected the tests."""
        os.close(self._requests)
        self._server.wait()

    def run(
        self,
        number: int,
        files: Sequence[str],
        seconds: dict[str, float],
        first: Sequence[str],
        most: float,
        log: Path,
    ) -> Outcome:
        """Runs tests until the first fails.

        Args:
            number: of the mutant.
            files: some of those of the constructor.
            seconds: that tests took without a mutant; the quick ones run first.
            first: tests that run before all others, in this order.
            most: CPU seconds that the run may take.
            log: a file for the time of the run.

        Raises:
            RuntimeError: the tests cannot be collected.
        """
        done = log.with_suffix(".done")
        log.unlink(missing_ok=True)
        done.unlink(missing_ok=True)
        request = {
            "number": number, "files": files, "seconds": seconds, "first": first, "most": most,
            "log": str(log), "done": str(done),
        }  # fmt: skip
        with self._lock, os.fdopen(os.dup(self._requests), "w") as requests:
            requests.write(json.dumps(request) + "\n")
        while not done.exists():
            if self._server.poll() is not None:
                raise RuntimeError(f"pytest has ended with status {self._server.returncode}")
            time.sleep(0.05)
        outcome = _outcome(log, json.loads(done.read_text()))
        log.unlink(missing_ok=True)
        done.unlink()
        return outcome


def _outcome(log: Path, status: int) -> Outcome:
    begun, failed, took = "", "", {}
    for line in log.read_text().splitlines() if log.exists() else []:
        event = json.loads(line)
        if event["is"] == "begun":
            begun = event["test"]
        elif event["is"] == "passed":
            took[event["test"]] = event["seconds"]
        elif not failed:
            failed = event["test"]
    if failed or status == 0:
        return Outcome(failed, took)
    if status == -signal.SIGXCPU:
        return Outcome("", took, decided=False)
    why = "hangs" if status == -signal.SIGPROF else f"status {status}"
    return Outcome(f"{begun} ({why})", took)


class _Server:
    """The plugin of pytest that runs, in a fork each, the tests of the requests on a pipe."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._log: Path | None = None
        self._seconds: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with os.fdopen(self._requests) as requests:
            for line in requests:
                if os.fork() == 0:
                    self._watch(session, json.loads(line))
        return True

    def _watch(self, session: pytest.Session, request: dict) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        runner = os.fork()
        if runner == 0:
            os._exit(self._run(session, request))
        status = os.waitstatus_to_exitcode(os.waitpid(runner, 0)[1])
        done = Path(request["done"])
        partial = done.with_suffix(".partial")
        partial.write_text(json.dumps(status))
        partial.rename(done)
        os._exit(0)

    def _run(self, session: pytest.Session, request: dict) -> int:
        os.environ[switched.VARIABLE] = str(request["number"])
        most = int(request["most"])
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 60))
        signal.alarm(_LONGEST)
        os.dup2(1, 2)  # what tests print about their mutant
        self._log, self._seconds = Path(request["log"]), request["seconds"]
        first = {test: place for place, test in enumerate(request["first"])}
        items = [item for item in session.items if item.nodeid.split("::")[0] in request["files"]]
        items.sort(
            key=lambda item: (
                first.get(item.nodeid, len(first)),
                self._seconds.get(item.nodeid, 0),
            )
        )
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return 1
        return 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        self._write(test=item.nodeid, **{"is": "begun"})
        # Not caught: it ends a loop of the kernel as well.
        most = _MIN_SECONDS + 10 * self._seconds.get(item.nodeid, 0)
        signal.setitimer(signal.ITIMER_PROF, most)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._write(test=report.nodeid, **{"is": "failed"})
        elif report.when == "call":
            self._write(test=report.nodeid, seconds=report.duration, **{"is": "passed"})

    def _write(self, **event: object) -> None:
        assert self._log is not None
        with self._log.open("a") as events:
            events.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    # Without capture, which would open files before the forks that all of them wrote to.
    options = [
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:faulthandler",
        "--tb=no",
    ]
    sys.exit(pytest.main([*options, *sys.argv[2:]], plugins=[_Server(int(sys.argv[1]))]))
