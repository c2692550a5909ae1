"""What differs between the kinds of attention: an object for dense and one for sparse attention."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from .arguments import Prolog, ReadIndexer
from .regions import NOTHING
from .seams import Seam
from .watch import Watch

# Steps with more rows go upstream: a decode step has fewer, and upstream's own fused ops have the
# same limit.
MAX_TOKENS = 1024
"""Rows of the largest step that runs fused."""

ReadStep = tuple[int, torch.Tensor, torch.Tensor, torch.Tensor, Any]
"""The contents of a step's metadata: T; slots [T or more]; cos and sin [T or more, ..., rope]; the
number of cached tokens of each request, as a list, a tensor or None."""


class SharedStep:
    """The values that all layers of a step share, made by the first layer.

    Attributes:
        tokens: number of rows, T.
        cos, sin: [T, rope].
        slots: [T], the slots of the rows in the caches.
        requests: number of requests; 0 where the host does not know it.
        cached: cached tokens of all requests together; 0 where the host does not know them.
        captured: whether a graph captures the step.
    """

    __slots__ = ("_read", "cached", "captured", "cos", "requests", "sin", "slots", "tokens")

    def __init__(self, read: ReadStep, captured_kv_len: int | None) -> None:
        """captured_kv_len: cached tokens to assume per request under graph capture, else None."""
        self._read = read
        self.captured = captured_kv_len is not None
        self.tokens, slots, cos, sin, lengths = read
        self.cos = cos.view(cos.shape[0], -1)[: self.tokens]
        self.sin = sin.view(sin.shape[0], -1)[: self.tokens]
        self.slots = slots[: self.tokens]
        is_tensor = isinstance(lengths, torch.Tensor)
        self.requests = 0 if lengths is None else len(lengths)
        if lengths is None or (is_tensor and lengths.device.type != "cpu"):
            self.cached = 0
        elif captured_kv_len is not None:  # under capture the lengths are dummies, so not read
            self.cached = len(lengths) * captured_kv_len
        else:
            self.cached = int(lengths.sum()) if is_tensor else sum(lengths)

    def holds(self, read: ReadStep) -> bool:
        """Whether it was made from these very objects: drafting changes metadata in place."""
        return all(map(operator.is_, self._read, read))


class Family(ABC):
    """A kind of attention in a release, in the order in which FusedLayer.forward calls it.

    `layer` is always upstream's object; `caches` are its caches of latents, of rope keys and, if it
    has an indexer, of the indexer's keys.

    Attributes:
        name: "mla" or "sfa".
        op: looks up the prolog op in torch.ops.ascend_prefetch.
        seam: the seam of the release.
        layer_refusal: why a layer goes upstream in every step, or None.
        keep_weights: keeps upstream from repacking or freeing the weights of a layer's prolog.
        caches: finds all caches of a layer in the argument kv_cache of upstream's forward.
        before_cache_write: waits until upstream's connectors let the caches be written, given the
            layer and its name.
        cache_written: tells upstream so, given the layer's name.
        done: tells upstream that output was written, given the layer's name and the argument
            kv_cache of forward.
    """

    name: str
    op: Callable[[Any], Callable[..., tuple[torch.Tensor, ...]]]
    seam: Seam
    layer_refusal: Callable[[Any], str | None]
    keep_weights: Callable[[Any], None]
    caches: Callable[[Any, Any], tuple]
    before_cache_write: Callable[[Any, str], None]
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
        """The values that the layers share, as the metadata holds them."""

    @abstractmethod
    def passing_bytes(self, layer: Any, step: SharedStep, caches: tuple) -> int:
        """Bytes of the caches that attention reads; they pass through L2 before o_proj is read."""

    def beside_attention(
        self, layer: Any, step: SharedStep, caches: tuple
    ) -> AbstractContextManager[None]:
        """The context of attention, in which a layer's next weights may be prefetched."""
        return NOTHING

    @abstractmethod
    def cache_rows(self, layer: Any) -> list[tuple[torch.dtype, int]]:
        """Type and width of the rows of each cache of a layer, in the order of `caches`."""

    def cache_options(self, layer: Any, watch: Watch) -> dict[str, Any]:
        """The prolog's options that a layer's caches call for, read when its weights are."""
        return {}

    @abstractmethod
    def written(self, layer: Any, prolog: Prolog, caches: tuple, step: SharedStep) -> tuple:
        """The slots and the caches that the prolog writes, in shapes that tell their layout."""

    def store(self, layer: Any, written: list, caches: tuple, metadata: Any) -> None:
        """Copies what the prolog wrote to the caches of the layer, where they are others.

        Args:
            layer: the layer.
            written: the caches that written() returned.
            caches: all caches of the layer.
            metadata: upstream's metadata of the step.
        """
        return

    @abstractmethod
    def attention(
        self, layer: Any, queries: tuple[torch.Tensor, ...], caches: tuple, metadata: Any
    ) -> torch.Tensor:
        """Upstream's attention for the queries that the prolog returned."""

    @abstractmethod
    def latent(self, layer: Any, attention: torch.Tensor, tokens: int) -> torch.Tensor | None:
        """The result of attention() as [T, N, kv_lora]; None if it has another number of rows."""

    def rows_written(self, output: torch.Tensor, tokens: int) -> torch.Tensor:
        """The rows of output that upstream writes and reduces in a step of `tokens` rows."""
        return output

    @abstractmethod
    def upstream_o_proj(self, layer: Any, attention: torch.Tensor, output: torch.Tensor) -> None:
        """Upstream's projection of the result of attention() into output [T or more, hidden]."""


def rows_refusal(tokens: int, gather: bool, seam: Seam) -> str | None:
    """Why a step goes upstream because of its rows, split over ranks or too many; or None."""
    if gather and seam.flash_comm is None:
        return "hidden states that are split over ranks (flash communication)"
    if not 0 < tokens <= MAX_TOKENS:
        return f"steps of more than {MAX_TOKENS} rows"
    return None
