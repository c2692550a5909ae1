"""What the ops prefetch while they run: o_proj under the prolog, the next qkv_a under o_proj.

The planner inside the op decides how much of a weight is loaded, from the bytes that pass through
L2 before the weight is used: the cache that attention reads, the weights of experts.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Any

import torch

from ascend_prefetch import _C, backend
from ascend_prefetch.planning import Plan, logging_plans
from ascend_prefetch.policy import ByteRange, PrefetchLedger, Request

from .arguments import Prolog
from .fallback import no_prefetch
from .following import Following
from .linears import bytes_of, leading_bytes
from .switch import holders

NOTHING: AbstractContextManager[None] = nullcontext()
"""The context in which nothing is watched or fetched."""

_PREFETCHED = frozenset(f"prefetch[{index}]" for index in range(8))
_ROOM_STEP = 1 << 20  # bytes of L2 that make no other plan
_MAX_KNOWN = 4096

ledger = PrefetchLedger()
"""The ledger of this process for plugin and policy: each byte once per step and layer."""
holders.add(ledger)


class Region:
    """The share of a weight that one op may prefetch."""

    def __init__(
        self, weight: torch.Tensor, ratio: float, *, layer: int | None, site: str, name: str
    ) -> None:
        """
        Args:
            weight: weight of a linear layer.
            ratio: share of it, counted from its beginning, in whole blocks of 32 bytes.
            layer: number of the decoder layer that uses it.
            site: the op under which it is prefetched.
            name: name of the weight.
        """
        self._weight = weight
        self._bytes = leading_bytes(weight, ratio)
        about: dict[str, Any] = {"layer": layer, "site": site, "engine": "MTE2", "name": name}
        self._about = about
        # By what the op's planner decides from: what it brings, as the claim that every step
        # repeats; None where it brings nothing.
        self._brought: dict[tuple[int, int], Request | None] = {}
        self._asked: tuple[int, int] | None = None
        self._chip = backend.chip()
        _C.l2_room(self._chip, 0)  # an unknown chip is refused here, not in a step

    def claim(self, passing_bytes: int, tokens: int) -> dict[str, object]:
        """The prefetch arguments of an op; none where it brings nothing that is not there already.

        What the planner in the op brings is claimed, no more: the rest is left to later windows.
        For rows and room that are new to the region it is not known before the call, which then has
        to run within watch().

        Args:
            passing_bytes: bytes that pass through L2 before the weight is used.
            tokens: rows of the step.
        """
        # The op does not prefetch bytes that L2 would evict before their use.
        room = _C.l2_room(self._chip, passing_bytes)
        if room <= 0:
            return {}
        most = min(self._bytes, room)
        key = (tokens, most if most == self._bytes else most // _ROOM_STEP)
        if key not in self._brought:
            self._asked = key
            return self._arguments([ByteRange(0, most)], passing_bytes)
        request = self._brought[key]
        if request is None:
            return {}
        if ledger.ask(request):
            return self._arguments([ByteRange(0, request.bytes)], passing_bytes)
        granted = ledger.claim(self._weight, 0, request.bytes, **self._about)
        return self._arguments(granted[:8], passing_bytes) if granted else {}

    def watch(self) -> AbstractContextManager[object]:
        """The context of the op for which claim() was called last."""
        return NOTHING if self._asked is None else _Watched(self)

    def learn(self, nbytes: int) -> None:
        """Claims what the op has brought, and keeps it for later steps."""
        key, self._asked = self._asked, None
        if key is None:
            return
        if len(self._brought) >= _MAX_KNOWN:
            self._brought.clear()
        request = Request(self._weight, nbytes, **self._about) if nbytes else None
        self._brought[key] = request
        if request is not None and not ledger.ask(request):
            ledger.claim(self._weight, 0, nbytes, **self._about)

    def _arguments(self, ranges: list[ByteRange], passing_bytes: int) -> dict[str, object]:
        if ranges[0] == (0, self._weight.nbytes):
            return {"prefetch": [self._weight], "prefetch_passing_bytes": [passing_bytes]}
        flat = bytes_of(self._weight)
        pieces = [flat[one.offset : one.offset + one.bytes] for one in ranges]
        return {"prefetch": pieces, "prefetch_passing_bytes": [passing_bytes] * len(pieces)}


class _Watched:
    """The context of an op that tells a region how much of it the op brings."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._log = logging_plans()
        self._plans: list[Plan] | None = None

    def __enter__(self) -> None:
        # Where the user logs plans, the next step learns.
        with suppress(RuntimeError):
            self._plans = self._log.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._plans is None:
            return
        self._log.__exit__(kind, error, traceback)
        if error is not None:
            return
        decisions = (one for plan in self._plans for one in plan.decisions)
        self._region.learn(sum(one.bytes for one in decisions if one.weight in _PREFETCHED))


class NextLayer:
    """The window under o_proj, for the next layer's fused_qkv_a."""

    def __init__(self, following: Following, ratio: float) -> None:
        self._following = following
        self._ratio = ratio
        self._prolog: Prolog | None = None
        self._region: Region | None = None

    def prefetch(self, tokens: int) -> dict[str, object]:
        """The prefetch arguments of o_proj for a step of `tokens` tokens."""
        try:
            prolog = self._following.prolog()
            if prolog is not self._prolog:
                self._take(prolog)
        except Exception as error:  # must not stop the forward pass
            no_prefetch(error)
            return {}
        between = self._following.between
        if self._region is None or between is None:
            return {}
        return self._region.claim(between.bytes(tokens), tokens)

    def watch(self) -> AbstractContextManager[object]:
        """The context of the op for which prefetch() was called last."""
        return NOTHING if self._region is None else self._region.watch()

    def _take(self, prolog: Prolog | None) -> None:
        """Replaces the region by one of the layer's present weights."""
        self._prolog, self._region = prolog, None
        if prolog is not None:
            self._region = Region(
                prolog.qkv_a,
                self._ratio,
                layer=self._following.number,
                site="o_proj",
                name="fused_qkv_a_proj",
            )
