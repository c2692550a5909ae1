"""vLLM Ascend 0.29: cache transfers are told when sparse attention begins and ends."""

from __future__ import annotations

from typing import Any

import torch
from vllm_ascend.attention.utils import notify_kv_cache_written
from vllm_ascend.distributed.kv_transfer.kv_pool.ascend_store.attention_fence import (
    attention_transfer_window,
)

from . import common, indexer_module

forward_context = common.forward_context
windows = common.windows
all_reduce = common.all_reduce
capturing = common.capturing
padded_tokens = common.padded_tokens
decode = indexer_module.decode
sparse_caches = common.composed_caches
has_indexer = indexer_module.has_indexer
read_indexer = indexer_module.read_indexer
before_mla_cache_write = indexer_module.before_mla_cache_write
before_sfa_cache_write = indexer_module.before_sfa_cache_write
mla_refusal = indexer_module.mla_refusal
mla_done = sfa_done = common.save_caches
keep_mla_weights = common.without_fused_prologs
keep_sfa_weights = common.without_fused_types
int8_caches = indexer_module.int8_caches
store_rows = indexer_module.store_rows
flash_comm = None
gathers_rows = False
trims_rows = False
shares_indexers = True
select = indexer_module.select
sfa_refusal = indexer_module.sfa_refusal
mla_cache_written = sfa_cache_written = notify_kv_cache_written


def sparse_attention(
    impl: Any,
    q_nope: torch.Tensor,
    q_rope: torch.Tensor,
    kv_cache: tuple,
    chosen: torch.Tensor,
    metadata: Any,
) -> torch.Tensor:
    """Sparse attention over the chosen tokens; see Seam.sparse_attention."""
    with attention_transfer_window():
        return common.sparse_attention(impl, q_nope, q_rope, kv_cache, chosen, metadata)
