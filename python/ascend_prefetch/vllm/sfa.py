"""Sparse attention (AscendSFAImpl): steps of up to 1,024 rows run the fused ops.

Sparse attention treats prefill and decode rows alike, so do the ops.
"""

from __future__ import annotations

from typing import Any

import torch

from .arguments import LayerArguments, ReadIndexer
from .fallback import attribute, say_once
from .layer import FusedLayer


class _Step:
    """See layer.Step."""

    __slots__ = ("cached", "cos", "key_cos", "sin", "slot_mapping", "tokens")

    def __init__(self, metadata: Any, captured_kv_len: int | None) -> None:
        self.slot_mapping = metadata.slot_mapping
        self.key_cos = metadata.cos
        self.tokens = tokens = metadata.num_input_tokens
        self.cos = metadata.cos.view(metadata.cos.shape[0], -1)[:tokens]
        self.sin = metadata.sin.view(metadata.sin.shape[0], -1)[:tokens]
        lengths = metadata.seq_lens_cpu
        on_host = isinstance(lengths, torch.Tensor) and lengths.device.type == "cpu"
        self.cached = 0
        if on_host and captured_kv_len is None:
            self.cached = int(lengths.sum())
        elif on_host:
            self.cached = lengths.numel() * captured_kv_len

    def holds(self, metadata: Any) -> bool:
        """See layer.Step."""
        return (
            self.slot_mapping is metadata.slot_mapping
            and self.key_cos is metadata.cos
            and self.tokens == metadata.num_input_tokens
        )


class FusedSFA(FusedLayer):
    """See FusedLayer."""

    family = "sfa"
    step_class = _Step

    def _indexer_reader(self) -> ReadIndexer:
        if not self.seam.shares_indexers or attribute(self, "has_indexer"):
            return self.seam.read_indexer
        return lambda impl, watch: {"weights": ()}

    def _caches(self, kv_cache: Any) -> tuple:
        return self.seam.sparse_caches(self, kv_cache)

    def _run(
        self,
        fused: LayerArguments,
        step: Any,
        layer_name: str,
        hidden_states: torch.Tensor,
        caches: tuple,
        metadata: Any,
        output: torch.Tensor,
    ) -> None:
        """sfa_prolog, upstream's top-k and attention, and o_proj."""
        seam = self.seam
        seam.before_sfa_cache_write(layer_name)
        prolog: Any = fused.prolog
        written = caches[:3] if prolog.indexer else caches[:2]
        q_nope, q_rope, _, _, index_q, index_weights = self.ops.sfa_prolog.default(
            hidden_states,
            *prolog.before,
            step.cos,
            step.sin,
            step.slot_mapping,
            *written,
            *prolog.indexer,
            **prolog.options,
            **self._prefetch_output(self._passing(step, caches)),
        )
        seam.sfa_cache_written(layer_name)
        shares = seam.shares_indexers
        if shares and self.skip_topk:
            chosen = self._get_indexcache_topk_indices(step.tokens)
        else:
            weights = index_weights.to(hidden_states.dtype)
            chosen = seam.select(self, index_q, weights, caches, metadata)
            if shares and self.use_index_cache:
                self._update_indexcache_topk_indices(chosen)
        attention = self._execute_sparse_flash_attention_process(
            q_nope,
            q_rope,
            caches,
            chosen,
            metadata,
            metadata.cum_query_lens,
            metadata.seq_lens,
        )
        if fused.output is None or attention.shape[0] != step.tokens:
            result = self.o_proj(self._v_up_proj(attention))[0]
        else:
            latent = attention.view(step.tokens, self.num_heads, self.kv_lora_rank)
            result = self._sum_over_ranks(self._product(latent, step.tokens, fused))
        output[...] = result

    def _takes(
        self, metadata: Any, gather: bool, hidden_states: torch.Tensor
    ) -> LayerArguments | None:
        tokens = metadata.num_input_tokens
        if not self._fits(tokens, gather):
            return None
        if hidden_states.shape[0] != tokens or metadata.slot_mapping.shape[0] != tokens:
            say_once("steps whose rows and slots differ in number")
            return None
        return self._ready()

    def _passing(self, step: _Step, caches: tuple) -> int:
        """Bytes that attention reads: chosen rows of the latent cache, all keys of the indexer."""
        itemsize = caches[0].element_size()
        row = (self.kv_lora_rank + self.qk_rope_head_dim) * itemsize
        keys = self.head_dim * itemsize if len(caches) > 2 else 0
        chosen = min(step.tokens * _SPARSE_COUNT, step.cached or step.tokens * _SPARSE_COUNT)
        return chosen * row + step.cached * keys


_SPARSE_COUNT = 2048  # rows that upstream's indexer chooses per token
