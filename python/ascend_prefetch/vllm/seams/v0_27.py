"""vLLM Ascend 0.27: no flash communication; the fence of cache transfers has moved."""

from __future__ import annotations

import functools

from vllm_ascend.attention.utils import notify_kv_cache_written
from vllm_ascend.distributed.kv_transfer.kv_pool.ascend_store.attention_fence import (
    record_attention_compute_start,
)

from . import c8, common
from .joint_indexer import *  # noqa: F403

flash_comm = None
gathers_rows = False
mla_refusal = functools.partial(common.mla_refusal, reasons=common.OUTPUT_GATE)
sfa_refusal = c8.refusal


def sfa_cache_written(layer_name: str) -> None:
    """After all caches of a sparse layer were written."""
    notify_kv_cache_written(layer_name)
    record_attention_compute_start()
