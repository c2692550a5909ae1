"""vLLM Ascend 0.26: the indexer owns its cache; layers may have output gates or no rope."""

from __future__ import annotations

import functools
from typing import Any

from vllm_ascend.attention.utils import notify_kv_cache_written
from vllm_ascend.memcache_comm_fence import record_attention_compute_start

from . import c8, common
from . import flash_comm as flash_communication
from .joint_indexer import *  # noqa: F403

flash_comm = flash_communication
gathers_rows = True
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
