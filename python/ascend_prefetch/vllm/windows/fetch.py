"""Kept plans of windows, and the context in which a window's bytes are fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, NamedTuple

import torch

from ascend_prefetch.beside import prefetch_beside
from ascend_prefetch.planning import WindowDecision
from ascend_prefetch.policy import Request

from ..fallback import no_prefetch
from ..regions import ledger
from .plan import Wanted

_MAX_PLANS = 4096
_MAX_FETCHES = 8  # ranges of a call of the op prefetch


class Fetch(NamedTuple):
    """Bytes [offset, offset + bytes) of a weight's memory, and the engine that loads them."""

    memory: torch.Tensor
    offset: int
    bytes: int
    engine: str


class Planned(NamedTuple):
    """What a window fetches of a wanted weight.

    Attributes:
        fetch: the bytes.
        place: of the weight among the wanted ones.
        request: their claim, which every step repeats; None for bytes that are not the first.
    """

    fetch: Fetch
    place: int
    request: Request | None


class Plan(NamedTuple):
    """What a window fetches.

    Attributes:
        pieces: what it fetches, in order.
        complete: whether nothing of the wanted weights is left then.
    """

    pieces: list[Planned]
    complete: bool


Key = tuple[object, ...]


class Plans:
    """The plans of one layer's windows, by what they depend on.

    Attributes:
        complete: whether the last call of bring() left nothing of its weights.
    """

    def __init__(self) -> None:
        self.complete = False
        self._kept: dict[Key, Plan] = {}

    def clear(self) -> None:
        """Forgets all plans."""
        self._kept.clear()

    def bring(
        self,
        wanted: Sequence[Wanted],
        about: Key,
        site: str,
        decide: Callable[[tuple[int, ...]], list[WindowDecision]],
    ) -> list[Fetch]:
        """What a window fetches, claimed for this step.

        Args:
            wanted: the weights that are read after it.
            about: what its plan depends on, beside what was fetched before.
            site: the window, for the ledger.
            decide: plans it, from the bytes at the start of each weight that were fetched before;
                asked once.
        """
        done = _warmed(wanted)
        key = (*about, done)
        plan = self._kept.get(key)
        if plan is None:
            plan = self._keep(key, decide(done), wanted, done, site)
        self.complete = plan.complete
        return _claim(plan.pieces, wanted, site)

    def _keep(
        self,
        key: Key,
        decisions: Sequence[WindowDecision],
        wanted: Sequence[Wanted],
        done: Sequence[int],
        site: str,
    ) -> Plan:
        """The plan that decisions make, kept under a key."""
        places = {one.name: index for index, one in enumerate(wanted)}
        pieces, left = [], [one.memory.nbytes - n for one, n in zip(wanted, done, strict=True)]
        for one in (one for one in decisions if one.bytes):
            place = places[one.weight]
            weight = wanted[place]
            left[place] -= one.bytes
            about: dict[str, Any] = {"layer": weight.layer, "site": site, "engine": one.engine}
            request = None
            if not one.offset:
                request = Request(weight.weight, one.bytes, name=one.weight, **about)
            fetch = Fetch(weight.memory, one.offset, one.bytes, one.engine)
            pieces.append(Planned(fetch, place, request))
        plan = Plan(pieces, max(left) <= 0)
        if len(self._kept) >= _MAX_PLANS:
            self._kept.clear()
        self._kept[key] = plan
        return plan


def _warmed(wanted: Sequence[Wanted]) -> tuple[int, ...]:
    """The bytes at the start of each weight that this step has claimed."""
    step = ledger.step
    return tuple(
        [ledger.claimed_to(one.weight, one.layer) if step.holds(one.key) else 0 for one in wanted]
    )


def _claim(plan: Sequence[Planned], wanted: Sequence[Wanted], site: str) -> list[Fetch]:
    """Claims what a plan fetches for this step; what is taken meanwhile is left out."""
    fetches: list[Fetch] = []
    for fetch, place, request in plan:
        if request is not None and ledger.ask(request):
            fetches.append(fetch)
            continue
        one = wanted[place]
        about: dict[str, Any] = {"layer": one.layer, "site": site, "engine": fetch.engine}
        granted = ledger.claim(one.weight, fetch.offset, fetch.bytes, name=one.name, **about)
        fetches += [fetch._replace(offset=piece.offset, bytes=piece.bytes) for piece in granted]
    return fetches[:_MAX_FETCHES]


class Fetching:
    """The context of a window: its bytes are fetched beside what runs in it."""

    def __init__(
        self, fetches: Sequence[Fetch], hold: Callable[[bool], None] | None = None
    ) -> None:
        """
        Args:
            fetches: what is fetched, by one engine.
            hold: told True where the window begins, and False where it ends.
        """
        self._fetches = fetches
        self._hold = hold
        self._beside: AbstractContextManager[None] | None = None

    def __enter__(self) -> None:
        if self._hold is not None:
            self._hold(True)
        beside = prefetch_beside(
            [one.memory for one in self._fetches],
            offsets=[one.offset for one in self._fetches],
            max_bytes=[one.bytes for one in self._fetches],
            engine=self._fetches[0].engine,
        )
        try:
            beside.__enter__()
            self._beside = beside
        except Exception as error:  # a build without the kernel, a device without the engine
            no_prefetch(error)  # must not stop the forward pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._hold is not None:
            self._hold(False)
        if self._beside is not None:
            self._beside.__exit__(kind, error, traceback)
