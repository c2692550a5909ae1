"""Requests in the middle of their decoding: their caches, and attention over them in torch."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ascend_prefetch.lab import reference
from ascend_prefetch.lab.bench.common import DTYPES, BenchConfig
from ascend_prefetch.lab.bench.inputs import BLOCK_SIZE, PagedCache
from ascend_prefetch.lab.bench.prolog import PrologInputs
from ascend_prefetch.models import ModelDimensions


class CachedRequests(NamedTuple):
    """A batch of requests with one new token each.

    Attributes:
        dims: dimensions of the model.
        slots: [T, kv_len] int64, one row per request; the last slot of a row is the new token's.
        inputs: inputs of the prolog; all cache rows except the new ones hold random values.
        indexer_cache: the cache of the indexer's keys, filled alike; None without an indexer.
    """

    dims: ModelDimensions
    slots: torch.Tensor
    inputs: PrologInputs
    indexer_cache: PagedCache | None

    def attention(
        self,
        q_nope: torch.Tensor,
        q_rope: torch.Tensor,
        indexer_q: torch.Tensor | None = None,
        indexer_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attention of each new token over its request, in float64.

        Args:
            q_nope: [T, N, kv_lora], absorbed.
            q_rope: [T, N, rope].
            indexer_q: [T, Hi, Di] if the model has an indexer; only its top_k rows are then read.
            indexer_weights: [T, Hi], required with indexer_q.

        Returns:
            [T, N, kv_lora] in the dtype of q_nope.
        """
        caches = [self.inputs.kv_cache, self.inputs.rope_cache]
        outputs = []
        for token, slots in enumerate(self.slots):
            one = slice(token, token + 1)
            if indexer_q is not None and indexer_weights is not None:
                assert self.indexer_cache is not None and self.dims.indexer is not None
                selected = reference.select_top_k(
                    indexer_q[one],
                    indexer_weights[one],
                    reference.read_paged_cache(self.indexer_cache.tensor, slots),
                    self.dims.indexer.top_k,
                )
                slots = slots[selected[0]]
            latents, ropes = (reference.read_paged_cache(cache.tensor, slots) for cache in caches)
            scale = self.dims.qk_head_dim**-0.5
            output = reference.attention(
                q_nope[one], q_rope[one], latents, ropes, scale, causal=False
            )
            outputs.append(output.to(q_nope.dtype))
        return torch.cat(outputs)


def cached_requests(config: BenchConfig, dims: ModelDimensions, kv_len: int) -> CachedRequests:
    """Random requests; equal configurations give equal requests.

    Args:
        config: the configuration; its `tokens` is the number of requests.
        dims: dimensions of the model.
        kv_len: number of cached tokens of each request, the new one included.
    """
    generator = torch.Generator().manual_seed(config.seed + 1)
    dtype = DTYPES[config.dtype]
    blocks = -(-kv_len // BLOCK_SIZE)
    table = torch.randperm(config.tokens * blocks, generator=generator).view(-1, blocks, 1)
    slots = (table * BLOCK_SIZE + torch.arange(BLOCK_SIZE)).flatten(1)[:, :kv_len]
    new = slots[:, -1].contiguous()

    def cache(width: int) -> PagedCache:
        shape = (config.tokens * blocks, BLOCK_SIZE, 1, width)
        tensor = torch.randn(shape, generator=generator, dtype=torch.float32).to(dtype)
        # The new rows are an output of the prolog, so they are poisoned like all other outputs.
        tensor.flatten(0, 2)[new] = float("nan")
        return PagedCache(tensor, new, tensor.clone())

    hidden = torch.randn(config.tokens, dims.hidden_size, generator=generator)
    cos, sin = reference.rope_tables(
        torch.full((config.tokens,), kv_len - 1), dims.qk_rope_head_dim
    )
    inputs = PrologInputs(
        hidden_states=hidden.to(dtype),
        cos=cos,
        sin=sin,
        slot_mapping=new,
        kv_cache=cache(dims.kv_lora_rank),
        rope_cache=cache(dims.qk_rope_head_dim),
    )
    indexer_cache = cache(dims.indexer.head_dim) if dims.indexer is not None else None
    return CachedRequests(dims, slots, inputs, indexer_cache)
