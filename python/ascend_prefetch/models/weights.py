"""Attention weights of one layer, as one tensor-parallel rank holds them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .dimensions import ModelDimensions


@dataclass(frozen=True)
class MlaWeights:
    """Weights of one MLA layer on one tensor-parallel rank. N is the rank's number of heads.

    Projections are in torch Linear layout [out, in]. qkv_a and the norms are replicated, the rest
    is split over heads. Without a query latent (q_lora_rank None) q_lora counts 0 rows of qkv_a,
    q_b takes hidden_size inputs and q_a_norm is None.

    Attributes:
        qkv_a: [q_lora + kv_lora + rope, hidden], q_a_proj above kv_a_proj_with_mqa.
        q_a_norm: [q_lora], or None.
        q_b: [N * (nope + rope), q_lora], per head nope then rope.
        w_uk: [N, nope, kv_lora], the key half of kv_b_proj.
        w_uv: [N, kv_lora, v], the value half of kv_b_proj, transposed.
        kv_a_norm: [kv_lora].
        o_proj: [hidden, N * v]; ranks hold columns, so their results are partial sums.
        q_a_norm_bias: [q_lora], added after q_a_norm, or None.
    """

    qkv_a: torch.Tensor
    q_a_norm: torch.Tensor | None
    q_b: torch.Tensor
    w_uk: torch.Tensor
    w_uv: torch.Tensor
    kv_a_norm: torch.Tensor
    o_proj: torch.Tensor
    q_a_norm_bias: torch.Tensor | None = None


def mla_weight_shapes(dims: ModelDimensions, tp_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in MlaWeights on each of `tp_size` ranks, by field.

    q_a_norm is absent where the model has no query latent, q_a_norm_bias is always absent.

    Raises:
        ValueError: `tp_size` does not divide the heads.
    """
    heads = dims.heads_per_rank(tp_size)
    q_lora = dims.q_lora_rank or 0
    shapes: dict[str, tuple[int, ...]] = {
        "qkv_a": (q_lora + dims.kv_lora_rank + dims.qk_rope_head_dim, dims.hidden_size),
        "q_b": (heads * dims.qk_head_dim, dims.q_lora_rank or dims.hidden_size),
        "w_uk": (heads, dims.qk_nope_head_dim, dims.kv_lora_rank),
        "w_uv": (heads, dims.kv_lora_rank, dims.v_head_dim),
        "kv_a_norm": (dims.kv_lora_rank,),
        "o_proj": (dims.hidden_size, heads * dims.v_head_dim),
    }
    if dims.q_lora_rank is not None:
        shapes["q_a_norm"] = (dims.q_lora_rank,)
    return shapes


def random_mla_weights(
    dims: ModelDimensions, tp_size: int, dtype: torch.dtype, seed: int
) -> MlaWeights:
    """Random weights of one rank, the same for the same arguments.

    Projections are normal with variance 1 / fan-in, which keeps activations of unit variance at
    unit variance; norm weights are normal around 1 with a standard deviation of 0.1. Without
    q_a_norm_bias.

    Args:
        dims: dimensions of the model.
        tp_size: tensor-parallel degree.
        dtype: floating-point dtype of every tensor.
        seed: seed of the generator.

    Raises:
        ValueError: `tp_size` does not divide the heads, or `dtype` is not floating-point.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: expected a floating-point dtype, got {dtype}")
    generator = torch.Generator().manual_seed(seed)

    def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) == 1:
            mean, std = 1.0, 0.1
        else:
            # q_nope enters w_uk and the latent enters w_uv through the middle dimension.
            fan_in = shape[1]
            mean, std = 0.0, fan_in**-0.5
        return torch.empty(shape, dtype=dtype).normal_(mean, std, generator=generator)

    tensors = {
        name: normal(name, shape) for name, shape in mla_weight_shapes(dims, tp_size).items()
    }
    return MlaWeights(**{"q_a_norm": None, **tensors})
