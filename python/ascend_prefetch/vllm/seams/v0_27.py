"""vLLM Ascend 0.27: no flash communication; the fence of cache transfers has moved."""

from __future__ import annotations

import functools

from vllm_ascend.attention.utils import notify_kv_cache_written
from vllm_ascend.distributed.kv_transfer.kv_pool.ascend_store.attention_fence import (
    record_attention_compute_start,
)

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
flash_comm = None
gathers_rows = False
trims_rows = False
shares_indexers = True
mla_refusal = functools.partial(common.mla_refusal, reasons=common.OUTPUT_GATE)
int8_caches = c8.of_switches
store_rows = c8.store_by_method
sfa_refusal = c8.refusal


def sfa_cache_written(layer_name: str) -> None:
    """After all caches of a sparse layer were written."""
    notify_kv_cache_written(layer_name)
    record_attention_compute_start()
