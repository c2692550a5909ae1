"""Seams: what differs between the releases of vLLM Ascend, one module each, chosen once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from ..caches import Int8Caches
from ..watch import Watch
from .releases import RELEASES, Release

__all__ = ["RELEASES", "FlashComm", "Release", "Seam", "WindowSeam", "known_versions"]


class WindowSeam(Protocol):
    """Upstream's collectives behind attention, and what their windows depend on."""

    def install(self) -> str | None:
        """Wraps the collectives, once; a line that says how upstream differs, or None."""

    def expert_ranks(self) -> int:
        """The ranks of expert parallelism."""

    def shared_experts_overlap(self) -> bool:
        """Whether shared experts run on a stream of their own beside dispatch and combine."""

    def running_model(self) -> Any:
        """The model of this step, or None."""


class FlashComm(Protocol):
    """The interface of seams/flash_comm.py."""

    def gather(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The rows of all ranks, from the share of each."""

    def scattered_rows(self) -> int:
        """Rows over which the sums of o_proj are scattered; 0 if they are not."""

    def scatters_in_product(self) -> bool:
        """Whether upstream has one op for o_proj and its communication."""

    def reduce_scatter(self, partial: torch.Tensor) -> torch.Tensor:
        """Sums over the ranks; each gets its share of the rows."""


class Seam(Protocol):
    """The interface of a seam module.

    Attributes:
        flash_comm: flash communication, which splits hidden states over the ranks; None for
            releases without it.
        windows: of its collectives.
        gathers_rows: whether forward has the argument need_gather_q_kv, which says that the rows of
            hidden_states are split over ranks.
        trims_rows: whether a sparse layer runs only the rows that metadata describes, and leaves
            those behind them as they are.
        shares_indexers: whether a layer may use the tokens that another layer's indexer selected,
            and has attributes that tell.
    """

    flash_comm: FlashComm | None
    windows: WindowSeam
    gathers_rows: bool
    trims_rows: bool
    shares_indexers: bool

    def mla_refusal(self, impl: Any) -> str | None:
        """Why a layer of dense attention goes upstream, or None."""

    def sfa_refusal(self, impl: Any) -> str | None:
        """Why a layer of sparse attention goes upstream, or None."""

    def keep_mla_weights(self, impl: Any) -> None:
        """Keeps upstream from repacking or freeing a dense layer's qkv_a and q_b.

        Called before upstream's process_weights_after_loading; upstream then runs the layer as if
        its own fused prologs were switched off.
        """

    def keep_sfa_weights(self, impl: Any) -> None:
        """Keeps upstream from repacking or freeing a sparse layer's qkv_a and q_b."""

    def forward_context(self) -> object:
        """vLLM's context of this step."""

    def all_reduce(self, partial: torch.Tensor) -> torch.Tensor:
        """Sums [T, hidden] over the tensor-parallel ranks."""

    def capturing(self) -> bool:
        """Whether a graph is being captured."""

    def padded_tokens(self) -> int:
        """Number of rows of this step on this rank, padding included."""

    def before_mla_cache_write(self, impl: Any, layer_name: str) -> None:
        """Called before the decode rows of a dense layer's cache are written."""

    def decode(
        self,
        impl: Any,
        q_nope: torch.Tensor,
        q_rope: torch.Tensor,
        latent: torch.Tensor,
        rope: torch.Tensor,
        metadata: Any,
        q_scale: torch.Tensor | None,
    ) -> torch.Tensor:
        """Dense attention of decode rows, [T, N, kv_lora] and [T, N, rope], then W_UV.

        q_scale: scales of int8 q_nope, [T, N, 1]; None if it is not quantised.
        """

    def mla_cache_written(self, layer_name: str) -> None:
        """Called after the decode rows of a dense layer's cache were written."""

    def mla_done(self, layer_name: str, kv_cache: tuple) -> None:
        """Called after a dense layer's output was written."""

    def has_indexer(self, impl: Any) -> bool:
        """Whether a sparse layer runs an indexer of its own, whose cache it writes."""

    def before_sfa_cache_write(self, impl: Any, layer_name: str) -> None:
        """Called before a sparse layer's cache is written."""

    def sfa_cache_written(self, layer_name: str) -> None:
        """Called after all caches of a sparse layer were written."""

    def sfa_done(self, layer_name: str, kv_cache: tuple) -> None:
        """Called after a sparse layer's output was written."""

    def sparse_caches(self, impl: Any, kv_cache: tuple) -> tuple:
        """The caches (latent, rope, indexer) of a sparse layer; (latent, rope) without indexer."""

    def int8_caches(self, impl: Any) -> Int8Caches:
        """Which caches of a sparse layer are int8."""

    def store_rows(
        self, impl: Any, rows: Sequence[torch.Tensor], caches: tuple, metadata: Any
    ) -> None:
        """Quantises a step's rows and writes them to a sparse layer's int8 caches.

        Args:
            impl: AscendSFAImpl.
            rows: latents [T, kv_lora], rope keys [T, rope] and, with an indexer, its keys [T, Di].
            caches: all caches of the layer.
            metadata: upstream's metadata of the step.
        """

    def read_indexer(self, impl: Any, watch: Watch) -> dict[str, Any]:
        """The indexer's arguments of sfa_prolog: see arguments.indexer_arguments."""

    def select(
        self,
        impl: Any,
        q: torch.Tensor,
        weights: torch.Tensor,
        kv_cache: tuple,
        metadata: Any,
    ) -> torch.Tensor:
        """Top-k indices from an indexer's queries [T, Hi, Di] and weights [T, Hi]."""

    def sparse_attention(
        self,
        impl: Any,
        q_nope: torch.Tensor,
        q_rope: torch.Tensor,
        kv_cache: tuple,
        chosen: torch.Tensor,
        metadata: Any,
    ) -> torch.Tensor:
        """Attention of all rows over the chosen tokens, [T, N, kv_lora]."""


def known_versions() -> tuple[str, ...]:
    """Releases of vLLM Ascend that have a seam, as major and minor."""
    return tuple(RELEASES)
