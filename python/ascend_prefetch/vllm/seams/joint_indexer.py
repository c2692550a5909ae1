"""The seam that 0.26 and 0.27 start from; their modules hold what differs.

A layer has the weights of its indexer, wk and weights_proj as one, and the indexer has its cache.
"""

from __future__ import annotations

from vllm_ascend.attention.utils import notify_kv_cache_written

from . import c8, common, device_operator

forward_context = common.forward_context
windows = common.windows
all_reduce = common.all_reduce
capturing = common.capturing
padded_tokens = common.padded_tokens
decode = common.decode
sparse_attention = common.sparse_attention
sparse_caches = common.composed_caches
has_indexer = common.has_indexer
read_indexer = common.read_joint_indexer
before_mla_cache_write = common.nothing
mla_cache_written = notify_kv_cache_written
mla_done = sfa_done = common.save_caches
before_sfa_cache_write = common.before_cache_write
select = device_operator.select
keep_mla_weights = common.without_fused_prologs
keep_sfa_weights = common.without_fused_types
trims_rows = False
shares_indexers = True
int8_caches = c8.of_switches
store_rows = c8.store_by_method
