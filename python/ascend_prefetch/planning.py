"""What the planner decides: how much each op prefetches, in which window, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from ascend_prefetch import _C

Window = _C.Window
"""A time before the use of a weight in which HBM has less to do than it could."""


class Decision(NamedTuple):
    """How much of a weight one engine prefetches in one window.

    Attributes:
        weight: "prefetch[i]", or the name that a layer gives it.
        engine: "MTE2" inside a kernel, or "SDMA" between kernels.
        window: name of the window.
        idle_us: microseconds for which the planner expects HBM to idle in the window.
        bytes: bytes to prefetch.
        reason: why this many, or why none.
    """

    weight: str
    engine: str
    window: str
    idle_us: float
    bytes: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.weight:11} {self.engine:5}{self.window:24}{self.bytes / 1e6:7.2f} MB  "
            f"{self.idle_us:5.1f} us idle: {self.reason}"
        )


class Plan(NamedTuple):
    """The planner's view of one call of an op.

    Attributes:
        op: name of the op.
        expected_us: modelled time of the kernel in microseconds, from the closed form with nominal
            constants, without its launch and without prefetches.
        decisions: one for each window and weight, in order of time.
    """

    op: str
    expected_us: float
    decisions: list[Decision]

    def __str__(self) -> str:
        lines = [f"{self.op}: {self.expected_us:.1f} us expected without prefetches, modelled"]
        return "\n".join([*lines, *(f"  {decision}" for decision in self.decisions)])


def logging_plans() -> AbstractContextManager[list[Plan]]:
    """Collects the plan of every op called inside the block; the list is filled when it ends."""
    return _logging(only_plans=False)


@contextmanager
def _logging(only_plans: bool) -> Iterator[list[Plan]]:
    plans: list[Plan] = []
    _C.start_plan_log(only_plans)
    try:
        yield plans
    finally:
        for op, us, decisions in _C.take_plan_log():
            rows = [
                Decision(weight, "MTE2", window, idle_us, nbytes, reason)
                for weight, window, idle_us, nbytes, reason in decisions
            ]
            plans.append(Plan(op, us, rows))


def explain(run: Callable[[], object]) -> list[Plan]:
    """The plans of the fused ops that `run` calls on CPU tensors; nothing is computed.

    A plan prints as a small table.
    """
    with _logging(only_plans=True) as plans:
        run()
    return plans
