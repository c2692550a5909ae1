"""Norms, rope and cache writes of torch_npu: fp32 inside, one rounding where the op rounds.

Source of the formulas: the documentation of torch_npu in Ascend/op-plugin (npu_rms_norm,
npu_interleave_rope, npu_rotary_mul, npu_kv_rmsnorm_rope_cache, npu_scatter_nd_update_).
"""

from __future__ import annotations

import torch

from double import calls


def rms(x, gamma, epsilon):
    x = x.float()
    reciprocal = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
    return x * reciprocal * gamma.float(), reciprocal


def npu_rms_norm(self, gamma, epsilon=1e-6):
    calls.note("npu_rms_norm")
    result, reciprocal = rms(self, gamma, epsilon)
    return result.to(self.dtype), reciprocal


def _rotate_half(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x.float() * cos.float() + turned.float() * sin.float()


def _deinterleave(x):
    return torch.cat([x[..., 0::2], x[..., 1::2]], dim=-1)


def npu_interleave_rope(x, cos, sin):
    """Pairs: neighbours in x, halves in the result. x: [B, N, S, 64]; cos, sin: [B, 1, S, 64]."""
    calls.note("npu_interleave_rope")
    return _rotate_half(_deinterleave(x), cos, sin).to(x.dtype)


def npu_rotary_mul(input, r1, r2, rotary_mode="half"):
    """r1 is cos, r2 is sin."""
    calls.note("npu_rotary_mul")
    if rotary_mode != "half":
        raise NotImplementedError(f"npu_rotary_mul: rotary_mode {rotary_mode}")
    return _rotate_half(input, r1, r2).to(input.dtype)


def rope_forward_triton_siso(qk, cos, sin, rope_dim=-1, is_neox_style=True):
    """vllm_ascend/ops/triton/rope.py: in place, on the first rope_dim elements of each head.

    qk: [T, heads, D]. Reads the first half of the cos and sin tables only; results keep the
    order of the pairs, halves with is_neox_style and neighbours without.
    """
    calls.note("rope_forward_triton_siso")
    half = rope_dim // 2
    cos = cos.reshape(-1, 1, cos.shape[-1])[..., :half].float()
    sin = sin.reshape(-1, 1, sin.shape[-1])[..., :half].float()
    part = qk[..., :rope_dim]
    pairs = (part[..., :half], part[..., half:])
    if not is_neox_style:
        pairs = (part[..., 0::2], part[..., 1::2])
    first, second = (pair.float() for pair in pairs)
    pairs[0].copy_(first * cos - second * sin)
    pairs[1].copy_(second * cos + first * sin)
    return qk


def write_rows(cache, slots, rows):
    """Rows of a paged cache [blocks, block, 1, D]; -1 skips a row."""
    slots = slots.reshape(-1).long()
    kept = slots >= 0
    slots, rows = slots[kept], rows.reshape(-1, rows.shape[-1])[kept]
    cache[slots // cache.shape[1], slots % cache.shape[1], 0] = rows


def npu_kv_rmsnorm_rope_cache(
    kv,
    gamma,
    cos,
    sin,
    index,
    k_cache,
    ckv_cache,
    *,
    k_rope_scale=None,
    c_kv_scale=None,
    k_rope_offset=None,
    c_kv_offset=None,
    epsilon=1e-5,
    cache_mode="Norm",
    is_output_kv=False,
):
    """kv: [B, 1, S, latent + rope] -> rope cache, latent cache, k_rope, c_kv."""
    calls.note("npu_kv_rmsnorm_rope_cache")
    if cache_mode != "PA" or c_kv_scale is not None or k_rope_scale is not None:
        raise NotImplementedError(f"npu_kv_rmsnorm_rope_cache: cache_mode {cache_mode} or scales")
    latent, rope = kv.split([gamma.shape[0], kv.shape[-1] - gamma.shape[0]], dim=-1)
    latent = rms(latent, gamma, epsilon)[0].to(kv.dtype)
    rope = _rotate_half(_deinterleave(rope), cos, sin).to(kv.dtype)
    write_rows(k_cache, index, rope)
    write_rows(ckv_cache, index, latent)
    return k_cache, ckv_cache, rope if is_output_kv else None, latent if is_output_kv else None


def npu_scatter_nd_update_(self, indices, updates):
    """self: [rows, D] with rows chosen by indices [T, 1]; negative ones are skipped."""
    calls.note("npu_scatter_nd_update_")
    rows = indices.reshape(-1).long()
    kept = rows >= 0
    self[rows[kept]] = updates.reshape(-1, self.shape[-1])[kept]
    return self


OPS = {
    f.__name__: f
    for f in (
        npu_rms_norm,
        npu_interleave_rope,
        npu_rotary_mul,
        npu_kv_rmsnorm_rope_cache,
        npu_scatter_nd_update_,
    )
}
