"""Kept plans of windows, and the context in which a window's bytes are fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, NamedTuple

import torch

from ascend_prefetch.beside import prefetch_beside
from ascend_prefetch.planning import WindowDecision

from ..fallback import no_prefetch
from ..regions import ledger
from .plan import Wanted

_MAX_PLANS = 4096
_MAX_FETCHES = 8  # ranges of a call of the op prefetch


class Planned(NamedTuple):
    """Bytes [offset, offset + bytes) of a wanted weight, by its place, and their engine."""

    place: int
    offset: int
    bytes: int
    engine: str


Key = tuple[object, ...]


class Plans:
    """The plans of one layer's windows, by what they depend on."""

    def __init__(self) -> None:
        self._kept: dict[Key, list[Planned]] = {}
        self.get = self._kept.get

    def clear(self) -> None:
        """Forgets all plans."""
        self._kept.clear()

    def keep(
        self, key: Key, decisions: Sequence[WindowDecision], wanted: Sequence[Wanted]
    ) -> list[Planned]:
        """The bytes that decisions fetch, kept under a key."""
        places = {one.name: index for index, one in enumerate(wanted)}
        plan = [
            Planned(places[one.weight], one.offset, one.bytes, one.engine)
            for one in decisions
            if one.bytes
        ]
        if len(self._kept) >= _MAX_PLANS:
            self._kept.clear()
        self._kept[key] = plan
        return plan


def warmed(wanted: Sequence[Wanted]) -> tuple[int, ...]:
    """The bytes at the start of each weight that this step has claimed."""
    return tuple(ledger.claimed_to(one.weight, one.layer) for one in wanted)


class Fetch(NamedTuple):
    """Bytes [offset, offset + bytes) of a weight's memory, and the engine that loads them."""

    memory: torch.Tensor
    offset: int
    bytes: int
    engine: str


def claim(plan: Sequence[Planned], wanted: Sequence[Wanted], site: str) -> list[Fetch]:
    """Claims what a plan fetches for this step; what is taken meanwhile is left out."""
    fetches: list[Fetch] = []
    for place, offset, nbytes, engine in plan:
        one = wanted[place]
        about: dict[str, Any] = {"layer": one.layer, "site": site, "engine": engine}
        granted = ledger.claim(one.weight, offset, nbytes, name=one.name, **about)
        fetches += [Fetch(one.memory, piece.offset, piece.bytes, engine) for piece in granted]
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
