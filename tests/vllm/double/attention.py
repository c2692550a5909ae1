"""Attention, the indexer and reads of paged caches: plain softmax attention in fp32.

Arguments and layouts: the documentation of torch_npu in Ascend/op-plugin
(npu_fused_infer_attention_score and its v2, npu_lightning_indexer, npu_sparse_flash_attention,
npu_ring_mla) and their calls in vllm-ascend. What the real ops leave undefined - rows without a
request or without a cached token - is zero here.
"""

from __future__ import annotations

import torch

from double import calls, graph


def _softmax_attention(query, key, value, scale, mask=None):
    """query: [N, T, D], key: [N or 1, S, D], value: [N or 1, S, V] -> [N, T, V], lse [N, T, 1]."""
    scores = query.float() @ key.float().transpose(-1, -2) * scale
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf"))
    return scores.softmax(-1) @ value.float(), scores.logsumexp(-1, keepdim=True)


def _future(queries, keys):
    """[queries, keys], true where a key comes after the query; both end with the same token."""
    return torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)


def _pages(cache, block_table, length):
    """The first `length` rows of a request in a cache [blocks, block, D]."""
    block = cache.shape[1]
    pages = cache[block_table[: -(-length // block)].long()]
    return pages.reshape(-1, cache.shape[-1])[:length]


def _lengths(cumulative):
    cumulative = [int(end) for end in cumulative]
    starts = [0, *cumulative[:-1]]
    return list(zip(starts, cumulative, strict=True))


def npu_fused_infer_attention_score_v2(
    query,
    key,
    value,
    *,
    query_rope,
    key_rope,
    num_query_heads,
    num_key_value_heads,  # one latent for all heads
    input_layout,
    softmax_scale,
    block_table,
    block_size,
    actual_seq_kvlen,
    actual_seq_qlen=None,
    atten_mask=None,
    sparse_mode=0,
    return_softmax_lse=False,
    query_quant_mode=0,
    key_quant_mode=0,
    value_quant_mode=0,
    dequant_scale_query=None,
    dequant_scale_key=None,
    dequant_scale_value=None,
):
    """Decode attention on latents. query: [T, N, 1, L] for BNSD_NBSD, [T, N, L] for TND_NTD.

    key, value: the latent cache [blocks, 1, block_size, L]; key_rope: [blocks, 1, block_size, R];
    in FRACTAL_NZ [blocks, 1, L / C0, block_size, C0].
    actual_seq_qlen: ends of the requests among the T tokens, for TND_NTD. actual_seq_kvlen: cached
    tokens of each request. Returns [N, T, 1, L] or [N, T, L].

    In int8 (query_quant_mode 3): query has a scale for each token and head, the cache one. Scores
    are the sum of int8 products and of those of rope, multiplied by both scales.
    """
    if input_layout not in ("BNSD_NBSD", "BSND_NBSD", "TND_NTD") or return_softmax_lse:
        raise NotImplementedError(f"npu_fused_infer_attention_score_v2: {input_layout}")
    if (query_quant_mode, key_quant_mode, value_quant_mode) not in ((0, 0, 0), (3, 0, 0)):
        raise NotImplementedError(f"npu_fused_infer_attention_score_v2: {query_quant_mode}")
    tokens = query.shape[0]
    key, key_rope = (_rows_of_fractals(part) for part in (key, key_rope))
    rope_dtype, latent_scale, scale_of_query = query_rope.dtype, 1.0, 1.0
    if query_quant_mode == 3:
        if query.dtype is not torch.int8 or key.dtype is not torch.int8:
            raise NotImplementedError(f"npu_fused_infer_attention_score_v2: {query.dtype}")
        latent_scale = float(dequant_scale_key)
        assert torch.equal(dequant_scale_key, dequant_scale_value)
        heads = query.shape[:-1] if input_layout == "TND_NTD" else (tokens, 1, num_query_heads)
        assert dequant_scale_query.shape == heads
        scale_of_query = dequant_scale_query.reshape(tokens, num_query_heads, 1)
    parts = [part.reshape(tokens, num_query_heads, -1) for part in (query, query_rope)]
    # Scales that belong to all of a score are applied to the query and the key before it.
    query, query_rope = (part.float() * scale_of_query for part in parts)
    query_rope = query_rope * latent_scale
    key = key.float() * latent_scale
    q = torch.cat([query, query_rope], dim=-1)
    cache = torch.cat([key, key_rope], dim=-1)
    ends = actual_seq_qlen if input_layout == "TND_NTD" else range(1, tokens + 1)
    out = torch.zeros(num_query_heads, tokens, key.shape[-1])
    calls.note("npu_fused_infer_attention_score_v2", query=query, query_rope=query_rope)
    for request, (start, end) in enumerate(_lengths(ends)):
        length = actual_seq_kvlen[request] if request < len(actual_seq_kvlen) else 0
        if length == 0 or start == end:
            continue
        rows = _pages(cache, block_table[request], int(length))[None]
        mask = _future(end - start, int(length)) if sparse_mode == 3 else None
        latents = rows[..., : key.shape[-1]]
        out[:, start:end] = _softmax_attention(
            q[start:end].transpose(0, 1), rows, latents, softmax_scale, mask
        )[0]
    out = out.to(rope_dtype)
    return (out if input_layout == "TND_NTD" else out[:, :, None]), None


def _rows_of_fractals(cache):
    """A cache of 5 dimensions, in FRACTAL_NZ, or of 4, as [blocks, block_size, D]."""
    return (cache.transpose(2, 3).flatten(3) if cache.dim() == 5 else cache)[:, 0]


def _attention_into(*args, workspace, out, **kwargs):
    """npu_fused_infer_attention_score_v2.out; the second of `out` is left alone."""
    out[0].copy_(npu_fused_infer_attention_score_v2(*args, **kwargs)[0])


def add_variants(torch_npu) -> None:
    """The form of decode attention that graphs capture."""
    torch_npu.npu_fused_infer_attention_score_v2.out = graph.opaque(_attention_into)
    torch_npu._npu_fused_infer_attention_score_v2_get_max_workspace = lambda *_, **__: torch.empty(
        1
    )


def _prefill(query, key, value, ends, key_ends, scale, causal):
    """query: [T, N, D], key: [S, N, D], value: [S, N, V] -> [T, N, V], lse [T, N, 1]."""
    out = torch.zeros(query.shape[0], query.shape[1], value.shape[-1])
    lse = torch.zeros(query.shape[0], query.shape[1], 1)
    for (start, end), (first, last) in zip(_lengths(ends), _lengths(key_ends), strict=True):
        part, part_lse = _softmax_attention(
            query[start:end].transpose(0, 1),
            key[first:last].transpose(0, 1),
            value[first:last].transpose(0, 1),
            scale,
            _future(end - start, last - first) if causal else None,
        )
        out[start:end], lse[start:end] = part.transpose(0, 1), part_lse.transpose(0, 1)
    return out.to(query.dtype), lse


def npu_fused_infer_attention_score(
    query,
    key,
    value,
    *,
    num_heads,
    num_key_value_heads,
    input_layout,
    scale,
    actual_seq_lengths,
    actual_seq_lengths_kv,
    query_rope=None,
    key_rope=None,
    sparse_mode=0,
    atten_mask=None,  # with sparse_mode 3 the causal one
    antiquant_mode=0,
    antiquant_scale=None,
    block_table=None,
    block_size=0,
    softmax_lse_flag=True,
):
    """Prefill attention: TND, all tensors [tokens, N, D], both lists of lengths cumulative."""
    if input_layout != "TND" or num_heads != num_key_value_heads or sparse_mode not in (0, 3):
        raise NotImplementedError(f"npu_fused_infer_attention_score: {input_layout}, {sparse_mode}")
    if antiquant_mode or antiquant_scale is not None or block_table is not None or block_size:
        raise NotImplementedError("npu_fused_infer_attention_score: quantised or paged keys")
    if query_rope is not None:
        query, key = torch.cat([query, query_rope], -1), torch.cat([key, key_rope], -1)
    calls.note("npu_fused_infer_attention_score", query=query, key=key, value=value)
    return _prefill(
        query, key, value, actual_seq_lengths, actual_seq_lengths_kv, scale, sparse_mode == 3
    )


def npu_ring_mla(
    *,
    q_nope,
    q_rope,
    k_nope,
    k_rope,
    value,
    mask,  # the causal one
    seqlen,
    head_num,
    kv_head_num,
    pre_out,
    prev_lse,
    qk_scale,
    kernel_type,  # how exact the real one is
    mask_type,
    input_layout,
    calc_type,
    output,
    softmax_lse,  # of use to a second ring alone
):
    """Prefill attention of 0.18: [tokens, N, D]; seqlen: lengths of the requests; writes output."""
    if calc_type != "calc_type_first_ring" or mask_type != "mask_type_triu":
        raise NotImplementedError(f"npu_ring_mla: {calc_type}, {mask_type}")
    if head_num != kv_head_num or pre_out is not None or input_layout != "type_bsnd":
        raise NotImplementedError(f"npu_ring_mla: {input_layout}, {head_num}, {kv_head_num}")
    query, key = torch.cat([q_nope, q_rope], -1), torch.cat([k_nope, k_rope], -1)
    calls.note("npu_ring_mla", query=query, key=key, value=value)
    ends = torch.as_tensor(seqlen).flatten().cumsum(0).tolist()
    output.copy_(_prefill(query, key, value, ends, ends, qk_scale, True)[0])


def lightning_indexer(
    query,
    key,
    weights,
    *,
    actual_seq_lengths_query=None,
    actual_seq_lengths_key=None,
    block_table=None,
    layout_query="BSND",
    layout_key="BSND",
    sparse_count=2048,
    sparse_mode=3,
):
    """query: [T, N, D], key: [blocks, block, 1, D], weights: [T, N] -> [T, 1, sparse_count] int32.

    Scores are sum over heads of weight * relu(query . key); rows hold the positions of the best
    keys up to the token, best first, -1 behind them.
    """
    if (layout_query, layout_key, sparse_mode) != ("TND", "PA_BSND", 3):
        raise NotImplementedError(f"npu_lightning_indexer: {layout_query}, {layout_key}")
    calls.note("npu_lightning_indexer", query=query, weights=weights)
    chosen = torch.full((query.shape[0], 1, sparse_count), -1, dtype=torch.int32)
    for request, (start, end) in enumerate(_lengths(actual_seq_lengths_query)):
        length = int(actual_seq_lengths_key[request])
        if length == 0 or start == end:
            continue
        keys = _pages(key[:, :, 0], block_table[request], length).float()
        scores = torch.relu(query[start:end].float() @ keys.T) * weights[start:end, :, None].float()
        scores = scores.sum(1).masked_fill(_future(end - start, length), float("-inf"))
        count = min(sparse_count, length)
        best = scores.topk(count, dim=-1)
        chosen[start:end, 0, :count] = best.indices.int().masked_fill(best.values.isinf(), -1)
    return chosen


def npu_lightning_indexer(query, key, weights, **settings):
    return lightning_indexer(query, key, weights, **settings), None


def sparse_flash_attention(
    query,
    key,
    value,
    sparse_indices,
    scale_value,
    *,
    block_table,
    actual_seq_lengths_query,
    actual_seq_lengths_kv,
    query_rope,
    key_rope,
    layout_query,
    layout_kv,
    sparse_block_size=1,
    sparse_mode=3,
    attention_mode=0,  # 2 says that keys are latents, which they are here
    return_softmax_lse=False,
):
    """query: [T, N, L], key: [blocks, block, 1, L], sparse_indices: [T, 1, K] -> [T, N, L]."""
    if (layout_query, layout_kv) != ("TND", "PA_BSND"):
        raise NotImplementedError(f"npu_sparse_flash_attention: {layout_query}, {layout_kv}")
    if sparse_block_size != 1 or sparse_mode != 3 or attention_mode not in (0, 2):
        modes = f"{sparse_mode}, {attention_mode}"
        raise NotImplementedError(f"npu_sparse_flash_attention: modes {modes}")
    if return_softmax_lse:
        raise NotImplementedError("npu_sparse_flash_attention: return_softmax_lse")
    calls.note("npu_sparse_flash_attention", query=query, query_rope=query_rope)
    q = torch.cat([query, query_rope], -1)
    cache = torch.cat([key, key_rope], -1)[:, :, 0]
    out = torch.zeros(query.shape)
    for request, (start, end) in enumerate(_lengths(actual_seq_lengths_query)):
        length = int(actual_seq_lengths_kv[request])
        if length == 0:
            continue
        rows = _pages(cache, block_table[request], length)
        for token in range(start, end):
            picked = sparse_indices[token, 0]
            picked = rows[picked[picked >= 0].sort().values.long()][None]
            latents = picked[..., : query.shape[-1]]
            found, _ = _softmax_attention(q[token, :, None], picked, latents, scale_value)
            out[token] = found[:, 0]
    return out.to(query.dtype)


_INDEXER = (
    "npu_lightning_indexer(Tensor query, Tensor key, Tensor weights, *, "
    "Tensor? actual_seq_lengths_query=None, Tensor? actual_seq_lengths_key=None, "
    "Tensor? block_table=None, str layout_query='BSND', str layout_key='BSND', "
    "int sparse_count=2048, int sparse_mode=3) -> "
)
_SPARSE = (
    "npu_sparse_flash_attention(Tensor query, Tensor key, Tensor value, Tensor sparse_indices, "
    "float scale_value, *, int sparse_block_size=1, Tensor? block_table=None, "
    "Tensor? actual_seq_lengths_query=None, Tensor? actual_seq_lengths_kv=None, "
    "Tensor? query_rope=None, Tensor? key_rope=None, str layout_query='BSND', "
    "str layout_kv='BSND', int sparse_mode=3, int attention_mode=0, "
    "bool return_softmax_lse=False) -> "
)
_libraries: list[torch.library.Library] = []  # an op lives as long as its library


def register(indexer_returns_values: bool) -> None:
    """The ops of torch.ops._C_ascend; the first releases' indexer returns the indices alone."""
    library = torch.library.Library("_C_ascend", "FRAGMENT")
    library.define(_SPARSE + "Tensor")
    library.impl("npu_sparse_flash_attention", sparse_flash_attention, "CPU")
    if indexer_returns_values:
        library.define(_INDEXER + "(Tensor, Tensor)")
        library.impl(
            "npu_lightning_indexer",
            lambda *args, **kwargs: (lightning_indexer(*args, **kwargs), torch.empty(0)),
            "CPU",
        )
    else:
        library.define(_INDEXER + "Tensor")
        library.impl("npu_lightning_indexer", lightning_indexer, "CPU")
    _libraries.append(library)


OPS = {
    f.__name__: f
    for f in (
        npu_fused_infer_attention_score_v2,
        npu_fused_infer_attention_score,
        npu_lightning_indexer,
    )
}
ATB = {"npu_ring_mla": npu_ring_mla}
