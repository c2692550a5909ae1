"""Turns signals into exceptions, so that interrupted work leaves neither files nor processes."""

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
    """A signal has arrived. It is not an Exception, so that error handlers do not catch it.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"interrupted by {self.signal.name}")

    @property
    def status(self) -> int:
        """The conventional exit status: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signal


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block SIGNALS raise Interrupted, but only once, so that cleaning up is not
    stopped.

    Signals that were ignored stay ignored, as under nohup. In another thread than the main one it
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    # getsignal returns None for a handler that was not set by Python.
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
    """Results in the order of the jobs, made by several processes, which end with the block.

    Args:
        function: a module-level function. The processes import its module; they are not forked, as
            torch has threads.
        jobs: arguments that can be pickled.
        processes: number of processes that share the work; 1 works in this process.
        chunk: number of jobs that a process takes at a time.

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
        # Their unfinished work is not needed.
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _children_ignore_interrupts() -> Iterator[None]:
    """Processes started within the block ignore Ctrl-C, which a terminal sends to all processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
