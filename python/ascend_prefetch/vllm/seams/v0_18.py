"""vLLM Ascend 0.18: wk and weights_proj are two weights; the indexer's method selects top-k."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch_npu

from ..arguments import indexer_arguments
from ..caches import Int8Caches
from ..linears import read_linear
from ..watch import Watch
from . import c8, common
from . import flash_comm as flash_communication

forward_context = common.forward_context
windows = common.windows
all_reduce = common.all_reduce
capturing = common.capturing
padded_tokens = common.padded_tokens
decode = common.decode
sparse_attention = common.sparse_attention
sparse_caches = common.split_caches
before_mla_cache_write = mla_cache_written = sfa_cache_written = mla_done = common.nothing
sfa_done = common.save_caches
before_sfa_cache_write = common.before_cache_write
keep_mla_weights = keep_sfa_weights = common.without_fused_prologs
flash_comm = flash_communication
gathers_rows = True
trims_rows = False
shares_indexers = False
mla_refusal = functools.partial(common.dense_refusal, reasons=common.SHARDED | common.PRODUCER)
sfa_refusal = functools.partial(
    common.first_true, reasons=common.CONTEXT_PARALLEL | common.PRODUCER
)


def has_indexer(impl: object) -> bool:
    """Every layer has an indexer."""
    return True


def int8_caches(impl: Any) -> Int8Caches:
    """Which caches of a sparse layer are int8; in this release the indexer's alone may be."""
    return Int8Caches(latents=False, keys=impl.use_sparse_c8_indexer)


def store_rows(impl: Any, rows: Sequence[torch.Tensor], caches: tuple, metadata: Any) -> None:
    """Quantises a step's rows and writes them to a sparse layer's int8 caches."""
    c8.store(impl, int8_caches(impl), rows, caches, metadata)


def read_indexer(impl: Any, watch: Watch) -> dict[str, Any]:
    """The indexer's arguments of sfa_prolog."""
    wk = read_linear("the indexer's wk", impl.wk, watch)
    weights_proj = read_linear("the indexer's weights_proj", impl.weights_proj, watch)
    return indexer_arguments(impl, watch, wk, weights_proj)


def select(
    impl: Any, q: torch.Tensor, weights: torch.Tensor, kv_cache: tuple, metadata: Any
) -> torch.Tensor:
    """Top-k indices from an indexer's queries [T, Hi, Di] and weights [T, Hi]."""
    scales: dict[str, Any] = {}
    if impl.use_sparse_c8_indexer:
        run = torch.ops._C_ascend.npu_lightning_indexer_quant
        shape, weights = q.shape, weights.to(torch.float16)
        quantised, scale = c8.quantise(q, impl.q_hadamard, impl)
        q = quantised.view(shape)
        scales["query_dequant_scale"] = scale.view(shape[:-1])
        scales["key_dequant_scale"] = kv_cache[3].squeeze(2)
        scales |= {"query_quant_mode": 0, "key_quant_mode": 0}
    elif impl.use_torch_npu_lightning_indexer:
        run = torch_npu.npu_lightning_indexer
    else:
        run = torch.ops._C_ascend.npu_lightning_indexer
    indices = run(
        query=q,
        key=kv_cache[2],
        weights=weights,
        **scales,
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
