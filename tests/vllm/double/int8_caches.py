"""Quantised caches: rows of latents in blocks, the indexer's keys by token, and their attention.

Arguments and layouts: the documentation of torch_npu in Ascend/op-plugin (npu_dynamic_block_quant,
_npu_reshape_and_cache, npu_scatter_pa_kv_cache) and, of the ops in torch.ops._C_ascend, their calls
and csrc in vllm-ascend. Quantised numbers are dequantised in fp32, and then computed with as the
ops on 16-bit caches compute (double.attention).
"""

from __future__ import annotations

import torch

from double import attention, calls, linear, norm_rope
from double.norm_rope import write_rows

_INT8 = (1, torch.int8)


def npu_dynamic_block_quant(
    x, *, min_scale=0.0, round_mode="rint", dst_type, row_block_size=1, col_block_size=128
):
    """Per row and block of columns: scale = max / 127, int8(rint(x / scale)).

    x: [..., rows, columns]. Returns int8 of that shape and scales [..., rows, blocks] float32.
    """
    calls.note("npu_dynamic_block_quant")
    if min_scale or round_mode != "rint" or row_block_size != 1 or dst_type not in _INT8:
        raise NotImplementedError(f"npu_dynamic_block_quant: {dst_type}, {row_block_size}")
    blocks = x.float().unflatten(-1, (-1, col_block_size))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    quantised = torch.where(scale == 0, 0.0, blocks / scale).round().clamp(-128, 127)
    return quantised.flatten(-2).to(torch.int8), scale.squeeze(-1)


def _reshape_and_cache(key, value, key_cache, value_cache, slots):
    """Writes rows [T, 1, D] of keys and of values to paged caches; -1 skips a row."""
    write_rows(key_cache, slots, key)
    write_rows(value_cache, slots, value)


def _npu_reshape_and_cache(*, key, value, key_cache, value_cache, slot_indices):
    calls.note("_npu_reshape_and_cache")
    _reshape_and_cache(key, value, key_cache, value_cache, slot_indices)


def npu_scatter_pa_kv_cache(*, key, value, key_cache, value_cache, slot_mapping, cache_mode="Norm"):
    calls.note("npu_scatter_pa_kv_cache")
    if cache_mode != "Norm":
        raise NotImplementedError(f"npu_scatter_pa_kv_cache: {cache_mode}")
    _reshape_and_cache(key, value, key_cache, value_cache, slot_mapping)


def npu_mla_prolog_v2(
    token_x,
    weight_dq,
    weight_uq_qr,
    weight_uk,
    weight_dkv_kr,
    rmsnorm_gamma_cq,
    rmsnorm_gamma_ckv,
    rope_sin,
    rope_cos,
    cache_index,
    kv_cache,
    kr_cache,
    *,
    dequant_scale_x,
    dequant_scale_w_dq,
    dequant_scale_w_uq_qr,
    dequant_scale_w_dkv_kr,
    quant_scale_ckv,
    rmsnorm_epsilon_cq=1e-5,
    rmsnorm_epsilon_ckv=1e-5,
    cache_mode="PA_BSND",
):
    """The projections of MLA with everything in int8 but W_UK, and caches in FRACTAL_NZ.

    token_x: int8 [T, hidden], with dequant_scale_x [T, 1]; weights int8 [in, out] with scales
    [1, out]; cos, sin: [T, R]; kv_cache: int8 [blocks, block, 1, L]; kr_cache: [.., R]. Returns
    int8 queries [T, N, L], their rope parts, both caches, and the queries' scales [T, N, 1]. As in
    the kernel (Ascend's ops-transformer, service_dynamic_quant_qn_mul_qr.h) the rope parts are
    divided by both scales, those of the query and of the cache.
    """
    calls.note("npu_mla_prolog_v2")
    if cache_mode != "PA_NZ" or token_x.dtype is not torch.int8:
        raise NotImplementedError(f"npu_mla_prolog_v2: {cache_mode}, {token_x.dtype}")

    def product(x, scale, weight, weight_scale):
        return linear.sums(x, weight).float() * weight_scale * scale

    heads, nope, width = weight_uk.shape
    rope = kr_cache.shape[-1]
    cq = product(token_x, dequant_scale_x, weight_dq, dequant_scale_w_dq)
    cq = norm_rope.rms(cq, rmsnorm_gamma_cq, rmsnorm_epsilon_cq)[0]
    cq, scale = linear.npu_dynamic_quant(cq)
    q = product(cq, scale.unsqueeze(-1), weight_uq_qr, dequant_scale_w_uq_qr)
    q = q.to(weight_uk.dtype).view(-1, heads, nope + rope)
    q_rope = norm_rope.npu_interleave_rope(q[..., nope:], rope_cos[:, None], rope_sin[:, None])
    absorbed = torch.bmm(q[..., :nope].transpose(0, 1).float(), weight_uk.float()).transpose(0, 1)
    query, query_scale = linear.npu_dynamic_quant(absorbed.to(weight_uk.dtype))
    factor = quant_scale_ckv.flatten()[0] / query_scale.unsqueeze(-1)
    q_rope = (q_rope.float() * factor).to(q_rope.dtype)

    kv = product(token_x, dequant_scale_x, weight_dkv_kr, dequant_scale_w_dkv_kr)
    ckv = norm_rope.rms(kv[:, :width], rmsnorm_gamma_ckv, rmsnorm_epsilon_ckv)[0] * quant_scale_ckv
    ckv = ckv.round().clamp(-128, 127).to(torch.int8)
    kr = norm_rope.npu_interleave_rope(kv[:, width:], rope_cos, rope_sin).to(kr_cache.dtype)
    for cache, rows in ((kv_cache, ckv), (kr_cache, kr)):
        _write_fractals(cache, cache_index, rows)
    return query, q_rope, kv_cache, kr_cache, query_scale.unsqueeze(-1)


def _write_fractals(cache, slots, rows):
    """Rows of a cache in FRACTAL_NZ behind a row-major shape; -1 skips a row."""
    block, c0 = cache.shape[1], 32 // cache.element_size()
    fractals = cache.view(cache.shape[0], -1, block, c0)
    for slot, row in zip(slots.tolist(), rows, strict=True):
        if slot >= 0:
            fractals[slot // block, :, slot % block] = row.view(-1, c0)


def pack(latent: torch.Tensor, rope: torch.Tensor, tile: int = 128) -> torch.Tensor:
    """Rows of a packed cache, [..., bytes] int8, from latents and rope keys in bfloat16."""
    quantised, scale = npu_dynamic_block_quant(latent, dst_type=torch.int8, col_block_size=tile)
    return torch.cat([quantised, rope.view(torch.int8), scale.view(torch.int8)], dim=-1)


def unpack(
    rows: torch.Tensor, rope_width: int, tile: int = 128
) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents of packed rows, dequantised to fp32, and their rope keys."""
    # A latent of `width` elements has four bytes of scale for every `tile` of them.
    width = (rows.shape[-1] - 2 * rope_width) * tile // (tile + 4)
    latent, rope, scale = (
        part.contiguous() for part in rows.split([width, 2 * rope_width, width // tile * 4], -1)
    )
    scales = scale.view(torch.float32).repeat_interleave(tile, dim=-1)
    return latent.float() * scales, rope.view(torch.bfloat16)


def _kv_quant_sparse_flash_attention(
    query,
    key,
    value,
    sparse_indices,
    scale_value,
    *,
    block_table,
    actual_seq_lengths_query,
    actual_seq_lengths_kv,
    layout_query,
    layout_kv,
    sparse_block_size,
    sparse_mode,
    attention_mode,
    quant_scale_repo_mode,
    tile_size,
    key_quant_mode,
    value_quant_mode,
    rope_head_dim,
    return_softmax_lse=False,
):
    """query: [T, N, L + R], key: packed rows [blocks, block, 1, bytes] -> [T, N, L]."""
    modes = (quant_scale_repo_mode, key_quant_mode, value_quant_mode)
    if modes != (1, 2, 2) or key.dtype is not torch.int8 or return_softmax_lse:
        raise NotImplementedError(f"npu_kv_quant_sparse_flash_attention: modes {modes}")
    latent, rope = unpack(key, rope_head_dim, tile_size)
    nope, pe = query.split([latent.shape[-1], rope_head_dim], dim=-1)
    return attention.sparse_flash_attention(
        nope,
        latent,
        latent,
        sparse_indices,
        scale_value,
        block_table=block_table,
        actual_seq_lengths_query=actual_seq_lengths_query,
        actual_seq_lengths_kv=actual_seq_lengths_kv,
        query_rope=pe,
        key_rope=rope,
        layout_query=layout_query,
        layout_kv=layout_kv,
        sparse_block_size=sparse_block_size,
        sparse_mode=sparse_mode,
        attention_mode=attention_mode,
    )


def _lightning_indexer_quant(
    query,
    key,
    weights,
    query_dequant_scale,
    key_dequant_scale,
    *,
    actual_seq_lengths_query,
    actual_seq_lengths_key,
    block_table,
    query_quant_mode,
    key_quant_mode,
    layout_query,
    layout_key,
    sparse_count,
    sparse_mode,
):
    """query: int8 [T, N, D], scales [T, N]; key: int8 [blocks, block, 1, D], scales [.., 1]."""
    if (query_quant_mode, key_quant_mode) != (0, 0) or query.dtype is not torch.int8:
        raise NotImplementedError(f"npu_lightning_indexer_quant: {query_quant_mode}")
    if weights.dtype is not torch.float16 or key_dequant_scale.dtype is not torch.float16:
        raise NotImplementedError(f"npu_lightning_indexer_quant: weights {weights.dtype}")
    return attention.lightning_indexer(
        query.float() * query_dequant_scale.float().unsqueeze(-1),
        key.float() * key_dequant_scale.float().unsqueeze(-1),
        weights,
        actual_seq_lengths_query=actual_seq_lengths_query,
        actual_seq_lengths_key=actual_seq_lengths_key,
        block_table=block_table,
        layout_query=layout_query,
        layout_key=layout_key,
        sparse_count=sparse_count,
        sparse_mode=sparse_mode,
    )


def _store_kv_block_metadata(slots, group_len, group_key_idx, group_key_cache_idx, block_size=0):
    """Runs of consecutive slots within a block: their lengths, first rows and first slots."""
    for part in (group_len, group_key_idx, group_key_cache_idx):
        part.zero_()
    found = []
    for row, slot in enumerate(slots.tolist()):
        if slot < 0:
            continue
        if found and slot % block_size and (row, slot) == (sum(found[-1][:2]), found[-1][3]):
            found[-1][0] += 1
            found[-1][3] += 1
        else:
            found.append([1, row, slot, slot + 1])
    for i, (length, row, slot, _) in enumerate(found):
        group_len[i], group_key_idx[i], group_key_cache_idx[i] = length, row, slot


def _store_kv_block(rows, cache, group_len, group_key_idx, group_key_cache_idx, block_size=0):
    """rows: [T, .., D]; cache: [blocks, block, 1, D]; what _store_kv_block_metadata has found."""
    calls.note("store_kv_block")
    if block_size != cache.shape[1]:
        raise NotImplementedError(f"store_kv_block: block_size {block_size}")
    rows, slots = rows.reshape(rows.shape[0], -1), cache.view(-1, cache.shape[-1])
    for length, row, slot in zip(group_len, group_key_idx, group_key_cache_idx, strict=True):
        slots[slot : slot + length] = rows[row : row + length]


_SPARSE = (
    "(Tensor query, Tensor key, Tensor value, Tensor sparse_indices, float scale_value, *, "
    "Tensor block_table, Tensor actual_seq_lengths_query, Tensor actual_seq_lengths_kv, "
    "str layout_query, str layout_kv, int sparse_block_size, int sparse_mode, int attention_mode, "
    "int quant_scale_repo_mode, int tile_size, int key_quant_mode, int value_quant_mode, "
    "int rope_head_dim, bool return_softmax_lse=False) -> Tensor"
)
_INDEXER = (
    "npu_lightning_indexer_quant(Tensor query, Tensor key, Tensor weights, "
    "Tensor query_dequant_scale, Tensor key_dequant_scale, *, Tensor actual_seq_lengths_query, "
    "Tensor actual_seq_lengths_key, Tensor block_table, int query_quant_mode, int key_quant_mode, "
    "str layout_query, str layout_key, int sparse_count, int sparse_mode) -> Tensor"
)
_libraries: list[torch.library.Library] = []  # an op lives as long as its library


def register() -> None:
    """The ops of torch.ops._C_ascend; attention has another name in the newest releases."""
    library = torch.library.Library("_C_ascend", "FRAGMENT")
    for suffix in ("", "_vllm"):
        name = f"npu_kv_quant_sparse_flash_attention{suffix}"
        library.define(name + _SPARSE)
        library.impl(name, _kv_quant_sparse_flash_attention, "CPU")
    runs = "Tensor group_len, Tensor group_key_idx, Tensor group_key_cache_idx, int block_size=0"
    library.define(f"store_kv_block_metadata(Tensor slots, {runs}) -> ()")
    library.impl("store_kv_block_metadata", _store_kv_block_metadata, "CPU")
    library.define(f"store_kv_block(Tensor rows, Tensor cache, {runs}) -> ()")
    library.impl("store_kv_block", _store_kv_block, "CPU")
    library.define(_INDEXER)
    library.impl("npu_lightning_indexer_quant", _lightning_indexer_quant, "CPU")
    _libraries.append(library)


OPS = {
    f.__name__: f
    for f in (
        npu_dynamic_block_quant,
        _npu_reshape_and_cache,
        npu_scatter_pa_kv_cache,
        npu_mla_prolog_v2,
    )
}
