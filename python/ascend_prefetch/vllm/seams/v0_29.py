"""vLLM Ascend 0.29: cache transfers are told when sparse attention begins and ends."""

from __future__ import annotations

from typing import Any

import torch
from vllm_ascend.distributed.kv_transfer.kv_pool.ascend_store.attention_fence import (
    attention_transfer_window,
)

from . import common
from .indexer_module import *  # noqa: F403


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
