"""What the ops prefetch while they run: o_proj under the prolog, the next qkv_a under o_proj.

The planner inside the op decides how much of a weight is loaded, from the bytes that pass through
L2 before the weight is used: the cache that attention reads, the weights of experts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

from ascend_prefetch import _C, backend
from ascend_prefetch.policy import PrefetchLedger, Request

from . import neighbours
from .arguments import LayerArguments
from .fallback import no_prefetch
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
    """The window under o_proj, for the next layer's fused_qkv_a.

    The next layer is looked up at the first use, when all layers exist; when its weights are
    replaced, the window follows.
    """

    def __init__(self, place: neighbours.Place, vllm_config: object, ratio: float) -> None:
        self._place = place
        self._config = vllm_config
        self._ratio = ratio
        self._layer: Callable[[], Any] | None = None
        self._arguments: LayerArguments | None = None
        self._region: Region | None = None
        self._between: neighbours.FeedForward | None = None

    def prefetch(self, tokens: int) -> dict[str, object]:
        """The prefetch arguments of o_proj for a step of `tokens` tokens."""
        if self._layer is None:
            behind = neighbours.next_layer(self._place)
            self._layer = _nowhere if behind is None else weakref.ref(behind)
        behind = self._layer()
        if behind is None:
            return {}
        if behind.fused_weights.arguments is not self._arguments:
            try:
                self._follow(behind)
            except Exception as error:  # must not stop the forward pass
                no_prefetch(error)
        if self._region is None or self._between is None:
            return {}
        return self._region.claim(self._between.bytes(tokens))

    def _follow(self, behind: Any) -> None:
        """Replaces the region by one of the layer's present weights."""
        self._arguments = behind.fused_weights.arguments
        self._region = None
        if self._arguments is not None and self._arguments.prolog is not None:
            weight = self._arguments.prolog.qkv_a
            itemsize = weight.element_size()
            self._between = neighbours.FeedForward(self._config, self._place, itemsize)
            self._region = Region(
                weight,
                self._ratio,
                layer=self._place.number + 1,
                site="o_proj",
                name="fused_qkv_a_proj",
            )


def _nowhere() -> None:
    """Replaces the weak reference to the next layer where no layer follows."""
