"""Runs steps one after the other, whatever becomes of each, and keeps what they printed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.interrupts import Interrupted
from ascend_prefetch.shown import plain

from .steps import Step

LOG = "log.txt"
"""The file in a step's folder with all that it printed."""

_SECONDS_TO_END = 10.0  # between asking a step to end and ending it


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        step: the step.
        status: "passed", "failed", "timed out", "interrupted" or "not run".
        reason: why it was not run or could not be started, in one line; None otherwise.
        exit_status: of its process, negative for a signal; None without a process.
        seconds: how long it ran.
    """

    step: Step
    status: str
    reason: str | None = None
    exit_status: int | None = None
    seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """All but the step, by the keys of the report."""
        return {
            "status": self.status,
            "reason": self.reason,
            "exit_status": self.exit_status,
            "seconds": round(self.seconds, 1),
        }


def run_steps(
    steps: Sequence[Step],
    folder: Path,
    devices: int,
    why_none: str | None,
    progress: Callable[[str], None],
) -> tuple[list[Outcome], Interrupted | None]:
    """Runs the steps and writes down what became of each.

    A signal ends the step that runs; the rest is then not run, and its outcome says so.

    Args:
        steps: the steps, in their order.
        folder: where each gets a folder of its own.
        devices: number of NPUs that can be used.
        why_none: why there are none, in one line; None where there are.
        progress: takes a line about each step.

    Returns:
        What became of each step, and the signal that ended the run, if one did.
    """
    outcomes: list[Outcome] = []
    stopped: Interrupted | None = None
    for number, step in enumerate(steps, 1):
        directory = folder / step.name
        directory.mkdir()
        reason = str(stopped) if stopped else _why_not(step, devices, why_none)
        title = f"[{number}/{len(steps)}] {step.name}"
        if reason is not None:
            outcome = Outcome(step, "not run", reason)
        else:
            progress(f"{title}: {step.settles}")
            began = time.monotonic()
            try:
                outcome = _run(step, directory)
            except Interrupted as stop:
                stopped = stop
                seconds = time.monotonic() - began
                outcome = Outcome(step, "interrupted", str(stop), seconds=seconds)
        progress(f"{title}: {text_of(outcome.facts())}")
        outcomes.append(outcome)
    return outcomes, stopped


def text_of(facts: Mapping[str, Any]) -> str:
    """What became of a step, in a few words.

    Args:
        facts: those of an Outcome.
    """
    if facts["reason"] is not None:
        return f"{facts['status']}: {facts['reason']}"
    status = f", exit status {facts['exit_status']}" if facts["status"] == "failed" else ""
    return f"{facts['status']} after {facts['seconds']:.0f} s{status}"


def _why_not(step: Step, devices: int, why_none: str | None) -> str | None:
    if step.devices and devices < step.devices:
        return why_none or f"it takes {step.devices} NPUs, there is {devices}"
    missing = [path for path in step.needs if not path.exists()]
    return f"there is no {missing[0]}" if missing else None


def _run(step: Step, directory: Path) -> Outcome:
    began = time.monotonic()

    def outcome(status: str, reason: str | None = None, exit_status: int | None = None) -> Outcome:
        return Outcome(step, status, reason, exit_status, time.monotonic() - began)

    with (directory / LOG).open("wb") as log:
        try:
            process = subprocess.Popen(
                step.command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **step.environment},
                # Its processes make a group, which ends as a whole.
                start_new_session=True,
            )
        except OSError as error:
            return outcome("not run", f"it cannot be started: {plain(error)}")
        with _ended(process):
            try:
                status = process.wait(step.limit_s)
            except subprocess.TimeoutExpired:
                return outcome("timed out")
    return outcome("passed" if status == 0 else "failed", exit_status=status)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """After the block nothing of the process's group runs."""
    try:
        yield
    finally:
        # A process that holds a device gets the chance to give it back.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_END)
