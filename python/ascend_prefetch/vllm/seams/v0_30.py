"""vLLM Ascend 0.30: sparse layers leave padding behind a step alone; more packed caches."""

from __future__ import annotations

import functools

from . import common, indexer_module, v0_29

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
trims_rows = True
shares_indexers = True
sparse_attention = v0_29.sparse_attention
mla_cache_written = v0_29.mla_cache_written
sfa_cache_written = v0_29.sfa_cache_written
select = functools.partial(indexer_module.select, others=(False,))
sfa_refusal = functools.partial(
    indexer_module.sfa_refusal,
    reasons=indexer_module.SFA_REASONS
    | {"enable_sparse_sfa_turboquant": "packed int4 caches of sparse attention"},
    indexer_reasons={"enable_sparse_li_c4": "fp4 caches of the indexer"},
    cache_dtype="c8_cache_dtype",
)
