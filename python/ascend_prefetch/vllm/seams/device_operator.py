"""Top-k selection for releases whose DeviceOperator has the indexer's kernel."""

from __future__ import annotations

from typing import Any

import torch
from vllm_ascend.device.device_op import DeviceOperator

from . import c8


def select(
    impl: Any, q: torch.Tensor, weights: torch.Tensor, kv_cache: tuple, metadata: Any
) -> torch.Tensor:
    """Top-k indices from an indexer's queries [T, Hi, Di] and weights [T, Hi]."""
    quantised, scale, shape = q, None, None
    if impl.enable_sparse_li_c8:
        shape = q.shape
        quantised, scale = c8.quantise(q, impl.q_hadamard, impl)
    return DeviceOperator.indexer_select_post_process(
        impl,
        quantised,
        scale,
        shape,
        weights,
        kv_cache,
        metadata,
        metadata.cum_query_lens,
        metadata.seq_lens,
        impl.enable_sparse_li_c8,
        impl.use_torch_npu_lightning_indexer,
    )
