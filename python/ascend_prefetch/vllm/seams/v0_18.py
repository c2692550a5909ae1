"""vLLM Ascend 0.18: wk and weights_proj are two weights; the indexer's method selects top-k."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch_npu
from vllm_ascend.attention.utils import wait_for_kv_layer_from_connector

from ..arguments import indexer_arguments
from ..linears import read_linear
from ..watch import Watch
from . import common
from . import flash_comm as flash_communication

forward_context = common.forward_context
windows = common.windows
all_reduce = common.all_reduce
capturing = common.capturing
padded_tokens = common.padded_tokens
sparse_caches = common.split_caches
mla_cache_written = sfa_cache_written = mla_done = common.nothing
sfa_done = common.save_caches
before_sfa_cache_write = wait_for_kv_layer_from_connector
keep_mla_weights = keep_sfa_weights = common.without_fused_prologs
flash_comm = flash_communication
shares_indexers = False
mla_refusal = functools.partial(
    common.first_true, reasons=common.FA_QUANT | common.SHARDED | common.PRODUCER
)
sfa_refusal = functools.partial(
    common.first_true,
    reasons=common.CONTEXT_PARALLEL
    | {"use_sparse_c8_indexer": "int8 caches of the indexer"}
    | common.PRODUCER,
)


def read_indexer(impl: Any, watch: Watch) -> dict[str, Any]:
    """The indexer's arguments of sfa_prolog."""
    wk = read_linear("the indexer's wk", impl.wk, watch)
    weights_proj = read_linear("the indexer's weights_proj", impl.weights_proj, watch)
    return indexer_arguments(impl, watch, wk, weights_proj)


def select(
    impl: Any, q: torch.Tensor, weights: torch.Tensor, kv_cache: tuple, metadata: Any
) -> torch.Tensor:
    """Top-k indices from an indexer's queries [T, Hi, Di] and weights [T, Hi]."""
    if impl.use_torch_npu_lightning_indexer:
        run = torch_npu.npu_lightning_indexer
    else:
        run = torch.ops._C_ascend.npu_lightning_indexer
    indices = run(
        query=q,
        key=kv_cache[2],
        weights=weights,
        actual_seq_lengths_query=metadata.cum_query_lens,
        actual_seq_lengths_key=metadata.seq_lens,
        block_table=metadata.block_table,
        layout_query="TND",
        layout_key="PA_BSND",
        sparse_count=2048,
        sparse_mode=3,
    )
    # torch_npu's op returns the values too; this release's own op returns the indices alone.
    return indices if isinstance(indices, torch.Tensor) else indices[0]
