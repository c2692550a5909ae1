"""Puts OpAttention into the attention modules of a model, and takes it out again."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek_v3
from transformers.models.deepseek_v32 import modeling_deepseek_v32 as deepseek_v32
from transformers.models.glm_moe_dsa import modeling_glm_moe_dsa as glm_moe_dsa

from .attention import OpAttention
from .cache import BLOCK_SIZE

_DTYPES = (torch.bfloat16, torch.float16)
_DEVICES = ("cpu", "npu", "meta")
_ATTENTIONS = ("eager", "sdpa")
_ROPE = 64  # elements per head, the only size that the ops rotate


class _Family(NamedTuple):
    """What sets a family of models apart.

    Attributes:
        attention: class of its attention modules.
        indexer_rope_interleaved: how its indexer pairs elements for rope; without meaning where
            there is none.
        returns_selection: whether attention returns its top-k selection.
    """

    attention: type[Any]
    indexer_rope_interleaved: bool
    returns_selection: bool


_FAMILIES: dict[type[PreTrainedModel], _Family] = {
    deepseek_v3.DeepseekV3Model: _Family(deepseek_v3.DeepseekV3Attention, False, False),
    deepseek_v32.DeepseekV32Model: _Family(deepseek_v32.DeepseekV32Attention, False, False),
    glm_moe_dsa.GlmMoeDsaModel: _Family(glm_moe_dsa.GlmMoeDsaAttention, True, True),
}


def patch(model: PreTrainedModel) -> PreTrainedModel:
    """Makes every attention layer of a model call the ops, for inference.

    model.generate and plain forward passes go on working, with left padding, beams and several
    calls on one DynamicCache, whose layers become PagedLatentLayer. Beside the model, each layer
    then holds a second qkv_a and kv_b_proj. They follow weights that are replaced, moved or written
    to, except through `.data`, which leaves no trace: patch again then.

    Args:
        model: DeepseekV3, DeepseekV32 or GlmMoeDsa, with or without a head; bfloat16 or float16, on
            CPU or NPU.

    Returns:
        The same model.

    Raises:
        TypeError: a model, attention implementation or layer that is not supported.
        ValueError: a dtype, device, bias or size that is not supported. Nothing is patched then.
    """
    base, family = _supported(model)
    config = base.config
    if config._attn_implementation not in _ATTENTIONS:
        raise TypeError(
            f"{type(model).__name__}: expected attention implementation eager or sdpa, got "
            f"{config._attn_implementation}"
        )
    if config.attention_bias:
        raise ValueError(f"{type(model).__name__}: expected attention_bias False, got True")
    patched = [
        OpAttention(
            decoder.self_attn,
            decoder.mlp,
            family.indexer_rope_interleaved,
            family.returns_selection,
        )
        for decoder in base.layers
    ]
    for attention in patched:
        _check(attention, family)
    for attention in patched:
        attention.module.forward = attention
    for attention, following in zip(patched, patched[1:], strict=False):
        attention.next = following
    return model


def unpatch(model: PreTrainedModel) -> PreTrainedModel:
    """Gives every attention layer its own forward back.

    Caches that the patched model filled are of no use to it. Unpatching a model that is not
    patched changes nothing.

    Args:
        model: as for patch.

    Returns:
        The same model.

    Raises:
        TypeError: a model that is not supported.
    """
    base, _ = _supported(model)
    for decoder in base.layers:
        if isinstance(decoder.self_attn.__dict__.get("forward"), OpAttention):
            del decoder.self_attn.forward
    return model


def _supported(model: PreTrainedModel) -> tuple[Any, _Family]:
    base = getattr(model, "base_model", model)
    family = _FAMILIES.get(type(base))
    if family is None:
        names = ", ".join(known.__name__.removesuffix("Model") for known in _FAMILIES)
        raise TypeError(f"model: expected one of {names}, got {type(model).__name__}")
    return base, family


def _check(attention: OpAttention, family: _Family) -> None:
    """Refuses a layer that the ops cannot run: the last word have the ops, on meta tensors."""
    module = attention.module
    where = f"layer {module.layer_idx}"
    if type(module) is not family.attention:
        raise TypeError(f"{where}: expected {family.attention.__name__}, got {type(module)}")
    if not isinstance(module.__dict__.get("forward", attention), OpAttention):
        raise TypeError(f"{where}: expected the forward of its class, got one that replaces it")
    for name, part in module.named_modules():
        if name.endswith(("_proj", "_with_mqa", "wq_b", "wk")) and type(part) is not nn.Linear:
            raise TypeError(f"{where}: expected {name} to be Linear, got {type(part).__name__}")
    if module.qk_rope_head_dim != _ROPE:
        raise ValueError(
            f"{where}: expected qk_rope_head_dim {_ROPE}, got {module.qk_rope_head_dim}"
        )
    weight = module.o_proj.weight
    if weight.dtype not in _DTYPES:
        raise ValueError(
            f"{where}: expected bfloat16 or float16 weights, got {weight.dtype}: load the model "
            "with dtype=torch.bfloat16"
        )
    if weight.device.type not in _DEVICES:
        raise ValueError(f"{where}: expected weights on CPU or NPU, got {weight.device}")
    norms = [module.kv_a_layernorm]
    if module.q_lora_rank is not None:
        norms.append(module.q_a_layernorm)
    epsilons = {norm.variance_epsilon for norm in norms}
    if len(epsilons) > 1:
        raise ValueError(f"{where}: expected norms with one epsilon, got {sorted(epsilons)}")
    try:
        _dry_run(attention)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{where}: the ops refuse its sizes: {reason}") from error


def _dry_run(attention: OpAttention) -> None:
    """One token through both ops without data."""
    module = attention.module
    weights, indexer = map(_on_meta, attention.weights.packed())
    hidden = weights.qkv_a.new_empty(1, module.hidden_size)
    rope = module.qk_rope_head_dim
    table = hidden.new_empty(1, rope)
    caches = {"kv_cache": hidden.new_empty(1, BLOCK_SIZE, 1, module.kv_lora_rank + rope)}
    if indexer is not None:
        caches["indexer_cache"] = hidden.new_empty(1, BLOCK_SIZE, 1, indexer.k_norm.numel())
    slots = torch.zeros(1, dtype=torch.int64, device="meta")
    q_nope, *_ = attention.prolog_op(hidden, table, table, slots, caches, weights, indexer, 0)
    attention.o_proj_op(q_nope, weights)


def _on_meta(weights: Any) -> Any:
    """A dataclass of tensors, or None, without data."""
    if weights is None:
        return None
    tensors = {
        name: tensor.to("meta") for name, tensor in vars(weights).items() if tensor is not None
    }
    return dataclasses.replace(weights, **tensors)
