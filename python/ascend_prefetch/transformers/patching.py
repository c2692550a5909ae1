"""Installs OpAttention in the attention modules of a model, and removes it again."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from .attention import ATTENTIONS, OpAttention
from .cache import BLOCK_SIZE, check_cache_classes
from .families import Family, class_of, language_model
from .parts import check_parts, parts_of
from .signatures import WRITTEN_FOR, check_signature, configuration_keys, rotations
from .weights import AttentionModule

logger = logging.getLogger(__name__)

_DTYPES = (torch.bfloat16, torch.float16)
_DEVICES = ("cpu", "npu", "meta")
# Tensors that transformers may keep in float32 in a 16-bit model; AttentionWeights converts them.
_CONVERTED = ("indexer.weights_proj.weight", "indexer.k_norm.weight", "indexer.k_norm.bias")
_ROPE = 64  # elements per head, the only size that the ops rotate


def patch(model: PreTrainedModel) -> PreTrainedModel:
    """Makes every attention layer of a model call the ops, for inference.

    model.generate and plain forward passes still work, with left padding, beams, torch.compile and
    several calls on one DynamicCache, whose layers become PagedLatentLayer. Each layer additionally
    holds copies of qkv_a and kv_b_proj. The copies follow weights that are replaced, moved or
    written to, but not writes through `.data`, which leave no trace: call patch again after those.
    An adapter, a hook or another forward that is later put around a projection is refused by the
    next call.

    It works with transformers 5.23 and 5.24, and with other releases whose code has the same
    signatures: the parameters of attention, its call in the decoder layer, the configuration keys
    that attention reads and the methods of cache layers are compared with the known ones.

    Args:
        model: of one of families.FAMILIES, with or without a head, or one whose language model is,
            such as Kimi-K2.5; bfloat16 or float16, on CPU or NPU.

    Returns:
        The same model.

    Raises:
        TypeError: the model, its attention implementation, a layer or the release of transformers
            is not supported. Nothing is patched then.
        ValueError: a dtype, device, bias, size or tensor is not supported. Nothing is patched then.
    """
    base, package, family = language_model(model)
    _check_upstream(package, family)
    _check_configuration(type(model).__name__, base.config, family)
    norm = class_of(package, family, "RMSNorm")
    indexer = class_of(package, family, "Indexer") if family.has_indexer else None
    parts = parts_of(norm, indexer)
    patched = []
    for index, decoder in enumerate(base.layers):
        if _has_other(decoder, package, family):
            continue
        where = f"layer {index}"
        expected = class_of(package, family, "DecoderLayer")
        if type(decoder) is not expected:
            raise TypeError(f"{where}: expected {expected.__name__}, got {type(decoder).__name__}")
        for sublayer, module in enumerate(family.attentions(decoder)):
            # Of several attentions in a layer, the index that they have themselves, and in caches.
            where = f"layer {module.layer_idx if family.sublayers > 1 else index}"
            _check(where, module, class_of(package, family, family.suffix), parts)
            behind = family.behind(decoder, sublayer)
            patched.append(OpAttention(module, behind, parts, family))
    for attention in patched:
        try:
            _dry_run(attention)
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            where = f"layer {attention.module.layer_idx}"
            raise ValueError(f"{where}: the ops refuse it: {reason}") from error
    for attention in patched:
        attention.module.forward = attention
    for attention, following in zip(patched, patched[1:], strict=False):
        if following.module.layer_idx == attention.module.layer_idx + 1:
            attention.next = following
    logger.info(
        "%s: the ops are in %d layers of transformers %s; they were put in for %s, and another is "
        "used where its signatures are the same",
        type(model).__name__,
        len(patched),
        transformers.__version__,
        WRITTEN_FOR,
    )
    return model


def unpatch(model: PreTrainedModel) -> PreTrainedModel:
    """Gives every attention layer its own forward back.

    The unpatched model cannot use caches that the patched model filled. Unpatching a model that is
    not patched changes nothing.

    Args:
        model: as for patch.

    Returns:
        The same model.

    Raises:
        TypeError: the model is not supported, or a forward has since been replaced by one that
            calls the patched one. Nothing is unpatched then.
    """
    base, _, family = language_model(model)
    patched = []
    modules = [module for decoder in base.layers for module in family.attentions(decoder)]
    for index, module in enumerate(modules):
        attributes = vars(module)
        for name, value in attributes.items():
            if isinstance(value, OpAttention) and name != "forward":
                raise TypeError(
                    f"layer {index}: the patched forward was replaced and is kept as {name}: take "
                    "out first what did that"
                )
        if "forward" in attributes and isinstance(attributes["forward"], OpAttention):
            patched.append(module)
    for module in patched:
        del module.forward
    return model


def _has_other(decoder: Any, package: str, family: Family) -> bool:
    """Whether a decoder layer has something else in place of the attention that the ops compute."""
    if family.other_suffix is None:
        return False
    return type(decoder.self_attn) is class_of(package, family, family.other_suffix)


def _check_upstream(package: str, family: Family) -> None:
    """Refuses a release of transformers whose code differs from what the ops replace."""
    attention = class_of(package, family, family.suffix)
    decoder = class_of(package, family, "DecoderLayer")
    results = 3 if family.shares_selections else 2
    check_signature(
        attention, decoder, results, family.leading, all_alike=family.other_suffix is None
    )
    check_cache_classes()
    expected = {attention: family.rotations}
    if family.has_indexer:
        expected[class_of(package, family, "Indexer")] = family.indexer_rotations
    here = f"transformers {transformers.__version__}; the ops were put in for {WRITTEN_FOR}"
    read = configuration_keys(*expected)
    if read is not None and (unknown := sorted(read - family.keys)):
        raise TypeError(
            f"{attention.__name__}: reads {', '.join(unknown)} of the configuration, which "
            f"is not known, {here}"
        )
    for module, functions in expected.items():
        called = rotations(module)
        if called is not None and called != functions:
            raise TypeError(
                f"{module.__name__}: expected rope by {', '.join(sorted(functions)) or 'nothing'}, "
                f"found {', '.join(sorted(called)) or 'none'}, {here}"
            )


def _check_configuration(name: str, config: Any, family: Family) -> None:
    if config._attn_implementation not in ATTENTIONS:
        raise TypeError(
            f"{name}: expected attention implementation {' or '.join(ATTENTIONS)}, got "
            f"{config._attn_implementation}"
        )
    if config.attention_bias:
        raise ValueError(f"{name}: expected attention_bias False, got True")
    # transformers' mask code reads is_causal, which no configuration sets by default.
    if hasattr(config, "is_causal") and not config.is_causal:
        raise ValueError(f"{name}: expected is_causal True, got {config.is_causal}")
    if family.scales_queries:
        for key in ("llama_4_scaling_beta", "original_max_position_embeddings"):
            value = config.rope_parameters.get(key)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(
                    f"{name}: expected a number as rope_parameters' {key}, by which attention "
                    f"scales queries, got {value!r}"
                )


def _check(where: str, module: Any, attention: type[Any], parts: dict[str, type]) -> None:
    """Refuses attention that computes something else than the ops."""
    if type(module) is not attention:
        raise TypeError(f"{where}: expected {attention.__name__}, got {type(module).__name__}")
    if "forward" in vars(module) and not isinstance(module.forward, OpAttention):
        raise TypeError(f"{where}: expected the forward of its class, got one that replaces it")
    check_parts(where, module, parts)
    if module.qk_rope_head_dim != _ROPE:
        raise ValueError(
            f"{where}: expected qk_rope_head_dim {_ROPE}, got {module.qk_rope_head_dim}"
        )
    if module.qk_head_dim != module.qk_nope_head_dim + _ROPE:
        raise ValueError(
            f"{where}: expected qk_head_dim {module.qk_nope_head_dim + _ROPE}, the sum of its two "
            f"parts, got {module.qk_head_dim}"
        )
    if module.num_key_value_groups != 1:
        raise ValueError(
            f"{where}: expected as many num_key_value_heads as num_attention_heads, "
            f"got {module.num_key_value_groups} times fewer"
        )
    _check_dtypes(where, module)
    weight = module.o_proj.weight
    if weight.device.type not in _DEVICES:
        raise ValueError(f"{where}: expected weights on CPU or NPU, got {weight.device}")
    norms = [module.kv_a_layernorm]
    if module.q_lora_rank is not None:
        norms.append(module.q_a_layernorm)
    epsilons = {norm.variance_epsilon for norm in norms}
    if len(epsilons) > 1:
        raise ValueError(f"{where}: expected norms with one epsilon, got {sorted(epsilons)}")


def _check_dtypes(where: str, module: AttentionModule) -> None:
    """Refuses weights of several dtypes, or of one that the ops do not support."""
    dtype = module.o_proj.weight.dtype
    if dtype not in _DTYPES:
        raise ValueError(
            f"{where}: expected bfloat16 or float16 weights, got o_proj.weight of {dtype}: load "
            "the model with dtype=torch.bfloat16"
        )
    for name, weight in module.named_parameters():
        taken = (dtype, torch.float32) if name in _CONVERTED else (dtype,)
        if weight.dtype not in taken:
            raise ValueError(
                f"{where}: expected {name} of {' or '.join(map(str, taken))}, as o_proj.weight is "
                f"of {dtype}, got {weight.dtype}"
            )


def _dry_run(attention: OpAttention) -> None:
    """Runs one meta token through both ops, so that they check all sizes."""
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
    """A dataclass of tensors moved to the meta device; None stays None."""
    if weights is None:
        return None
    tensors = {
        name: tensor.to("meta") for name, tensor in vars(weights).items() if tensor is not None
    }
    return dataclasses.replace(weights, **tensors)
