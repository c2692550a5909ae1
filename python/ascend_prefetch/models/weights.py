"""Attention weights of one layer, as one tensor-parallel rank holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from ascend_prefetch.linear import Linear, quant_arguments, stored_weight

from .dimensions import IndexerDimensions, ModelDimensions


@dataclass(frozen=True)
class MlaWeights:
    """Weights of one MLA layer on one tensor-parallel rank. N is the rank's number of heads.

    Projections are in torch Linear layout [out, in]; qkv_a, q_b and o_proj may be W8A8 layers of
    that shape instead. qkv_a and the norms are replicated, the rest is split over heads. Without
    a query latent (q_lora_rank is None) q_lora is 0, q_b takes hidden_size inputs and q_a_norm is
    None.

    Attributes:
        qkv_a: [q_lora + kv_lora + rope, hidden], q_a_proj above kv_a_proj_with_mqa.
        q_a_norm: [q_lora], or None.
        q_b: [N * (nope + rope), q_lora], per head nope then rope.
        w_uk: [N, nope, kv_lora], the key half of kv_b_proj.
        w_uv: [N, kv_lora, v], the value half of kv_b_proj, transposed.
        kv_a_norm: [kv_lora].
        o_proj: [hidden, N * v]; ranks hold columns, so their results are partial sums.
        q_a_norm_bias: [q_lora], added after q_a_norm, or None.
        kv_a_norm_bias: [kv_lora], added after kv_a_norm, or None.
        kv_cache_scale: [1] float32, the argument of that name beside an int8 kv_cache; of C8
            checkpoints, else None. The other methods leave it out, as a cache may be 16-bit still.
    """

    qkv_a: Linear
    q_a_norm: torch.Tensor | None
    q_b: Linear
    w_uk: torch.Tensor
    w_uv: torch.Tensor
    kv_a_norm: torch.Tensor
    o_proj: Linear
    q_a_norm_bias: torch.Tensor | None = None
    kv_a_norm_bias: torch.Tensor | None = None
    kv_cache_scale: torch.Tensor | None = None

    def prolog_layers(self) -> dict[str, Any]:
        """The prolog's layers by argument name, as the references take them: W8A8 as objects."""
        return {
            "qkv_a_weight": self.qkv_a,
            "q_a_norm_weight": self.q_a_norm,
            "q_b_weight": self.q_b,
            "w_uk": self.w_uk,
            "kv_a_norm_weight": self.kv_a_norm,
            "q_a_norm_bias": self.q_a_norm_bias,
            "kv_a_norm_bias": self.kv_a_norm_bias,
        }

    def prolog_arguments(self) -> dict[str, Any]:
        """The weight arguments of mla_prolog and sfa_prolog by name, all of them tensors."""
        return {
            **self.prolog_layers(),
            "qkv_a_weight": stored_weight(self.qkv_a),
            "q_b_weight": stored_weight(self.q_b),
            **quant_arguments(self.qkv_a, "qkv_a_"),
            **quant_arguments(self.q_b, "q_b_"),
        }

    def o_proj_arguments(self) -> dict[str, Any]:
        """The weight arguments of o_proj by name, all of them tensors."""
        return {
            "o_proj_weight": stored_weight(self.o_proj),
            "w_uv": self.w_uv,
            **quant_arguments(self.o_proj),
        }


@dataclass(frozen=True)
class IndexerWeights:
    """Weights of one layer's indexer, the same on every tensor-parallel rank.

    Hi counts indexer heads of Di elements.

    Attributes:
        wq_b: [Hi * Di, q_lora], or a W8A8 layer of that shape.
        wk: [Di, hidden]; or [Di + Hi, hidden] with the rows of weights_proj below those of wk.
        k_norm: [Di] float32, weight of the LayerNorm.
        k_norm_bias: [Di] float32.
        weights_proj: [Hi, hidden], or None where wk holds it.
    """

    wq_b: Linear
    wk: torch.Tensor
    k_norm: torch.Tensor
    k_norm_bias: torch.Tensor
    weights_proj: torch.Tensor | None

    def layers(self) -> dict[str, Any]:
        """The layers by argument name, W8A8 ones as objects, as the reference takes them."""
        return {
            "indexer_wq_b": self.wq_b,
            "indexer_wk": self.wk,
            "indexer_k_norm_weight": self.k_norm,
            "indexer_k_norm_bias": self.k_norm_bias,
            "indexer_weights_proj": self.weights_proj,
        }

    def arguments(self) -> dict[str, Any]:
        """The weight arguments of sfa_prolog by name, all of them tensors."""
        return {
            **self.layers(),
            "indexer_wq_b": stored_weight(self.wq_b),
            **quant_arguments(self.wq_b, "indexer_wq_b_"),
        }

    def fused(self) -> IndexerWeights:
        """The same weights with weights_proj in wk, as vllm 0.23 stores them."""
        if self.weights_proj is None:
            return self
        wk = torch.cat([self.wk, self.weights_proj])
        return replace(self, wk=wk, weights_proj=None)


def mla_weight_shapes(dims: ModelDimensions, tp_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in MlaWeights on each of `tp_size` ranks, by field.

    q_a_norm is absent where the model has no query latent; biases of norms are always absent.

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
    """Random weights of one rank; equal arguments give equal weights.

    Projections are normal with variance 1 / fan-in, which preserves the unit variance of
    activations. Norm weights are normal around 1 with a standard deviation of 0.1; norms have no
    biases.

    Args:
        dims: dimensions of the model.
        tp_size: tensor-parallel degree.
        dtype: floating-point dtype of every tensor.
        seed: seed of the generator.

    Raises:
        ValueError: `tp_size` does not divide the heads, or `dtype` is not floating-point.
    """
    _check_floating_point(dtype)
    generator = torch.Generator().manual_seed(seed)

    def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) == 1:
            mean, std = 1.0, 0.1
        else:
            # The middle dimension is summed over: of q_nope for w_uk, of the latent for w_uv.
            fan_in = shape[1]
            mean, std = 0.0, fan_in**-0.5
        return torch.empty(shape, dtype=dtype).normal_(mean, std, generator=generator)

    tensors: dict[str, Any] = {
        name: normal(name, shape) for name, shape in mla_weight_shapes(dims, tp_size).items()
    }
    return MlaWeights(**{"q_a_norm": None, **tensors})


def indexer_weight_shapes(dims: ModelDimensions) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in IndexerWeights, unfused, by field.

    Raises:
        ValueError: the model has no indexer.
    """
    indexer = _indexer_of(dims)
    assert dims.q_lora_rank is not None
    return {
        "wq_b": (indexer.num_heads * indexer.head_dim, dims.q_lora_rank),
        "wk": (indexer.head_dim, dims.hidden_size),
        "k_norm": (indexer.head_dim,),
        "k_norm_bias": (indexer.head_dim,),
        "weights_proj": (indexer.num_heads, dims.hidden_size),
    }


def random_indexer_weights(dims: ModelDimensions, dtype: torch.dtype, seed: int) -> IndexerWeights:
    """Random indexer weights, scaled as in random_mla_weights; equal arguments give equal weights.

    Raises:
        ValueError: the model has no indexer, or `dtype` is not floating-point.
    """
    _check_floating_point(dtype)
    generator = torch.Generator().manual_seed(seed)
    means = {"k_norm": 1.0, "k_norm_bias": 0.0}

    def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if name in means:
            return torch.empty(shape).normal_(means[name], 0.1, generator=generator)
        return torch.empty(shape, dtype=dtype).normal_(0.0, shape[1] ** -0.5, generator=generator)

    shapes = indexer_weight_shapes(dims)
    return IndexerWeights(**{name: normal(name, shape) for name, shape in shapes.items()})


def _indexer_of(dims: ModelDimensions) -> IndexerDimensions:
    if dims.indexer is None:
        raise ValueError(f"model: expected one with an indexer, got {dims.name!r}")
    return dims.indexer


def _check_floating_point(dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: expected a floating-point dtype, got {dtype}")
