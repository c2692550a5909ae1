"""vLLM Ascend 0.23: wk and weights_proj are one weight; DeviceOperator selects top-k."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
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
sparse_caches = common.split_caches
has_indexer = common.has_indexer
read_indexer = common.read_joint_indexer
before_mla_cache_write = sfa_cache_written = common.nothing
mla_cache_written = notify_kv_cache_written
mla_done = sfa_done = common.save_caches
before_sfa_cache_write = common.before_cache_write
keep_mla_weights = common.without_fused_prologs
keep_sfa_weights = functools.partial(
    common.without_fused_prologs, switches=("enable_mlapo", "enable_sfa_prolog_v3")
)
flash_comm = flash_communication
gathers_rows = True
trims_rows = False
shares_indexers = True
mla_refusal = functools.partial(common.dense_refusal, reasons=common.SHARDED)
int8_caches = c8.of_switches
_SFA_REASONS = common.CONTEXT_PARALLEL | common.PRODUCER


def sfa_refusal(impl: Any) -> str | None:
    """Why a layer of sparse attention goes upstream, or None."""
    return common.first_true(impl, _SFA_REASONS) or c8.refusal(impl)


def store_rows(impl: Any, rows: Sequence[torch.Tensor], caches: tuple, metadata: Any) -> None:
    """Quantises a step's rows and writes them to a sparse layer's int8 caches."""
    int8, by_runs = c8.of_switches(impl), metadata.group_len is not None
    # This release asks the quantiser of latents for int8 by the number of its type.
    c8.store(impl, int8, rows, caches, metadata, by_runs=by_runs, dst_type=1)


def select(
    impl: Any, q: torch.Tensor, weights: torch.Tensor, kv_cache: tuple, metadata: Any
) -> torch.Tensor:
    """Top-k indices from an indexer's queries [T, Hi, Di] and weights [T, Hi]."""
    record_attention_compute_start()
    return device_operator.select(impl, q, weights, kv_cache, metadata)
