"""Small attention checkpoints under the names of transformers and msmodelslim, for the tests."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from ascend_prefetch.linear import Linear, W8A8Linear
from ascend_prefetch.models import (
    IndexerDimensions,
    ModelDimensions,
    indexer_weight_shapes,
    quantise_linear,
)

SMALL = ModelDimensions(
    name="small",
    hidden_size=64,
    num_heads=2,
    q_lora_rank=64,
    kv_lora_rank=64,
    qk_nope_head_dim=64,
    qk_rope_head_dim=64,
    v_head_dim=64,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="made up",
    indexer=IndexerDimensions(num_heads=16, head_dim=128, top_k=4, rope_interleaved=False),
)
"""The smallest sizes that the ops take, with an indexer."""

ODD = ModelDimensions(
    name="small",
    hidden_size=48,
    num_heads=4,
    q_lora_rank=24,
    kv_lora_rank=16,
    qk_nope_head_dim=10,
    qk_rope_head_dim=6,
    v_head_dim=14,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="made up",
)
"""Sizes of which no two are equal: a loader that takes one for another is noticed."""


def layer_tensors(name: str, layer: Linear) -> dict[str, torch.Tensor]:
    """A linear layer as a checkpoint stores it: int8 layers the way msmodelslim writes them."""
    if not isinstance(layer, W8A8Linear):
        return {f"{name}.weight": layer}
    tensors = {f"{name}.weight": layer.weight.T.contiguous()}
    if layer.input_scale is None:
        tensors[f"{name}.weight_scale"] = layer.dequant_scale.unsqueeze(1)
        tensors[f"{name}.weight_offset"] = torch.zeros(len(layer.dequant_scale), 1)
        return tensors
    tensors[f"{name}.deq_scale"] = layer.dequant_scale
    for part in ("input_scale", "input_offset", "quant_bias"):
        tensors[f"{name}.{part}"] = getattr(layer, part)
    return tensors


def save_attention(directory: Path, dims: ModelDimensions, quant: str, seed: int) -> None:
    """Writes layer 0's attention, random and scaled by fan-in, with the indexer if there is one.

    Args:
        directory: where model.safetensors goes.
        dims: a model with a query latent.
        quant: of the linear layers that can be int8, see quantise_linear.
        seed: seed of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    rope, kv_lora, heads = dims.qk_rope_head_dim, dims.kv_lora_rank, dims.num_heads
    assert dims.q_lora_rank is not None
    linears = {
        "q_a_proj": (dims.q_lora_rank, dims.hidden_size),
        "kv_a_proj_with_mqa": (kv_lora + rope, dims.hidden_size),
        "q_b_proj": (heads * dims.qk_head_dim, dims.q_lora_rank),
        "o_proj": (dims.hidden_size, heads * dims.v_head_dim),
    }
    matrices = {"kv_b_proj": (heads * (dims.qk_nope_head_dim + dims.v_head_dim), kv_lora)}
    vectors = {"q_a_layernorm.weight": dims.q_lora_rank, "kv_a_layernorm.weight": kv_lora}
    if dims.indexer is not None:
        shapes = indexer_weight_shapes(dims)
        linears["indexer.wq_b"] = shapes["wq_b"]
        matrices |= {f"indexer.{name}": shapes[name] for name in ("wk", "weights_proj")}
        vectors["indexer.k_norm.weight"] = vectors["indexer.k_norm.bias"] = dims.indexer.head_dim

    def matrix(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape).normal_(std=shape[1] ** -0.5, generator=generator).bfloat16()

    tensors: dict[str, torch.Tensor] = {}
    for name, shape in linears.items():
        tensors |= layer_tensors(name, quantise_linear(matrix(shape), quant))
    for name, shape in matrices.items():
        tensors[f"{name}.weight"] = matrix(shape)
    for name, size in vectors.items():
        tensors[name] = torch.empty(size).normal_(1.0, 0.1, generator=generator).bfloat16()
    prefix = "model.layers.0.self_attn."
    named = {prefix + name: tensor for name, tensor in tensors.items()}
    save_file(named, directory / "model.safetensors")
