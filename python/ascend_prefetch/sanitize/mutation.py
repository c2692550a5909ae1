"""Mutations of the kernels' synchronisation: each call is switched off, and must be missed.

A call is known by its kind, its line and the line of the instruction before it on the same core: a
call inside of a helper is a different one in every place that uses the helper. Nothing is edited;
the twin leaves the call out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ascend_prefetch import _C, twin

from .cases import CASES, SanitizeCase


class Mutant(NamedTuple):
    """One call switched off.

    Attributes:
        kind: e.g. "PipeBarrier<V>" or "SetFlag<MTE2_V>".
        site: "file:line" of the call.
        after: "file:line" of the instruction before it, or "start".
        verdict: the code of the error by which it was found, or "survived".
        case: the case that found it; empty for survivors.
    """

    kind: str
    site: str
    after: str
    verdict: str
    case: str


def mutate(
    cases: Sequence[SanitizeCase] = CASES, progress: Callable[[int, int], None] | None = None
) -> list[Mutant]:
    """Switches off every synchronisation call that the cases reach, one at a time.

    Args:
        cases: what is run; a call is tried on every case that reaches it until one finds it.
        progress: told how many calls are done, of how many.
    """
    with twin.sanitizing("full"):
        reached: dict[tuple[str, str, str], list[SanitizeCase]] = {}
        for case in cases:
            _C.start_sync_calls()
            try:
                case.run()
            finally:
                calls = _C.take_sync_calls()
            for call in calls:
                reached.setdefault(call, []).append(case)
        mutants = []
        for call in sorted(reached):
            mutants.append(_judge(call, reached[call]))
            if progress is not None:
                progress(len(mutants), len(reached))
    return mutants


def _judge(call: tuple[str, str, str], cases: Sequence[SanitizeCase]) -> Mutant:
    _C.disable_sync_call(*call)
    try:
        for case in cases:
            try:
                case.run()
            except twin.TwinError as error:
                return Mutant(*call, error.code, case.name)
    finally:
        _C.enable_all_sync_calls()
    return Mutant(*call, "survived", "")
