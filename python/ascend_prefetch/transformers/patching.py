"""Installs OpAttention in the attention modules of a model, and removes it again."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, NamedTuple

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek_v3
from transformers.models.deepseek_v32 import modeling_deepseek_v32 as deepseek_v32
from transformers.models.glm_moe_dsa import modeling_glm_moe_dsa as glm_moe_dsa

from .attention import ATTENTIONS, OpAttention
from .cache import BLOCK_SIZE, check_cache_classes
from .parts import check_parts, parts_of
from .signatures import WRITTEN_FOR, check_signature, configuration_keys, rotations
from .weights import AttentionModule

logger = logging.getLogger(__name__)

_DTYPES = (torch.bfloat16, torch.float16)
_DEVICES = ("cpu", "npu", "meta")
# Tensors that transformers may keep in float32 in a 16-bit model; AttentionWeights converts them.
_CONVERTED = ("indexer.weights_proj.weight", "indexer.k_norm.weight", "indexer.k_norm.bias")
_ROPE = 64  # elements per head, the only size that the ops rotate

_HALVES = "apply_rotary_pos_emb"
_NEIGHBOURS = "apply_rotary_pos_emb_interleave"

# Configuration keys that the attention of every family reads. Except for those that _check and
# OpAttention name, they determine tensor sizes and module attributes, which are read instead.
_KEYS = frozenset(
    {
        "_attn_implementation",
        "attention_bias",
        "attention_dropout",
        "hidden_size",
        "kv_lora_rank",
        "num_attention_heads",
        "num_key_value_heads",
        "q_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "rope_parameters",
        "v_head_dim",
    }
)
_INDEXER_KEYS = frozenset({"index_head_dim", "index_n_heads", "index_topk"})


class _Family(NamedTuple):
    """The properties of a family of models.

    Attributes:
        attention: class of its attention modules.
        decoder: class of the layers that call them.
        norm: class of the norms of the latents.
        keys: keys of the configuration that its attention reads.
        rotations: functions by which attention applies rope. If there are two, the configuration's
            key rope_interleave chooses between them.
        indexer: class of its indexer, None for dense attention.
        indexer_rotations: functions by which the indexer applies rope.
        shares_selections: whether attention takes and returns top-k selections.
    """

    attention: type[Any]
    decoder: type[Any]
    norm: type[Any]
    keys: frozenset[str]
    rotations: frozenset[str]
    indexer: type[Any] | None = None
    indexer_rotations: frozenset[str] = frozenset()
    shares_selections: bool = False


_FAMILIES: dict[type[nn.Module], _Family] = {
    deepseek_v3.DeepseekV3Model: _Family(
        attention=deepseek_v3.DeepseekV3Attention,
        decoder=deepseek_v3.DeepseekV3DecoderLayer,
        norm=deepseek_v3.DeepseekV3RMSNorm,
        keys=_KEYS | {"rope_interleave"},
        rotations=frozenset({_HALVES, _NEIGHBOURS}),
    ),
    deepseek_v32.DeepseekV32Model: _Family(
        attention=deepseek_v32.DeepseekV32Attention,
        decoder=deepseek_v32.DeepseekV32DecoderLayer,
        norm=deepseek_v32.DeepseekV32RMSNorm,
        keys=_KEYS | _INDEXER_KEYS,
        rotations=frozenset({_NEIGHBOURS}),
        indexer=deepseek_v32.DeepseekV32Indexer,
        indexer_rotations=frozenset({_HALVES}),
    ),
    glm_moe_dsa.GlmMoeDsaModel: _Family(
        attention=glm_moe_dsa.GlmMoeDsaAttention,
        decoder=glm_moe_dsa.GlmMoeDsaDecoderLayer,
        norm=glm_moe_dsa.GlmMoeDsaRMSNorm,
        keys=_KEYS | _INDEXER_KEYS | {"indexer_types"},
        rotations=frozenset({_NEIGHBOURS}),
        indexer=glm_moe_dsa.GlmMoeDsaIndexer,
        indexer_rotations=frozenset({_NEIGHBOURS}),
        shares_selections=True,
    ),
}


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
        model: DeepseekV3, DeepseekV32 or GlmMoeDsa, with or without a head; bfloat16 or float16, on
            CPU or NPU.

    Returns:
        The same model.

    Raises:
        TypeError: the model, its attention implementation, a layer or the release of transformers
            is not supported. Nothing is patched then.
        ValueError: a dtype, device, bias, size or tensor is not supported. Nothing is patched then.
    """
    base, family = _supported(model)
    _check_upstream(family)
    _check_configuration(type(model).__name__, base.config)
    parts = parts_of(family.norm, family.indexer)
    patched = []
    for index, decoder in enumerate(base.layers):
        _check(f"layer {index}", decoder, family, parts)
        patched.append(
            OpAttention(
                decoder.self_attn,
                decoder.mlp,
                parts,
                rope_interleaved=_interleaved(family.rotations, base.config),
                indexer_rope_interleaved=_interleaved(family.indexer_rotations, base.config),
                shares_selections=family.shares_selections,
            )
        )
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
    base, _ = _supported(model)
    patched = []
    for index, decoder in enumerate(base.layers):
        attributes = vars(decoder.self_attn)
        for name, value in attributes.items():
            if isinstance(value, OpAttention) and name != "forward":
                raise TypeError(
                    f"layer {index}: the patched forward was replaced and is kept as {name}: take "
                    "out first what did that"
                )
        if "forward" in attributes and isinstance(attributes["forward"], OpAttention):
            patched.append(decoder.self_attn)
    for module in patched:
        del module.forward
    return model


def _supported(model: PreTrainedModel) -> tuple[Any, _Family]:
    # Models of adapter libraries have a base_model too, namely the model with adapters in it.
    base = model.base_model if isinstance(model, PreTrainedModel) else model
    family = _FAMILIES.get(type(base))
    if family is None:
        names = ", ".join(known.__name__.removesuffix("Model") for known in _FAMILIES)
        raise TypeError(f"model: expected one of {names}, got {type(model).__name__}")
    return base, family


def _check_upstream(family: _Family) -> None:
    """Refuses a release of transformers whose code differs from what the ops replace."""
    check_signature(family.attention, family.decoder, 3 if family.shares_selections else 2)
    check_cache_classes()
    indexer = [] if family.indexer is None else [family.indexer]
    here = f"transformers {transformers.__version__}; the ops were put in for {WRITTEN_FOR}"
    read = configuration_keys(family.attention, *indexer)
    if read is not None and (unknown := sorted(read - family.keys)):
        raise TypeError(
            f"{family.attention.__name__}: reads {', '.join(unknown)} of the configuration, which "
            f"is not known, {here}"
        )
    expected = {family.attention: family.rotations}
    if family.indexer is not None:
        expected[family.indexer] = family.indexer_rotations
    for module, functions in expected.items():
        called = rotations(module)
        if called is not None and called != functions:
            raise TypeError(
                f"{module.__name__}: expected rope by {', '.join(sorted(functions))}, found "
                f"{', '.join(sorted(called)) or 'none'}, {here}"
            )


def _interleaved(functions: frozenset[str], config: Any) -> bool:
    """Whether rope pairs neighbouring elements, according to the family's own code."""
    return bool(config.rope_interleave) if len(functions) > 1 else functions == {_NEIGHBOURS}


def _check_configuration(name: str, config: Any) -> None:
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


def _check(where: str, decoder: Any, family: _Family, parts: dict[str, type]) -> None:
    """Refuses a layer that computes something else than the ops."""
    module = decoder.self_attn
    for part, kind in ((decoder, family.decoder), (module, family.attention)):
        if type(part) is not kind:
            raise TypeError(f"{where}: expected {kind.__name__}, got {type(part).__name__}")
    if "forward" in vars(module) and not isinstance(module.forward, OpAttention):
        raise TypeError(f"{where}: expected the forward of its class, got one that replaces it")
    check_parts(where, module, parts)
    if module.qk_rope_head_dim != _ROPE:
        raise ValueError(
            f"{where}: expected qk_rope_head_dim {_ROPE}, got {module.qk_rope_head_dim}"
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
