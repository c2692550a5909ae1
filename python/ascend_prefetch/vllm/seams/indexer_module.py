"""The seam that 0.28 and later releases start from; their modules hold what differs.

The indexer is a module with weights, cache and metadata of its own. Decode attention takes what the
prolog made as one result, and a hook may have to bring a layer's caches before they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from vllm_ascend.attention.indexer import AscendSFAIndexerBackend
from vllm_ascend.attention.mla_v1 import DecodeMLAPreprocessResult
from vllm_ascend.attention.utils import notify_kv_cache_written
from vllm_ascend.device.device_op import DeviceOperator

from ..arguments import indexer_arguments
from ..caches import Int8Caches
from ..fallback import attribute
from ..linears import read_linear
from ..watch import Watch
from . import c8, common

forward_context = common.forward_context
windows = common.windows
all_reduce = common.all_reduce
capturing = common.capturing
padded_tokens = common.padded_tokens
sparse_caches = common.composed_caches
mla_cache_written = sfa_cache_written = notify_kv_cache_written
mla_done = sfa_done = common.save_caches
keep_mla_weights = common.without_fused_prologs
keep_sfa_weights = common.without_fused_types
flash_comm = None
gathers_rows = False
trims_rows = False
shares_indexers = True

_KEYS, _SCALES = 0, 1  # the places of the caches in the indexer's tuple

MLA_REASONS = {
    **common.OUTPUT_GATE,
    "pcp_enabled": "prefill context parallelism",
}
SFA_REASONS = {"g_proj": common.OUTPUT_GATE["use_output_gate"]}


def mla_refusal(impl: Any) -> str | None:
    """Why a layer of dense attention goes upstream, or None.

    Raises:
        UpstreamChanged: an attribute is missing.
    """
    attribute(impl, "layerwise_kv_cache_hook")
    return common.mla_refusal(impl, MLA_REASONS)


def sfa_refusal(
    impl: Any,
    *,
    reasons: dict[str, str] = SFA_REASONS,
    indexer_reasons: dict[str, str] = {},  # noqa: B006
    cache_dtype: str = "c8_k_cache_dtype",
) -> str | None:
    """Why a layer of sparse attention goes upstream, or None.

    Args:
        impl: the layer.
        reasons: by name of the layer's attribute.
        indexer_reasons: by name of the attribute of the layer's indexer, if it has one.
        cache_dtype: name of the layer's attribute for the type of packed caches.

    Raises:
        UpstreamChanged: an attribute is missing.
    """
    attribute(impl, "layerwise_kv_cache_hook")
    refusal = common.first_true(impl, reasons)
    if attribute(impl, "enable_sparse_sfa_c8"):
        refusal = refusal or c8.type_refusal(impl, cache_dtype)
    if refusal is not None or not has_indexer(impl):
        return refusal
    indexer = attribute(impl.indexer, "impl")
    if type(indexer) is not AscendSFAIndexerBackend:
        return f"an indexer of another kind, {type(indexer).__name__}"
    if attribute(indexer, "enable_sparse_li_c8"):
        refusal = c8.type_refusal(indexer, "c8_k_cache_dtype")
    return refusal or common.first_true(indexer, indexer_reasons)


def int8_caches(impl: Any) -> Int8Caches:
    """Which caches of a sparse layer are int8, from a switch of the layer and its indexer's."""
    keys = impl.runtime_has_indexer and impl.indexer.impl.enable_sparse_li_c8
    return Int8Caches(impl.enable_sparse_sfa_c8, keys)


def store_rows(impl: Any, rows: Sequence[torch.Tensor], caches: tuple, metadata: Any) -> None:
    """Quantises a step's rows and writes them to a sparse layer's int8 caches."""
    latent, rope, *keys = rows
    tokens = latent.shape[0]  # padding may have slots behind those of rows
    slots = metadata.slot_mapping[:tokens]
    if impl.enable_sparse_sfa_c8:
        quantised, rope, scales = c8.packed_parts(impl, latent, rope, torch.int8)
        impl._store_parallel_kv(rope, quantised, scales, None, [], caches, slots, metadata, False)
    else:
        c8.store_latents(latent, rope, caches, slots)
    for key in keys:
        indexer, own = impl.indexer.impl, impl._get_indexer_attn_metadata()
        scale = None
        if indexer.enable_sparse_li_c8:
            key, scale = c8.quantise(key, indexer.k_hadamard, indexer)
        indexer.write_cache(key, scale, own.slot_mapping[:tokens], indexer_attn_metadata=own)


def before_mla_cache_write(impl: Any, layer_name: str) -> None:
    """Waits until another rank has sent the layer's caches, where ranks share them by layer."""
    if impl.layerwise_kv_cache_hook is not None:
        impl.layerwise_kv_cache_hook.wait_for_layer(layer_name)


def before_sfa_cache_write(impl: Any, layer_name: str) -> None:
    """Waits until the KV connector or another rank has filled a layer's caches."""
    common.before_cache_write(impl, layer_name)
    before_mla_cache_write(impl, layer_name)


def decode(
    impl: Any,
    q_nope: torch.Tensor,
    q_rope: torch.Tensor,
    latent: torch.Tensor,
    rope: torch.Tensor,
    metadata: Any,
    q_scale: torch.Tensor | None,
) -> torch.Tensor:
    """Dense attention of decode rows, and W_UV; see Seam.decode."""
    prolog = DecodeMLAPreprocessResult(q_nope, q_rope, latent, rope, dequant_scale_q_nope=q_scale)
    return impl._forward_decode(prolog, latent.shape[1], metadata)


def has_indexer(impl: Any) -> bool:
    """Whether a layer runs its indexer: one that only reuses another's choice may have it too.

    Raises:
        UpstreamChanged: the attribute is missing.
    """
    return bool(attribute(impl, "runtime_has_indexer"))


def read_indexer(impl: Any, watch: Watch) -> dict[str, Any]:
    """The arguments of the indexer, whose weights are its module's."""
    indexer = impl.indexer.impl
    wk = read_linear("the indexer's wk_weights_proj", indexer.wk_weights_proj, watch)
    return indexer_arguments(indexer, watch, wk, None)


def select(
    impl: Any,
    q: torch.Tensor,
    weights: torch.Tensor,
    kv_cache: tuple,
    metadata: Any,
    *,
    others: tuple[bool, ...] = (),
) -> torch.Tensor:
    """Top-k indices from an indexer's queries [T, Hi, Di] and weights [T, Hi].

    Args:
        impl: the layer.
        q: queries.
        weights: weights of their heads.
        kv_cache: unused; the indexer's caches are its own.
        metadata: unused; the indexer's metadata is its own.
        others: for each quantisation of the indexer's keys that the release has beside int8,
            whether it is used.
    """
    indexer = impl.indexer.impl
    own = impl._get_indexer_attn_metadata()
    scale, shape, int8 = None, None, indexer.enable_sparse_li_c8
    if int8:
        shape = q.shape
        q, scale = c8.quantise(q, indexer.q_hadamard, indexer)
    return DeviceOperator.indexer_select_post_process(
        q,
        scale,
        shape,
        weights,
        indexer.k_cache.kv_cache,
        _KEYS,
        _SCALES,
        own,
        own.actual_seq_lengths_query,
        own.actual_seq_lengths_key,
        int8,
        *others,
        indexer.use_torch_npu_lightning_indexer,
    )
