"""The forward that a patched attention module runs in place of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache

from ascend_prefetch import ops
from ascend_prefetch.models import IndexerWeights, MlaWeights

from .cache import PagedLatentLayer, paged_layer
from .families import Family
from .latent_attention import attend, check_mask, explicit_mask, select_top_k, sparse_mask
from .rope import query_factors, rope_tables
from .signatures import refuse_arguments
from .weights import AttentionModule, AttentionWeights

ATTENTIONS = ("eager", "sdpa")
"""The attention implementations whose masks the patched forward reads."""


class OpAttention:
    """The forward of an attention module: prolog op, attention in the latent space, o_proj op.

    Prefill and decode take the same path. The latent and rope rows of a token are one row of a
    paged cache. The prolog prefetches the o_proj weight, and o_proj the next layer's qkv_a; the
    planner decides how much.

    Args:
        module: the attention module.
        behind: the modules that run between this attention and the next one.
        parts: the parts that the module may have, from parts_of.
        family: the family of its model.
    """

    def __init__(
        self,
        module: AttentionModule,
        behind: Sequence[nn.Module],
        parts: Mapping[str, type],
        family: Family,
    ) -> None:
        self.module = module
        self.weights = AttentionWeights(module, parts)
        self.next: OpAttention | None = None
        self._behind = behind
        self._family = family
        self._rope_interleaved = family.interleaved(module.config)
        self._indexer_rope_interleaved = family.indexer_interleaved(module.config)
        self._shares_selections = family.shares_selections

    def __call__(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
        prev_topk_indices: torch.Tensor | None = None,
        **others: Any,
    ) -> tuple:
        """Takes and returns what the module's forward does; the attention weights are None.

        Args:
            hidden_states: [B, S, hidden].
            position_embeddings: see rope.rope_tables.
            attention_mask: see latent_attention.
            position_ids: [B, S] or [1, S]; read if the family scales queries by their position.
            past_key_values: the cache, as releases up to 5.23 name it.
            cache: the cache, as releases from 5.24 on name it.
            prev_topk_indices: [B, S, k], the selection of an earlier layer.
            others: arguments without effect, see signatures.WITHOUT_EFFECT.

        Raises:
            RuntimeError: gradients or dropout are requested, or an op refuses its arguments.
            TypeError: an argument is unknown or missing, output_attentions is set, the activations
                or an autocast have another dtype than the weights, or a cache, mask, rope's
                tables, an attention implementation or a part of the module are not supported.
            ValueError: there are no sequences or tokens, a layer without an indexer gets no
                selection, or a tensor of the module is of a kind that is not supported.
        """
        module = self.module
        self._refuse(hidden_states, others)
        if past_key_values is not None and cache is not None:
            raise TypeError(f"{self._where}: got both past_key_values and cache")
        if prev_topk_indices is not None and not self._shares_selections:
            raise TypeError(f"{self._where}: got prev_topk_indices, of which its model has none")
        if self._shares_selections and module.indexer is None and prev_topk_indices is None:
            raise ValueError(f"{self._where}: expected the selection of a layer with an indexer")
        weights, indexer = self.weights.packed()
        self._check_input(hidden_states, weights.kv_a_norm.dtype)
        batch, tokens, _ = hidden_states.shape
        cos, sin = self.tables(position_embeddings, hidden_states)
        layer = paged_layer(cache if cache is not None else past_key_values, module.layer_idx)
        # Checked before the caches are written, so that a refused call leaves them unchanged.
        check_mask(attention_mask, batch, tokens, layer.get_seq_length() + tokens)
        query, index = self._prolog(hidden_states, cos, sin, layer, weights, indexer)
        query = self.scaled(query, position_ids)
        rows = layer.rows("kv_cache")
        mask = explicit_mask(attention_mask, tokens, rows)
        selection = prev_topk_indices
        if index is not None:
            keys = layer.rows("indexer_cache")
            selection = select_top_k(*index, keys, mask, module.indexer.index_topk)
        if selection is not None:
            mask = sparse_mask(mask, selection, rows.shape[1])
        latent = attend(query, rows, mask, module.scaling)[..., : module.kv_lora_rank]
        output = self._o_proj(latent.flatten(0, 1), weights).view(hidden_states.shape)
        return (output, None, selection) if self._shares_selections else (output, None)

    @property
    def _where(self) -> str:
        return f"layer {self.module.layer_idx}"

    def _refuse(self, hidden_states: torch.Tensor, others: Mapping[str, Any]) -> None:
        """Refuses a call that asks for something that the ops do not support."""
        module = self.module
        refuse_arguments(self._where, others)
        if module.config.output_attentions:
            refuse_arguments(self._where, {"output_attentions": True})
        if module.config._attn_implementation not in ATTENTIONS:
            raise TypeError(
                f"{self._where}: expected attention implementation {' or '.join(ATTENTIONS)}, got "
                f"{module.config._attn_implementation}"
            )
        if torch.is_grad_enabled() and (
            hidden_states.requires_grad or any(p.requires_grad for p in module.parameters())
        ):
            raise RuntimeError(
                "a patched model computes no gradients: call it under torch.no_grad(), or unpatch "
                "it first"
            )
        if module.training and module.attention_dropout > 0:
            raise RuntimeError(
                f"{self._where}: expected no dropout of attention, got {module.attention_dropout} "
                "in training mode: call model.eval()"
            )

    def _check_input(self, hidden_states: torch.Tensor, dtype: torch.dtype) -> None:
        """Refuses activations that are empty, of another dtype, or converted by autocast."""
        batch, tokens, _ = hidden_states.shape
        if batch == 0 or tokens == 0:
            raise ValueError(
                f"{self._where}: expected at least one sequence of at least one token, got a batch "
                f"of {batch} with {tokens} tokens"
            )
        device = hidden_states.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) != dtype:
            raise TypeError(
                f"{self._where}: expected torch.autocast to {dtype}, which its weights have, or "
                f"none, got one to {torch.get_autocast_dtype(device)}"
            )
        if hidden_states.dtype != dtype:
            raise TypeError(
                f"{self._where}: expected hidden_states of {dtype}, which its weights have, got "
                f"{hidden_states.dtype}"
            )

    def _prolog(
        self,
        hidden_states: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        layer: PagedLatentLayer,
        weights: MlaWeights,
        indexer: IndexerWeights | None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
        """Writes the caches and returns the queries and the indexer's results.

        Returns:
            [B, S, N, kv_lora + rope]; and the indexer's queries [B, S, heads, D] and head weights
            [B, S, heads], or None.
        """
        batch, tokens, _ = hidden_states.shape
        widths = {"kv_cache": self.module.kv_lora_rank + self.module.qk_rope_head_dim}
        if indexer is not None:
            widths["indexer_cache"] = indexer.k_norm.numel()
        caches, slots = layer.reserve(batch, tokens, widths, like=hidden_states)
        passing = None
        if not torch.compiler.is_compiling():  # a graph would be retraced for every length
            # The bytes that attention reads between this op and o_proj.
            length = layer.get_seq_length() + tokens
            passing = batch * length * sum(widths.values()) * hidden_states.element_size()
        flat = hidden_states.flatten(0, 1).contiguous()
        calls = [
            self.prolog_op(
                flat[step], cos[step], sin[step], slots[step], caches, weights, indexer, passing
            )
            for step in _steps(batch * tokens)
        ]
        layer.extend(tokens)

        def joined(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return torch.cat(parts).unflatten(0, (batch, tokens))

        q_nope, q_rope, _, _, *index = zip(*calls, strict=True)
        query = torch.cat([joined(q_nope), joined(q_rope)], dim=-1)
        added: Any = tuple(map(joined, index)) if index else None
        return query, added

    def tables(
        self, position_embeddings: Any, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines as prolog_op takes them, see rope.rope_tables."""
        return rope_tables(self._where, self._family, position_embeddings, hidden_states)

    def scaled(self, query: torch.Tensor, position_ids: torch.Tensor | None) -> torch.Tensor:
        """Queries [B, S, N, D] times the factors of their positions, if the family has such."""
        if not self._family.scales_queries:
            return query
        factors = query_factors(self._where, position_ids, self.module.config, query.dtype)
        return query * factors

    def prolog_op(
        self,
        hidden_states: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        slots: torch.Tensor,
        caches: dict[str, torch.Tensor],
        weights: MlaWeights,
        indexer: IndexerWeights | None,
        passing_bytes: int | None,
    ) -> Sequence[torch.Tensor]:
        """One call of mla_prolog, or of sfa_prolog for a layer with an indexer."""
        norm = self.module.kv_a_layernorm
        arguments: dict[str, Any] = {
            **weights.prolog_arguments(),
            "hidden_states": hidden_states,
            "cos": cos,
            "sin": sin,
            "slot_mapping": slots,
            "kv_cache": caches["kv_cache"],
            "rope_cache": None,
            "eps": norm.variance_epsilon,
            "rope_interleaved": self._rope_interleaved,
            "prefetch": [weights.o_proj],
            "prefetch_passing_bytes": None if passing_bytes is None else [passing_bytes],
        }
        if indexer is None:
            return ops.mla_prolog(**arguments)
        return ops.sfa_prolog(
            **arguments,
            **indexer.arguments(),
            indexer_cache=caches["indexer_cache"],
            indexer_rope_interleaved=self._indexer_rope_interleaved,
            indexer_eps=self.module.indexer.k_norm.eps,
        )

    def _o_proj(self, latent: torch.Tensor, weights: MlaWeights) -> torch.Tensor:
        """[B * S, hidden] of latents [B * S, N, kv_lora]."""
        parts = [self.o_proj_op(latent[step], weights) for step in _steps(len(latent))]
        return torch.cat(parts)

    def o_proj_op(self, latent: torch.Tensor, weights: MlaWeights) -> torch.Tensor:
        """One call of o_proj."""
        prefetch: dict[str, Any] = {}
        if self.next is not None:
            # An upper bound: of the experts' weights the MLP reads only the chosen ones.
            passing = sum(p.nbytes for module in self._behind for p in module.parameters())
            prefetch = {
                "prefetch": [self.next.weights.packed()[0].qkv_a],
                "prefetch_passing_bytes": [passing],
            }
        return ops.o_proj(latent.contiguous(), **weights.o_proj_arguments(), **prefetch)


def _steps(tokens: int) -> list[slice]:
    """Slices of the tokens, one for each call of an op."""
    if tokens <= ops.MAX_TOKENS:
        return [slice(None)]  # torch.compile would retrace a range for every number of tokens
    return [slice(start, start + ops.MAX_TOKENS) for start in range(0, tokens, ops.MAX_TOKENS)]
