"""Mutants of the kernels: each synchronisation and rounding is removed, and a check must notice.

A call is identified by its kind and its line; a call inside a helper that synchronises or rounds
counts as one at the line that uses the helper. No source is edited: the twin skips the calls
(csrc/twin/include/twin/mutation.h). The mutants are

- every call removed on its own;
- every set removed together with the waits that it releases, and every allocation of an event id
  together with its release: if the whole pair is removed, no call is left unpaired and only the
  order is lost;
- every CrossCoreSetFlag moved to another pipe than the one that did the work, if its core has done
  work since the last CrossCoreWaitFlag;
- every rounding removed: RoundUp returns its argument, CeilDiv rounds down; and RoundUp that rounds
  down instead.
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
    """One change to the kernels and its verdict.

    Attributes:
        kind: what is changed, e.g. "PipeBarrier<V>" or "SetFlag<MTE2_V> + WaitFlag<MTE2_V>".
        site: "file:line" of the call, or of all calls, separated by commas.
        after: "file:line" of the instruction before the call where it is first reached, or "start".
        verdict: the code of the error that detected it; "value" if only results changed; "prefetch"
            if only the account of prefetched bytes changed, by the order in the trace; "documented"
            if nothing changed, but the call is required all the same (DOCUMENTED); "redundant" if
            nothing changed and the call can only order accesses that, as far as the twin sees, a
            row of csrc/twin/include/twin/ordering.h already orders; "survived" if nothing changed
            and none of this applies.
        case: the case that detected it; empty if none did.
        reference: the document, for the verdict "documented".
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
        """The number of mutants with one of these verdicts."""
        return sum(mutant.verdict in verdicts for mutant in self.mutants)

    @property
    def detected(self) -> int:
        """The number of mutants that an error report or a changed result revealed."""
        return len(self.mutants) - self.count("documented", "redundant", "survived")


class _Change(NamedTuple):
    kind: str
    calls: tuple[Call, ...]
    weaken: bool = False


class _Reached(NamedTuple):
    """A run of the unchanged kernels: the places of calls, and the results and times of cases."""

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
        cases: the cases to run; a mutant is tried on every case that reaches it until one detects
            it.
        processes: number of processes that share the work; with more than one, `cases` must be from
            CASES.
        progress: called with each mutant, the number of mutants done, and their total.
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
    """Groups of sets and waits that meet, directly or through others, to be removed together."""
    group: dict[Call, set[Call]] = {}
    for first, second in met:
        joined = group.get(first, {first}) | group.get(second, {second})
        for call in joined:
            group[call] = joined
    return sorted({tuple(sorted(calls)) for calls in group.values()})


def _order(change: _Change, reached: _Reached) -> list[int]:
    """Indices of the cases that reach a change, fast ones first."""
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
    """The verdict and the name of the case; "survived" if no case noticed the change."""
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
    """The account of the bytes that a changed kernel prefetched."""
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
