"""vLLM Ascend 0.26: the indexer owns its cache; layers may have output gates or no rope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from vllm_ascend.attention.utils import (
    notify_kv_cache_written,
    wait_for_kv_layer_from_connector,
)
from vllm_ascend.memcache_comm_fence import record_attention_compute_start

from ..fallback import attribute
from . import c8, common, device_operator
from . import flash_comm as flash_communication

forward_context = common.forward_context
windows = common.windows
all_reduce = common.all_reduce
capturing = common.capturing
padded_tokens = common.padded_tokens
read_indexer = common.read_joint_indexer
mla_cache_written = notify_kv_cache_written
mla_done = sfa_done = common.save_caches
before_sfa_cache_write = wait_for_kv_layer_from_connector
select = device_operator.select
keep_mla_weights = common.without_fused_prologs
flash_comm = flash_communication
shares_indexers = True

_MLA_REASONS = {
    "use_output_gate": "gates on the attention's output",
    "enable_mla_fia_split": "split attention (VLLM_ASCEND_MLA_FIA_SPLIT)",
}
int8_caches = c8.of_switches


def sfa_refusal(impl: Any) -> str | None:
    """Why a layer of sparse attention goes upstream, or None."""
    return common.first_true(impl, common.CONTEXT_PARALLEL) or c8.refusal(impl)


def mla_refusal(impl: Any) -> str | None:
    """Why a layer of dense attention goes upstream, or None."""
    if not attribute(impl, "use_mla_rope"):
        return "attention without rope"
    return common.dense_refusal(impl, _MLA_REASONS)


def keep_sfa_weights(impl: Any) -> None:
    """Gives a sparse layer a reason against each of upstream's fused prologs (PreprocessType)."""
    common.without_fused_prologs(impl)
    refuse = "_get_fused_type_unsupported_reasons"
    attribute(impl, refuse)
    setattr(impl, refuse, lambda pp_type: [f"ascend_prefetch runs the prolog, not {pp_type}"])


def sparse_caches(impl: Any, kv_cache: tuple) -> tuple:
    """The caches (latent, rope, indexer) of a sparse layer; (latent, rope) without an indexer."""
    return impl._compose_sfa_kv_cache(kv_cache)


def store_rows(impl: Any, rows: Sequence[torch.Tensor], caches: tuple, metadata: Any) -> None:
    """Quantises a step's rows and writes them to a sparse layer's int8 caches."""
    by_runs = impl._use_li_c8_reshape_optim()
    c8.store(impl, c8.of_switches(impl), rows, caches, metadata, by_runs=by_runs)


def sfa_cache_written(layer_name: str) -> None:
    """After all caches of a sparse layer were written."""
    notify_kv_cache_written(layer_name)
    record_attention_compute_start()
