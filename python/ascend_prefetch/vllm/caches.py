"""The formats of a layer's caches, and whether the ops can write those that it is given."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch

from .switch import holders


class Int8Caches(NamedTuple):
    """Which caches of a layer are int8.

    Attributes:
        latents: whether the rows of latents and rope keys are packed.
        keys: whether the indexer's keys are int8, with a cache of scales behind theirs.
    """

    latents: bool
    keys: bool


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
    rows = layer.family.cache_rows(layer)
    if len(caches) != len(rows):
        return f"{len(caches)} caches in a layer"
    for cache, (dtype, width) in zip(caches, rows, strict=True):
        if cache.dtype != dtype or cache.dim() != 4 or cache.shape[2:] != (1, width):
            return f"a cache of {list(cache.shape)} {cache.dtype}"
    return None
