"""Work that is interrupted ends as an exception does: nothing is left behind, no process either."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Job = TypeVar("Job")
Result = TypeVar("Result")


class Interrupted(BaseException):
    """A signal came. No Exception: what handles errors does not go on after it.

    Attributes:
        signal: which.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"interrupted by {self.signal.name}")

    @property
    def status(self) -> int:
        """The exit status, by convention: 130 of SIGINT, 143 of SIGTERM, 129 of SIGHUP."""
        return 128 + self.signal


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGNALS raise Interrupted, once: what ends the work is not interrupted itself.

    What was ignored stays so, as under nohup. Does nothing in another thread than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    # None: set by something else than Python.
    before = {each: signal.getsignal(each) or signal.SIG_DFL for each in SIGNALS}
    heard = {each: handler for each, handler in before.items() if handler != signal.SIG_IGN}
    for each in heard:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each, handler in heard.items():
            signal.signal(each, handler)


@contextmanager
def map_in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], processes: int, chunk: int = 1
) -> Iterator[Iterator[Result]]:
    """The results in the order of the jobs, made by several processes, which end with the block.

    Args:
        function: of a module, which the processes import: they are not forked, torch has threads.
        jobs: can be pickled.
        processes: as many share the work; with 1 it is done in this one.
        chunk: jobs that a process takes at a time.

    Raises:
        RuntimeError: a process died.
    """
    if processes == 1:
        yield map(function, jobs)
        return
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)), mp_context=multiprocessing.get_context("spawn")
    )
    try:
        with _children_ignore_interrupts():
            results = pool.map(function, jobs, chunksize=chunk)
        yield results
    except BaseException:
        # Nobody waits for what they are at.
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _children_ignore_interrupts() -> Iterator[None]:
    """Processes that are started within it do not hear of Ctrl-C, which a terminal sends to all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
