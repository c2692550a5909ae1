"""int8 caches of sparse attention, "C8", in the formats of vLLM Ascend.

Two parts of a layer's caches may be int8, each by a switch of its own:

- latents: the caches of latents and of rope keys become one of packed rows. A row is the latent in
  int8, with a float32 scale for every 128 of its elements, between them the rope key in bfloat16,
  all as bytes;
- the indexer's keys: rotated by a Hadamard matrix, in int8 with a float16 scale for every token,
  which has a cache of its own. The queries of the indexer are rotated and quantised alike.

The prolog op writes rows of the activation dtype to temporary caches, and the ops that upstream's
own path calls quantise these rows and scatter them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch_npu
from vllm_ascend.device.device_op import DeviceOperator

from ..caches import Int8Caches
from ..fallback import attribute


def of_switches(impl: Any) -> Int8Caches:
    """Which caches are int8, from the two switches that a layer has since 0.23."""
    return Int8Caches(impl.enable_sparse_sfa_c8, impl.enable_sparse_li_c8)


def refusal(impl: Any) -> str | None:
    """Why int8 caches of a layer of 0.23 to 0.27 cannot be written, or None."""
    if not attribute(impl, "enable_sparse_sfa_c8") and not attribute(impl, "enable_sparse_li_c8"):
        return None
    return type_refusal(impl, "c8_k_cache_dtype")


def type_refusal(owner: Any, name: str) -> str | None:
    """Why quantised caches go upstream, or None: they are int8.

    Args:
        owner: upstream's object that has their type.
        name: of its attribute.

    Raises:
        UpstreamChanged: the attribute is missing.
    """
    found = attribute(owner, name)
    return None if found is torch.int8 else f"caches of sparse attention in {found}"


def store(
    impl: Any,
    int8: Int8Caches,
    rows: Sequence[torch.Tensor],
    caches: tuple[torch.Tensor, ...],
    metadata: Any,
    *,
    by_runs: bool = False,
    dst_type: torch.dtype | int = torch.int8,
) -> None:
    """Quantises and scatters the rows of a step as 0.18 to 0.27 do.

    Args:
        impl: AscendSFAImpl.
        int8: which of the caches are int8.
        rows: latents [T, kv_lora], rope keys [T, rope] and, with an indexer, its keys [T, Di].
        caches: all caches of the layer.
        metadata: upstream's metadata of the step.
        by_runs: whether int8 keys are stored by runs of slots (c8_enable_reshape_optim), which
            upstream has told apart in the metadata.
        dst_type: what upstream calls int8 where it quantises latents.
    """
    latent, rope, *keys = rows
    slots = metadata.slot_mapping[: latent.shape[0]]  # padding may have slots behind those of rows
    if int8.latents:
        packed = torch.cat(packed_parts(impl, latent, rope, dst_type), dim=-1)
        scatter(caches[0], slots, packed)
    else:
        store_latents(latent, rope, caches, slots)
    for key in keys:
        key_cache, *scale_cache = caches[1 if int8.latents else 2 :]
        if not int8.keys:
            scatter(key_cache, slots, key)
            continue
        quantised = quantise(key, impl.k_hadamard, impl)
        for cache, part in zip((key_cache, *scale_cache), quantised, strict=True):
            if by_runs:
                _store_runs(cache, part, metadata)
            else:
                scatter(cache, slots, part)


def store_by_method(
    impl: Any, rows: Sequence[torch.Tensor], caches: tuple[torch.Tensor, ...], metadata: Any
) -> None:
    """Seam.store_rows of releases with a method that says whether keys are stored by runs."""
    by_runs = impl._use_li_c8_reshape_optim()
    store(impl, of_switches(impl), rows, caches, metadata, by_runs=by_runs)


def _store_runs(cache: torch.Tensor, rows: torch.Tensor, metadata: Any) -> None:
    torch.ops._C_ascend.store_kv_block(
        rows,
        cache,
        metadata.group_len,
        metadata.group_key_idx,
        metadata.group_key_cache_idx,
        metadata.block_size,
    )


def store_latents(
    latent: torch.Tensor,
    rope: torch.Tensor,
    caches: tuple[torch.Tensor, ...],
    slots: torch.Tensor,
) -> None:
    """Writes latents and rope keys as they are to their two caches."""
    DeviceOperator.reshape_and_cache(
        key=latent.unsqueeze(1),
        value=rope.unsqueeze(1),
        key_cache=caches[0],
        value_cache=caches[1],
        slot_mapping=slots,
    )


def packed_parts(
    impl: Any, latent: torch.Tensor, rope: torch.Tensor, dst_type: torch.dtype | int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The parts of packed rows as bytes: latents [T, kv_lora], rope keys, scales."""
    tokens, width = latent.shape
    quantised, scale = torch_npu.npu_dynamic_block_quant(
        latent.view(-1, 1, width),
        dst_type=dst_type,
        row_block_size=1,
        col_block_size=impl.sfa_qsfa_tile_size,
    )
    scales = scale.to(torch.float32).view(tokens, -1).contiguous()
    return quantised.view(tokens, width), rope.view(torch.int8), scales.view(torch.int8)


def quantise(
    x: torch.Tensor, hadamard: torch.Tensor, owner: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The indexer's keys or queries [..., Di], rotated and quantised.

    Args:
        x: keys or queries.
        hadamard: the matrix that rotates them.
        owner: upstream's object that has the types of keys and of their scales.

    Returns:
        int8 [rows, Di], and its scales [rows, 1].
    """
    rotated = x @ hadamard
    quantised, scale = torch_npu.npu_dynamic_quant(
        rotated.view(-1, rotated.shape[-1]), dst_type=owner.c8_k_cache_dtype
    )
    return quantised, scale.to(owner.c8_k_scale_cache_dtype).unsqueeze(-1)


def scatter(cache: torch.Tensor, slots: torch.Tensor, rows: torch.Tensor) -> None:
    """Writes rows [T, D] to the slots of a paged cache; the op skips slot -1."""
    width = rows.shape[-1]
    torch_npu.npu_scatter_nd_update_(cache.view(-1, width), slots.view(-1, 1), rows)
