"""The ops of torch.ops.ascend_prefetch with their documentation.

The functions here forward to the registered ops and add nothing; call either.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def mla_prolog(
    hidden_states: torch.Tensor,
    qkv_a_weight: torch.Tensor,
    q_a_norm_weight: torch.Tensor,
    q_b_weight: torch.Tensor,
    w_uk: torch.Tensor,
    kv_a_norm_weight: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    slot_mapping: torch.Tensor,
    kv_cache: torch.Tensor,
    rope_cache: torch.Tensor,
    *,
    q_a_norm_bias: torch.Tensor | None = None,
    eps: float = 1e-6,
    rope_interleaved: bool = True,
    prefetch: Sequence[torch.Tensor] | None = None,
    prefetch_bytes: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """MLA projections of decode tokens in one kernel, with the paged cache write.

    T counts tokens (1 to 8192), N the heads of this tensor-parallel rank. All tensors are on one
    device; dtypes are those of hidden_states (bfloat16 or float16) unless said otherwise. Dense
    tensors are contiguous. The kernel rounds q_c and the queries to that dtype between its
    matrix products and accumulates them in fp32.

    Weights are in torch Linear layout [out, in] or in FRACTAL_NZ (see ascend_prefetch.packing),
    told apart by their rank.

    While its own dependencies leave vector cores waiting, the kernel loads the weights it reads
    next (q_b, w_uk) and then `prefetch` into L2. This changes no result and no tensor.

    Args:
        hidden_states: [T, hidden]; hidden is a multiple of 16.
        qkv_a_weight: [q_lora + kv_lora + 64, hidden], or NZ [hidden / 16, rows, 16].
        q_a_norm_weight: [q_lora]; q_lora is a multiple of 64, at most 4096.
        q_b_weight: [N * (nope + 64), q_lora], or NZ [q_lora / 16, rows, 16]; nope is a multiple
            of 16.
        w_uk: [N, nope, kv_lora], or NZ [N, kv_lora / 16, nope, 16].
        kv_a_norm_weight: [kv_lora]; kv_lora is a multiple of 64, at most 4096.
        cos: [T, 64], float32 or the dtype of hidden_states.
        sin: [T, 64], the dtype of cos.
        slot_mapping: [T] int32 or int64; slot s is row s % block_size of block s // block_size,
            -1 skips the token's cache rows. Other slots must be distinct.
        kv_cache: [blocks, block_size, 1, kv_lora], written in place; dimension 0 may be strided.
        rope_cache: [blocks, block_size, 1, 64], likewise.
        q_a_norm_bias: [q_lora], added after the query norm.
        eps: epsilon of both RMS norms.
        rope_interleaved: True where the projections yield rope pairs as neighbours (DeepSeek),
            False where they yield two halves. Results are half-split either way.
        prefetch: up to 8 weights that are needed next, in the order of need; any dtype.
        prefetch_bytes: how much to prefetch in all, in bytes; 0 for nothing. By default what HBM
            has left while the kernel's own weights stream.

    Returns:
        q_nope [T, N, kv_lora], the absorbed queries; q_rope [T, N, 64]; q_c [T, q_lora], the
        normed query latent.

    Raises:
        RuntimeError: rank, shape, dtype, device, strides of an argument; nothing is written.
        ValueError: an argument out of range (tokens, slots, eps, prefetch_bytes, ranks, strides
            that the hardware's fields cannot hold); nothing is written.
    """
    return torch.ops.ascend_prefetch.mla_prolog(
        hidden_states,
        qkv_a_weight,
        q_a_norm_weight,
        q_b_weight,
        w_uk,
        kv_a_norm_weight,
        cos,
        sin,
        slot_mapping,
        kv_cache,
        rope_cache,
        q_a_norm_bias=q_a_norm_bias,
        eps=eps,
        rope_interleaved=rope_interleaved,
        prefetch=prefetch,
        prefetch_bytes=prefetch_bytes,
    )
