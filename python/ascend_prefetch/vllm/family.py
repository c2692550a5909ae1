"""What differs between the kinds of attention: an object for dense and one for sparse attention."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch

from .arguments import Prolog, ReadIndexer
from .seams import Seam

# Rows beyond which a step goes upstream: a decode step has not so many, and upstream's own fused
# ops stop there as well.
_MOST_TOKENS = 1024

ReadStep = tuple[int, torch.Tensor, torch.Tensor, torch.Tensor, Any]
"""What a step's metadata has: T; slots [T or more]; cos and sin [T or more, ..., rope]; the cached
tokens of each request as a list, a tensor or None."""


class SharedStep:
    """What the layers of a step share, made by the first of them.

    Attributes:
        tokens: rows, T.
        cos, sin: [T, rope].
        slots: [T], of the rows in the caches.
        cached: tokens in the caches of all requests; 0 where the host does not know.
    """

    __slots__ = ("_read", "cached", "cos", "sin", "slots", "tokens")

    def __init__(self, read: ReadStep, captured_kv_len: int | None) -> None:
        """captured_kv_len: cached tokens of a request while a graph is captured, else None."""
        self._read = read
        self.tokens, slots, cos, sin, lengths = read
        self.cos = cos.view(cos.shape[0], -1)[: self.tokens]
        self.sin = sin.view(sin.shape[0], -1)[: self.tokens]
        self.slots = slots[: self.tokens]
        is_tensor = isinstance(lengths, torch.Tensor)
        if lengths is None or (is_tensor and lengths.device.type != "cpu"):
            self.cached = 0
        elif captured_kv_len is not None:  # values under capture mean nothing, and are not read
            self.cached = len(lengths) * captured_kv_len
        else:
            self.cached = int(lengths.sum()) if is_tensor else sum(lengths)

    def holds(self, read: ReadStep) -> bool:
        """Whether that is what it was made of: drafting changes metadata in place."""
        return all(map(operator.is_, self._read, read))


class Family(ABC):
    """A kind of attention in a release; FusedLayer.forward asks it, from top to bottom.

    `layer` is upstream's object throughout, `caches` are its latents, rope keys and, with an
    indexer, that one's keys.

    Attributes:
        name: "mla" or "sfa".
        op: finds the prolog among torch.ops.ascend_prefetch.
        seam: of the release.
        layer_refusal: why a layer goes upstream in every step, or None.
        caches: all caches of a layer, of what upstream hands to its forward.
        before_cache_write, cache_written: tell upstream, by the layer's name.
        done: tells upstream that output was written, by the layer's name and what forward was given
            as caches.
    """

    name: str
    op: Callable[[Any], Callable[..., tuple[torch.Tensor, ...]]]
    seam: Seam
    layer_refusal: Callable[[Any], str | None]
    caches: Callable[[Any, Any], tuple]
    before_cache_write: Callable[[str], None]
    cache_written: Callable[[str], None]
    done: Callable[[str, tuple], None]

    def indexer_reader(self, layer: Any) -> ReadIndexer | None:
        """Reads the arguments of a layer's indexer; None for dense attention."""
        return None

    @abstractmethod
    def step_refusal(self, metadata: Any, gather: bool, hidden_states: torch.Tensor) -> str | None:
        """Why a step goes upstream, or None."""

    @abstractmethod
    def read_step(self, metadata: Any) -> ReadStep:
        """What the layers share, as the metadata has it."""

    @abstractmethod
    def passing_bytes(self, layer: Any, step: SharedStep, caches: tuple) -> int:
        """Bytes of the caches that attention reads: they pass through L2 before o_proj is used."""

    @abstractmethod
    def written(self, layer: Any, prolog: Prolog, caches: tuple) -> tuple:
        """The caches that the prolog writes, in the shapes that tell it their layout."""

    @abstractmethod
    def attention(
        self, layer: Any, queries: tuple[torch.Tensor, ...], caches: tuple, metadata: Any
    ) -> torch.Tensor:
        """Upstream's attention to what the prolog returned."""

    @abstractmethod
    def latent(self, layer: Any, attention: torch.Tensor, tokens: int) -> torch.Tensor | None:
        """The result of attention() as [T, N, kv_lora]; None if it has another number of rows."""

    @abstractmethod
    def upstream_o_proj(self, layer: Any, attention: torch.Tensor, output: torch.Tensor) -> None:
        """Upstream's way from the result of attention() to output [T or more, hidden]."""


def rows_refusal(tokens: int, gather: bool) -> str | None:
    """Why a step goes upstream for its rows: they are split over ranks, or too many."""
    if gather:
        return "hidden states that are split over ranks (flash communication)"
    if not 0 < tokens <= _MOST_TOKENS:
        return f"steps of more than {_MOST_TOKENS} rows"
    return None
