"""vLLM Ascend 0.28: the indexer is a module of its own; layers wait for caches sent by layer."""

from __future__ import annotations

from vllm_ascend.attention.utils import notify_kv_cache_written

from . import common, indexer_module, v0_27

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
sparse_attention = common.sparse_attention
mla_cache_written = notify_kv_cache_written
sfa_cache_written = v0_27.sfa_cache_written
