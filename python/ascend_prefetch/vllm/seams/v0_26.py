"""vLLM Ascend 0.26: the indexer owns its cache; layers may have output gates or no rope."""

from __future__ import annotations

import functools
from typing import Any

from vllm_ascend.attention.utils import notify_kv_cache_written
from vllm_ascend.memcache_comm_fence import record_attention_compute_start

from . import c8, common, device_operator
from . import flash_comm as flash_communication

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
flash_comm = flash_communication
gathers_rows = True
trims_rows = False
shares_indexers = True
int8_caches = c8.of_switches
store_rows = c8.store_by_method
mla_refusal = functools.partial(
    common.mla_refusal,
    reasons={
        **common.OUTPUT_GATE,
        "enable_mla_fia_split": "split attention (VLLM_ASCEND_MLA_FIA_SPLIT)",
    },
)


def sfa_refusal(impl: Any) -> str | None:
    """Why a layer of sparse attention goes upstream, or None."""
    return common.first_true(impl, common.CONTEXT_PARALLEL) or c8.refusal(impl)


def sfa_cache_written(layer_name: str) -> None:
    """After all caches of a sparse layer were written."""
    notify_kv_cache_written(layer_name)
    record_attention_compute_start()
