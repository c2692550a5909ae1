"""The paged caches of one layer, which replace a layer of transformers' DynamicCache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DynamicCache,
    DynamicIndexedLayer,
    DynamicLayer,
)

from .signatures import WRITTEN_FOR

BLOCK_SIZE = 128
"""Rows of a block; vLLM Ascend's default."""

_FOREIGN = (
    "cache: this cache was filled by a patched model, and only such a model can go on with it"
)


class PagedLatentLayer(CacheLayerMixin):
    """Rows of a layer's tokens in blocks, as the ops write them.

    Every sequence of the batch owns the same number of consecutive blocks, so that its rows are
    a view. When the blocks are full, they are copied to a cache of twice as many.
    """

    is_sliding = False
    is_croppable = True
    supports_early_init = False

    def __init__(self) -> None:
        super().__init__()
        self.is_initialized = False
        self._caches: dict[str, torch.Tensor] = {}
        self._batch = 0
        self._length = 0

    def reserve(
        self, batch: int, tokens: int, widths: Mapping[str, int], like: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Makes room for the next `tokens` rows of every sequence.

        Args:
            batch: number of sequences.
            tokens: number of new rows of each sequence.
            widths: elements per row, by the name of the cache.
            like: a tensor of the caches' dtype and device.

        Returns:
            The caches [blocks, BLOCK_SIZE, 1, width] by name, and the slots [batch * tokens] of
            the rows, sequence by sequence. The rows count towards the length once `extend` is
            called after they have been written.

        Raises:
            ValueError: the batch size differs from the cache's.
        """
        if not self.is_initialized:
            self._batch = batch
            self.is_initialized = True
        elif batch != self._batch:
            raise ValueError(f"cache: expected a batch of {self._batch} as before, got {batch}")
        self._grow(self._length + tokens, widths, like)
        positions = torch.arange(self._length, self._length + tokens, device=like.device)
        starts = torch.arange(batch, device=like.device) * self._capacity
        return self._caches, (starts.unsqueeze(1) + positions).flatten()

    def extend(self, tokens: int) -> None:
        """Counts rows that have been written."""
        self._length += tokens

    def rows(self, name: str) -> torch.Tensor:
        """[batch, length, width], a view."""
        cache = self._caches[name]
        return cache.view(self._batch, -1, cache.shape[-1])[:, : self._length]

    @property
    def _capacity(self) -> int:
        """The number of rows that each sequence has room for."""
        if not self._caches:
            return 0
        cache = next(iter(self._caches.values()))
        return cache.shape[0] // self._batch * BLOCK_SIZE

    def _grow(self, length: int, widths: Mapping[str, int], like: torch.Tensor) -> None:
        if length <= self._capacity:
            return
        blocks = -(-max(length, 2 * self._capacity) // BLOCK_SIZE)
        grown = {
            # Zeros, since attention multiplies unwritten rows by 0, and 0 * NaN would be NaN.
            name: like.new_zeros(self._batch * blocks, BLOCK_SIZE, 1, width)
            for name, width in widths.items()
        }
        for name in self._caches:
            rows = grown[name].view(self._batch, -1, widths[name])
            rows[:, : self._length] = self.rows(name)
        self._caches = grown

    def _select(self, select: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Replaces the sequences [batch, ...] of every cache by the result of `select`."""
        if not self._caches:
            return
        chosen = {
            name: select(cache.unflatten(0, (self._batch, -1)))
            for name, cache in self._caches.items()
        }
        self._batch = next(iter(chosen.values())).shape[0]
        self._caches = {name: cache.flatten(0, 1) for name, cache in chosen.items()}

    # The interface that transformers requires of a cache layer.

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise TypeError(_FOREIGN)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        raise TypeError(_FOREIGN)

    def update_indexer(self, indexer_key_states: torch.Tensor) -> torch.Tensor:
        raise TypeError(_FOREIGN)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._length + query_length, 0

    def get_seq_length(self) -> int:
        return self._length

    def get_max_length(self) -> int:
        return -1

    def offload(self) -> None:
        raise TypeError("cache: paged caches stay on their device")

    def prefetch(self) -> None:
        raise TypeError("cache: paged caches stay on their device")

    def reset(self) -> None:
        self._caches = {}
        self._batch = self._length = 0
        self.is_initialized = False

    def crop(self, tokens_to_remove: int) -> None:
        if tokens_to_remove > 0:
            # Old releases passed DynamicLayer the length to keep, a positive number.
            raise ValueError(
                f"crop: expected the negative of how many tokens to remove, got {tokens_to_remove}"
            )
        self._length = max(0, self._length + tokens_to_remove)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        self._select(lambda cache: cache.index_select(0, beam_idx.to(cache.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._select(lambda cache: cache.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._select(lambda cache: cache[indices])


# The methods that transformers calls on a layer, with the parameters for which they were written.
_METHODS = {
    "lazy_initialization": ("key_states", "value_states"),
    "update": ("key_states", "value_states", "args", "kwargs"),
    "update_indexer": ("indexer_key_states",),
    "get_mask_sizes": ("query_length",),
    "get_seq_length": (),
    "get_max_length": (),
    "offload": (),
    "prefetch": (),
    "reset": (),
    "crop": ("tokens_to_remove",),
    "reorder_cache": ("beam_idx",),
    "batch_repeat_interleave": ("repeats",),
    "batch_select_indices": ("indices",),
}
# Attributes that transformers reads of a layer, beside the methods.
_ATTRIBUTES = {"is_compileable", "is_croppable", "is_sliding", "supports_early_init"}
# Methods that only transformers' own dynamic layers call, on themselves.
_OWN = {"lazy_initialization_indexer"}


def check_cache_classes() -> None:
    """Refuses a release of transformers whose dynamic cache layers have other methods.

    A method that PagedLatentLayer does not define would fail when it is called at best; at worst it
    would be inherited and do the wrong thing.

    Raises:
        TypeError: names the method or attribute.
    """
    here = (
        f"transformers {transformers.__version__}; PagedLatentLayer was written for {WRITTEN_FOR}"
    )
    for layer in (CacheLayerMixin, DynamicLayer, DynamicIndexedLayer):
        for name, value in vars(layer).items():
            if name.startswith("_") or name in _OWN or name in _ATTRIBUTES:
                continue
            if name not in _METHODS or not inspect.isfunction(value):
                raise TypeError(f"{layer.__name__}: {name} is not known, {here}")
            parameters = tuple(inspect.signature(value).parameters)[1:]  # not self
            if parameters != _METHODS[name]:
                raise TypeError(
                    f"{layer.__name__}.{name}: expected ({', '.join(_METHODS[name])}), got "
                    f"({', '.join(parameters)}), {here}"
                )


def paged_layer(cache: Cache | None, layer_idx: int) -> PagedLatentLayer:
    """The paged layer of a DynamicCache; it replaces transformers' layer if that is still empty.

    Without a cache the result is a new layer that belongs to no cache.

    Raises:
        TypeError: the cache is of another class, or an unpatched model has filled it.
    """
    if cache is None:
        return PagedLatentLayer()
    if type(cache) is not DynamicCache or cache.offloading:  # other classes may lack offloading
        offloading = " with offloading" if type(cache) is DynamicCache else ""
        raise TypeError(
            "cache: expected a DynamicCache, which generate makes by default, got "
            f"{type(cache).__name__}{offloading}"
        )
    while len(cache.layers) <= layer_idx:
        cache.layers.append(PagedLatentLayer())
    layer: Any = cache.layers[layer_idx]
    if isinstance(layer, PagedLatentLayer):
        return layer
    if type(layer) not in (DynamicLayer, DynamicIndexedLayer) or layer.get_seq_length():
        raise TypeError(
            f"cache: expected an empty cache or one of a patched model, got layer "
            f"{layer_idx} of type {type(layer).__name__} with {layer.get_seq_length()} tokens"
        )
    cache.layers[layer_idx] = paged = PagedLatentLayer()
    return paged
