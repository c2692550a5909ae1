"""What the planner decides: how much each op prefetches, in which window, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from ascend_prefetch import _C

Window = _C.Window
"""A time before the use of a weight in which HBM has less to do than it could."""

EngineCost = _C.EngineCost
"""What an engine costs that prefetches in a window."""

LayerPart = _C.LayerPart
"""What runs in a layer: what it reads, and the window that it leaves."""

SLOWED_SHARES: tuple[float, float, float] = _C.slowed_shares()
"""By how much a kernel is slowed down while a prefetch beside it moves bytes, for windows of short,
nominal and long length. Nobody has published it: assumed."""

MOST_LOSS_SHARE = 0.0028
"""Share of a layer's time that its windows may lose where constants are the least favourable: just
below the 0.3 % that are promised to be the most."""


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


class WindowDecision(NamedTuple):
    """How much of a weight is prefetched in a window between kernels.

    Attributes:
        window: name of the window.
        weight: name of the weight.
        engine: "vector", "cube" or "sdma".
        short_us: microseconds for which HBM idles in the window at its short length.
        passing_bytes: bytes that pass through L2 from the window to the weight's use; None where
            unknown.
        offset: first byte of the weight that is prefetched.
        bytes: bytes to prefetch.
        saved_us: microseconds that they save at the short length, less what fork, join, the slower
            kernel beside them and spikes of the copy engine cost.
        bound_us: what they could save if the engine worked from the window's begin to its end.
        reason: why this many, or why none.
    """

    window: str
    weight: str
    engine: str
    short_us: float
    passing_bytes: int | None
    offset: int
    bytes: int
    saved_us: float
    bound_us: float
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.window:18}{self.short_us:6.1f} us  {self.engine:7}{self.weight:24}"
            f"{self.bytes / 1e6:7.2f} MB  {self.saved_us:5.2f} us saved: {self.reason}"
        )


class LayerWeight(NamedTuple):
    """A weight that is read after a window.

    Attributes:
        name: for reports.
        bytes: its bytes.
        warmed: bytes at its start that kernels prefetch.
        us_per_mb: microseconds by which a MB of it in L2 makes its reader faster.
        least_us_per_mb: the same at the constants at which that is least.
    """

    name: str
    bytes: int
    warmed: int
    us_per_mb: float
    least_us_per_mb: float


def plan_windows(
    chip: str,
    parts: Sequence[LayerPart],
    weights: Sequence[LayerWeight],
    most_loss_us: float,
    constants: Mapping[str, float] | None = None,
    worst_constants: Mapping[str, float] | None = None,
) -> list[WindowDecision]:
    """Plans what is prefetched in the windows of a layer between kernels.

    Args:
        chip: SoC name.
        parts: what runs, in order, with the windows and the weights that each part reads.
        weights: the weights.
        most_loss_us: microseconds that a layer may lose where constants are the least favourable.
        constants: constants that replace the planner's nominal ones, in units of
            `timing_constants`.
        worst_constants: likewise, of those at which everything takes longest.

    Returns:
        Decisions in the order of the windows, and for each in the order of use of the weights that
        are read after it. A decision prints as a line.

    Raises:
        ValueError: the chip or a constant is unknown, a part reads a weight that is not there, more
            of a weight is warmed than it has, or a window's lengths contradict each other.
    """
    decisions = []
    for part, weight, engine, passing_bytes, *rest in _C.plan_windows(
        chip, parts, weights, most_loss_us, constants or {}, worst_constants or {}
    ):
        window = parts[part].window
        assert window is not None
        decisions.append(
            WindowDecision(
                window.name, weights[weight].name, engine, window.us[0], passing_bytes, *rest
            )
        )
    return decisions


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
