"""What the planner decides: how much each op prefetches, in which window, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from ascend_prefetch import _C


class Decision(NamedTuple):
    """What one engine brings of a weight in one window.

    Attributes:
        weight: "prefetch[i]", or the name that a layer gives it.
        engine: "MTE2" inside a kernel, or "SDMA" between kernels.
        window: where.
        idle_us: of HBM in the window, as the planner expects it.
        bytes: how much.
        reason: why so much, or why nothing.
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
        op: its name.
        expected_us: modelled time of the kernel in closed form, nominal, without launch and
            prefetches.
        decisions: in order of time.
    """

    op: str
    expected_us: float
    decisions: list[Decision]

    def __str__(self) -> str:
        lines = [f"{self.op}: {self.expected_us:.1f} us expected without prefetches, modelled"]
        return "\n".join([*lines, *(f"  {decision}" for decision in self.decisions)])


def logging_plans() -> AbstractContextManager[list[Plan]]:
    """Collects the plan of every op that is called inside the block; filled when it ends."""
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
    """The plans of the fused ops that a call on CPU tensors makes; nothing is computed.

    Print one: it is a small table.
    """
    with _logging(only_plans=True) as plans:
        run()
    return plans
