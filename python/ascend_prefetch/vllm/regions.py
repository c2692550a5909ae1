"""What the ops prefetch while they run: o_proj under the prolog, the next qkv_a under o_proj.

The planner inside the op decides how much of a weight is loaded, from the bytes that pass through
L2 before the weight is used: the cache that attention reads, the weights of experts.
"""

from __future__ import annotations

from typing import Any

import torch

from ascend_prefetch import _C, backend
from ascend_prefetch.policy import PrefetchLedger, Request

from .arguments import Prolog
from .fallback import no_prefetch
from .following import Following
from .linears import bytes_of
from .switch import holders

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
        self._bytes = weight.nbytes
        if ratio < 1:
            self._bytes = int(weight.nbytes * ratio) // 32 * 32
        about: dict[str, Any] = {"layer": layer, "site": site, "engine": "MTE2", "name": name}
        self._about = about
        # The same request is made in every step, so it is kept.
        self._request: Request | None = None
        if self._bytes == weight.nbytes:
            self._request = Request(weight, **about)
        self._chip = backend.chip()
        _C.l2_room(self._chip, 0)  # an unknown chip is refused here, not in a step

    def claim(self, passing_bytes: int) -> dict[str, object]:
        """The prefetch arguments of an op; none where this step has already claimed the bytes.

        Args:
            passing_bytes: bytes that pass through L2 before the weight is used.
        """
        # The op does not prefetch bytes that L2 would evict before their use. They are not claimed,
        # so that later windows may prefetch them.
        room = _C.l2_room(self._chip, passing_bytes)
        if self._request is not None and self._bytes <= room and ledger.ask(self._request):
            return {"prefetch": [self._weight], "prefetch_passing_bytes": [passing_bytes]}
        most = min(self._bytes, room)
        granted = ledger.claim(self._weight, 0, most, **self._about) if most > 0 else []
        if not granted:
            return {}
        flat = bytes_of(self._weight)
        pieces = [flat[piece.offset : piece.offset + piece.bytes] for piece in granted[:8]]
        return {"prefetch": pieces, "prefetch_passing_bytes": [passing_bytes] * len(pieces)}


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
        return self._region.claim(between.bytes(tokens))

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
