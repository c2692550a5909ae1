"""Sparse attention (AscendSFAImpl): steps of up to 1,024 rows run the fused ops.

Sparse attention treats prefill and decode rows alike, and so do the ops.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Any

import torch

from .arguments import Prolog, ReadIndexer
from .family import MAX_TOKENS, Family, ReadStep, SharedStep, rows_refusal
from .regions import NOTHING
from .seams import Seam
from .watch import Watch

_SPARSE_COUNT = 2048  # rows that upstream's indexer chooses per token


@functools.cache
def _rows_of(device: torch.device) -> torch.Tensor:
    """The slots of temporary caches, [MAX_TOKENS]: token i has row i.

    Kept, as graphs that were captured with them read them in every replay.
    """
    return torch.arange(MAX_TOKENS, dtype=torch.int32, device=device)


class SparseAttention(Family):
    """Sparse attention; Family documents the methods."""

    name = "sfa"
    op = attrgetter("sfa_prolog.default")

    def __init__(self, seam: Seam) -> None:
        self.seam = seam
        self.layer_refusal = seam.sfa_refusal
        self.keep_weights = seam.keep_sfa_weights
        self.caches = seam.sparse_caches
        self.before_cache_write = seam.before_sfa_cache_write
        self.cache_written = seam.sfa_cache_written
        self.done = seam.sfa_done

    def indexer_reader(self, layer: Any) -> ReadIndexer:
        """The seam's reader; a layer without an indexer, as some releases have, gets no weights."""
        if self.seam.has_indexer(layer):
            return self.seam.read_indexer
        return lambda impl, watch: {"weights": ()}

    def step_refusal(self, metadata: Any, gather: bool, hidden_states: torch.Tensor) -> str | None:
        """Refuses padded steps, and those that every kind of attention refuses."""
        tokens = metadata.num_input_tokens
        if (refusal := rows_refusal(tokens, gather, self.seam)) is not None:
            return refusal
        rows = self.seam.padded_tokens() if gather else hidden_states.shape[0]
        fits = rows == tokens or (self.seam.trims_rows and rows > tokens)
        if fits and metadata.slot_mapping.shape[0] == tokens:
            return None
        return "steps whose rows and slots differ in number"

    def read_step(self, metadata: Any) -> ReadStep:
        """Reads all rows."""
        tokens, slots = metadata.num_input_tokens, metadata.slot_mapping
        return tokens, slots, metadata.cos, metadata.sin, metadata.seq_lens_cpu

    def passing_bytes(self, layer: Any, step: SharedStep, caches: tuple) -> int:
        """Counts the chosen rows of the latent and rope caches, and all keys of the indexer."""
        return sum(_bytes_read(step, caches))

    def beside_attention(
        self, layer: Any, step: SharedStep, caches: tuple
    ) -> AbstractContextManager[None]:
        """The context of the indexer and attention."""
        window = layer.fused_weights.windows.attention
        if window is None:
            return NOTHING
        moved = _bytes_read(step, caches)
        return window.beside(step.tokens, step.requests, step.cached, _SPARSE_COUNT, moved)

    def cache_rows(self, layer: Any) -> list[tuple[torch.dtype, int]]:
        """Latents and rope keys, which may be packed, and the indexer's keys, with their scales."""
        dtype, int8 = layer.W_UV.dtype, self.seam.int8_caches(layer)
        rows = [(dtype, layer.kv_lora_rank), (dtype, layer.qk_rope_head_dim)]
        if int8.latents:
            rows = [(torch.int8, layer.sfa_qsfa_packed_kv_head_dim)]
        if self.seam.has_indexer(layer):
            rows.append((torch.int8 if int8.keys else dtype, layer.head_dim))
            if int8.keys:
                rows.append((torch.float16, 1))
        return rows

    def cache_options(self, layer: Any, watch: Watch) -> dict[str, Any]:
        """Makes what temporary caches need before a graph is captured; there are no options."""
        if any(self.seam.int8_caches(layer)):
            _rows_of(layer.W_UV.device)
        return {}

    def written(self, layer: Any, prolog: Prolog, caches: tuple, step: SharedStep) -> tuple:
        """The caches of latents, of rope keys and of an indexer's keys.

        Where a layer has int8 ones they are temporary, with a row for every token of the step.
        """
        if not any(self.seam.int8_caches(layer)):
            return (step.slots, *(caches[:3] if prolog.indexer else caches[:2]))
        widths = [layer.kv_lora_rank, layer.qk_rope_head_dim]
        if prolog.indexer:
            widths.append(layer.head_dim)
        new = layer.W_UV.new_empty
        rows = (new(1, step.tokens, 1, width) for width in widths)
        return (_rows_of(layer.W_UV.device)[: step.tokens], *rows)

    def store(self, layer: Any, written: list, caches: tuple, metadata: Any) -> None:
        """Quantises the rows of temporary caches into those of the layer."""
        if any(self.seam.int8_caches(layer)):
            rows = [cache[0, :, 0] for cache in written]
            self.seam.store_rows(layer, rows, caches, metadata)

    def attention(
        self, layer: Any, queries: tuple[torch.Tensor, ...], caches: tuple, metadata: Any
    ) -> torch.Tensor:
        """[T, N, kv_lora], over the rows that this layer's or another layer's indexer chose."""
        q_nope, q_rope, _, _, index_q, index_weights = queries
        shares = self.seam.shares_indexers
        if shares and layer.skip_topk:
            chosen = layer._get_indexcache_topk_indices(q_nope.shape[0])
        else:
            weights = index_weights.to(q_nope.dtype)
            chosen = self.seam.select(layer, index_q, weights, caches, metadata)
            if shares and layer.use_index_cache:
                layer._update_indexcache_topk_indices(chosen)
        return self.seam.sparse_attention(layer, q_nope, q_rope, caches, chosen, metadata)

    def rows_written(self, output: torch.Tensor, tokens: int) -> torch.Tensor:
        """The rows that metadata describes, where upstream leaves the others as they are."""
        return output[:tokens] if self.seam.trims_rows and output.shape[0] > tokens else output

    def latent(self, layer: Any, attention: torch.Tensor, tokens: int) -> torch.Tensor | None:
        """The result unchanged, as [T, N, kv_lora]; None if it has another number of rows."""
        fits = attention.shape[0] == tokens
        return attention.view(tokens, layer.num_heads, layer.kv_lora_rank) if fits else None

    def upstream_o_proj(self, layer: Any, attention: torch.Tensor, output: torch.Tensor) -> None:
        """Applies W_UV, which attention() leaves out, before o_proj."""
        output[...] = layer.o_proj(layer._v_up_proj(attention))[0]


def _bytes_read(step: SharedStep, caches: tuple) -> tuple[int, int]:
    """What the indexer reads of its keys, and attention of the latent and rope caches."""
    widths = [cache.shape[-1] * cache.element_size() for cache in caches]
    attended = 1 if caches[0].dtype is torch.int8 else 2  # packed rows hold both
    chosen = min(step.tokens * _SPARSE_COUNT, step.cached or step.tokens * _SPARSE_COUNT)
    return step.cached * sum(widths[attended:]), chosen * sum(widths[:attended])
