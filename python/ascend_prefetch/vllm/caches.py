"""Whether the ops can write the caches that a layer is given."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from .switch import holders


class KnownCaches:
    """The caches that were checked last, held weakly, and the result."""

    def __init__(self) -> None:
        self._seen: tuple[weakref.ref[torch.Tensor], ...] = ()
        self._refusal: str | None = None
        holders.add(self)

    def refusal(self, layer: Any, caches: tuple) -> str | None:
        """Why a step with these caches goes upstream, or None; new caches are checked, once."""
        seen = self._seen
        if seen and len(seen) == len(caches):
            for reference, cache in zip(seen, caches, strict=True):  # any() takes twice as long
                if reference() is not cache:
                    break
            else:
                return self._refusal
        self._seen = tuple(weakref.ref(cache) for cache in caches)
        self._refusal = _why_not(layer, caches)
        return self._refusal

    def forget(self) -> None:
        """Forgets the caches, so that the next ones are checked."""
        self._seen = ()


def _why_not(layer: Any, caches: tuple) -> str | None:
    if len(caches) not in (2, 3):
        return f"{len(caches)} caches in a layer"
    widths = [layer.kv_lora_rank, layer.qk_rope_head_dim, getattr(layer, "head_dim", None)]
    for cache, width in zip(caches, widths[: len(caches)], strict=True):
        if cache.dtype != layer.W_UV.dtype or cache.dim() != 4 or cache.shape[2:] != (1, width):
            return f"a cache of {list(cache.shape)} {cache.dtype}"
    return None
