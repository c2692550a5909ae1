"""npu_mla_prolog_v3: upstream's fused projections of sparse attention, since 0.28 its default.

Composed of the double's other ops, with a rounding wherever one of those ends. Arguments and
results: the documentation of torch_npu in Ascend/op-plugin and the call in vllm-ascend.
"""

from __future__ import annotations

from double import calls, int8_caches, linear, norm_rope


def npu_mla_prolog_v3(
    *,
    token_x,
    weight_dq,
    weight_uq_qr,
    weight_uk,
    weight_dkv_kr,
    rmsnorm_gamma_cq,
    rmsnorm_gamma_ckv,
    rope_sin,
    rope_cos,
    kv_cache,
    kr_cache,
    cache_index,
    dequant_scale_x=None,
    dequant_scale_w_dq=None,
    dequant_scale_w_uq_qr=None,
    dequant_scale_w_dkv_kr=None,
    rmsnorm_epsilon_cq=1e-5,
    rmsnorm_epsilon_ckv=1e-5,
    cache_mode="PA_BSND",
    query_norm_flag=False,
    weight_quant_mode=0,
    kv_cache_quant_mode=0,
    query_quant_mode=0,
    qc_qr_scale=1.0,
    kc_scale=1.0,
    ckvkr_repo_mode=0,
    quant_scale_repo_mode=0,
    tile_size=128,
    k_nope_clip_alpha=None,
    quant_scale_ckv=None,
):
    """token_x: [T, hidden]; weights: [in, out]; weight_uk: [N, nope, L]; cache_index: [T].

    weight_quant_mode 0: 16-bit weights; 2: int8 weights and activations, quantised per row.
    kv_cache_quant_mode 3, with both repo modes 1: a cache of packed rows (double.int8_caches), to
    which kr_cache does not belong. 1, with query_quant_mode 1: as npu_mla_prolog_v2 of
    double.int8_caches, and the scales of the queries are the third result.
    Returns q_nope [T, N, L], q_rope [T, N, R], None, and with query_norm_flag the normed q latent
    [T, q_lora] and, if it is int8, its scales [T, 1].
    """
    if (weight_quant_mode, kv_cache_quant_mode, query_quant_mode) == (2, 1, 1):
        assert not query_norm_flag and (qc_qr_scale, kc_scale) == (1.0, 1.0)
        query, q_rope, _, _, scale = int8_caches.npu_mla_prolog_v2(
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
            dequant_scale_x=dequant_scale_x,
            dequant_scale_w_dq=dequant_scale_w_dq,
            dequant_scale_w_uq_qr=dequant_scale_w_uq_qr,
            dequant_scale_w_dkv_kr=dequant_scale_w_dkv_kr,
            quant_scale_ckv=quant_scale_ckv,
            rmsnorm_epsilon_cq=rmsnorm_epsilon_cq,
            rmsnorm_epsilon_ckv=rmsnorm_epsilon_ckv,
            cache_mode=cache_mode,
        )
        return query, q_rope, scale, None, None
    packed = (kv_cache_quant_mode, ckvkr_repo_mode, quant_scale_repo_mode) == (3, 1, 1)
    if weight_quant_mode not in (0, 2) or query_quant_mode or (kv_cache_quant_mode and not packed):
        raise NotImplementedError(f"npu_mla_prolog_v3: weight_quant_mode {weight_quant_mode}")
    if cache_mode != "PA_BSND" or (qc_qr_scale, kc_scale) != (1.0, 1.0):
        raise NotImplementedError(f"npu_mla_prolog_v3: cache_mode {cache_mode}")
    calls.note("npu_mla_prolog_v3")
    dtype = rmsnorm_gamma_ckv.dtype

    def product(x, weight, scale, x_scale):
        if scale is None:
            return (x.float() @ weight.float()).to(dtype)
        return linear.npu_quant_matmul(
            x, weight, scale.flatten(), pertoken_scale=x_scale.flatten(), output_dtype=dtype
        )

    x, x_scale = token_x, dequant_scale_x
    tokens, (heads, nope, _) = x.shape[0], weight_uk.shape
    cos, sin = (table.view(tokens, 1, 1, -1) for table in (rope_cos, rope_sin))
    latent = product(x, weight_dq, dequant_scale_w_dq, x_scale)
    latent = norm_rope.npu_rms_norm(latent, rmsnorm_gamma_cq, rmsnorm_epsilon_cq)[0]
    latent_scale = None
    if weight_quant_mode:
        latent, latent_scale = linear.npu_dynamic_quant(latent)
    q = product(latent, weight_uq_qr, dequant_scale_w_uq_qr, latent_scale)
    q_nope, q_rope = q.view(tokens, heads, -1).split([nope, cos.shape[-1]], -1)
    q_nope = linear.npu_transpose_batchmatmul(
        q_nope, weight_uk, perm_x1=(1, 0, 2), perm_y=(1, 0, 2)
    )
    q_rope = norm_rope.npu_interleave_rope(q_rope.unsqueeze(2), cos, sin).squeeze(2)
    kv = product(x, weight_dkv_kr, dequant_scale_w_dkv_kr, x_scale)
    if packed:
        assert k_nope_clip_alpha is None or k_nope_clip_alpha.eq(1).all()
        width = rmsnorm_gamma_ckv.shape[0]
        rows = norm_rope.npu_rms_norm(kv[:, :width], rmsnorm_gamma_ckv, rmsnorm_epsilon_ckv)[0]
        rope = norm_rope.npu_interleave_rope(kv[:, width:].view(tokens, 1, 1, -1), cos, sin)
        rows = int8_caches.pack(rows, rope.view(tokens, -1), tile_size)
        norm_rope.write_rows(kv_cache, cache_index, rows)
    else:
        norm_rope.npu_kv_rmsnorm_rope_cache(
            kv.view(tokens, 1, 1, -1),
            rmsnorm_gamma_ckv,
            cos,
            sin,
            cache_index,
            kr_cache,
            kv_cache,
            epsilon=rmsnorm_epsilon_ckv,
            cache_mode="PA",
        )
    if not query_norm_flag:
        latent = latent_scale = None
    elif latent_scale is not None:
        latent_scale = latent_scale.view(tokens, 1)
    return q_nope, q_rope, None, latent, latent_scale


OPS = {"npu_mla_prolog_v3": npu_mla_prolog_v3}
