"""Mutations of the kernels: each synchronisation and rounding is taken away, and must be missed.

A call is known by its kind and its line; a call inside of a helper that synchronises or rounds
counts as that of whoever uses the helper. Nothing is edited: the twin leaves the calls out
(csrc/twin/include/twin/mutation.h). The mutants are

- every call on its own;
- every set together with the waits that it lets through, and every event id taken together with
  its release: without the whole pair nothing is left to be unpaired, only the order is gone;
- every CrossCoreSetFlag made to follow another pipe than the one that did the work, where there is
  work of its core since the last CrossCoreWaitFlag;
- every rounding left out: RoundUp gives its value, CeilDiv rounds down; RoundUp rounded down too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import cache
from typing import NamedTuple

import torch

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.interrupts import map_in_processes

from .cases import CASES, SanitizeCase
from .documented import DOCUMENTED

Call = tuple[str, str]


class Mutant(NamedTuple):
    """One change to the kernels and what came of it.

    Attributes:
        kind: what is changed, e.g. "PipeBarrier<V>" or "SetFlag<MTE2_V> + WaitFlag<MTE2_V>".
        site: "file:line" of the call, or of all calls, separated by commas.
        after: "file:line" of the instruction before it where it is first reached, or "start".
        verdict: the code of the error by which it was found; "value" if only results changed;
            "prefetch" if only what a prefetch is good for changed, by the order in the trace;
            "documented" if nothing changed and the call is needed all the same (DOCUMENTED);
            "redundant" if nothing changed and all that the call could do is order: everything is
            ordered without it by a row of csrc/twin/include/twin/ordering.h, as far as the twin
            sees; "survived" if nothing changed.
        case: the case that found it; empty where none did.
        reference: the document, of verdict "documented".
    """

    kind: str
    site: str
    after: str
    verdict: str
    case: str
    reference: str = ""


class MutationTable(NamedTuple):
    """All mutants, and the number of calls that they change."""

    sites: int
    mutants: list[Mutant]

    def count(self, *verdicts: str) -> int:
        """Mutants of these verdicts."""
        return sum(mutant.verdict in verdicts for mutant in self.mutants)

    @property
    def detected(self) -> int:
        """Mutants that a report or another result gave away."""
        return len(self.mutants) - self.count("documented", "redundant", "survived")


class _Change(NamedTuple):
    kind: str
    calls: tuple[Call, ...]
    weaken: bool = False


class _Reached(NamedTuple):
    """What the unchanged kernels do: of calls, where they stand; of cases, results and time."""

    after: dict[Call, str]
    cases: dict[Call, list[int]]
    weakened: set[Call]
    met: list[tuple[Call, Call]]
    digests: list[str]
    seconds: list[float]


def mutate(
    cases: Sequence[SanitizeCase] = CASES,
    processes: int = 1,
    progress: Callable[[Mutant, int, int], None] | None = None,
) -> MutationTable:
    """Changes every call that the cases reach, one mutant at a time.

    Args:
        cases: what is run; a mutant is tried on every case that reaches it until one finds it.
        processes: that share the work; more than one only with cases of CASES.
        progress: told every mutant, how many are done, and of how many.
    """
    with twin.sanitizing("full"):
        reached = _reach(cases)
        changes = list(_changes(reached))
        jobs = [(change, _order(change, reached), reached.digests) for change in changes]
        mutants: list[Mutant] = []
        with closing(_judge_all(cases, jobs, processes)) as verdicts:
            for verdict, case in verdicts:
                change = changes[len(mutants)]
                mutants.append(_mutant(change, reached, verdict, case))
                if progress is not None:
                    progress(mutants[-1], len(mutants), len(changes))
    return MutationTable(len(reached.after), mutants)


def _reach(cases: Sequence[SanitizeCase]) -> _Reached:
    reached = _Reached({}, {}, set(), [], [], [])
    for index, case in enumerate(cases):
        _lab.start_call_log()
        start = time.perf_counter()
        try:
            reached.digests.append(_digest(case.run()))
        finally:
            calls, weakened, met = _lab.take_call_log()
        reached.seconds.append(time.perf_counter() - start)
        reached.weakened.update(weakened)
        reached.met.extend(met)
        for call, after in calls.items():
            reached.after.setdefault(call, after)
            reached.cases.setdefault(call, []).append(index)
    return reached


def _digest(results: Iterable[torch.Tensor]) -> str:
    digest = hashlib.blake2b()
    for result in results:
        digest.update(result.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _changes(reached: _Reached) -> Iterable[_Change]:
    for call in sorted(reached.after):
        kind = call[0]
        rounds = kind in ("RoundUp", "CeilDiv")
        yield _Change(kind + " left out" * rounds, (call,))
        if call in reached.weakened:
            how = " rounded down" if rounds else " of another pipe"
            yield _Change(kind + how, (call,), weaken=True)
    for calls in _pairs(reached.met):
        yield _Change(" + ".join(sorted({kind for kind, _ in calls})), calls)


def _pairs(met: Iterable[tuple[Call, Call]]) -> list[tuple[Call, ...]]:
    """Calls that meet, directly or through others: a wait without any of its sets."""
    group: dict[Call, set[Call]] = {}
    for first, second in met:
        joined = group.get(first, {first}) | group.get(second, {second})
        for call in joined:
            group[call] = joined
    return sorted({tuple(sorted(calls)) for calls in group.values()})


def _order(change: _Change, reached: _Reached) -> list[int]:
    """The cases that reach a change, fast ones first."""
    indices = {index for call in change.calls for index in reached.cases[call]}
    return sorted(indices, key=lambda index: reached.seconds[index])


_Job = tuple[_Change, list[int], list[str]]


def _judge_all(
    cases: Sequence[SanitizeCase], jobs: Sequence[_Job], processes: int
) -> Generator[tuple[str, str]]:
    if processes == 1:
        yield from (_judge(cases, *job) for job in jobs)
        return
    if tuple(cases) != CASES:
        raise ValueError("processes: expected 1 with cases that are not CASES")
    with map_in_processes(_judge_known, jobs, processes, chunk=4) as verdicts:
        yield from verdicts


def _judge_known(job: _Job) -> tuple[str, str]:
    with twin.sanitizing("full"):
        return _judge(CASES, *job)


def _judge(
    cases: Sequence[SanitizeCase], change: _Change, indices: Sequence[int], digests: Sequence[str]
) -> tuple[str, str]:
    """Verdict and name of the case; "survived" where nothing noticed."""
    changed = ""
    for index in indices:
        _lab.set_mutation(change.calls, change.weaken)
        try:
            results = cases[index].run()
        except twin.TwinError as error:
            return error.code, cases[index].name
        finally:
            _lab.set_mutation([])
        if changed == "" and _digest(results) != digests[index]:
            changed = cases[index].name
    if changed:
        return "value", changed
    for index in indices:
        if _account(cases[index], change) != _unchanged_account(cases[index]):
            return "prefetch", cases[index].name
    return "survived", ""


def _account(case: SanitizeCase, change: _Change) -> list[twin.PrefetchBytes]:
    """What became of the weights that a changed kernel prefetched."""
    _lab.set_mutation(change.calls, change.weaken)
    try:
        with twin.tracing() as traces:
            case.run()
    finally:
        _lab.set_mutation([])
    return [twin.account_prefetch(trace, case.prefetched) for trace in traces]


@cache
def _unchanged_account(case: SanitizeCase) -> list[twin.PrefetchBytes]:
    return _account(case, _Change("", ()))


def _mutant(change: _Change, reached: _Reached, verdict: str, case: str) -> Mutant:
    sites = list(dict.fromkeys(site for _, site in change.calls))
    reference = DOCUMENTED.get(change.kind, "") if verdict == "survived" else ""
    if reference:
        verdict = "documented"
    elif verdict == "survived" and not change.kind.startswith(("RoundUp", "CeilDiv", "AllocEv")):
        verdict = "redundant"
    after = reached.after[change.calls[0]]
    return Mutant(change.kind, ", ".join(sites), after, verdict, case, reference)
