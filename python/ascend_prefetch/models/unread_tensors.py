"""Tensors of an attention module that the loaders do not read: which are ignored or refused."""

from __future__ import annotations

import re

# Tensors that need not be read, by name within the attention module.
_IRRELEVANT = (
    # Rope's tables in older checkpoints; the ops take cos and sin as arguments.
    r"rotary_emb\.(inv_freq|cos_cached|sin_cached)",
    # Scales of a quantised cache, as msmodelslim and vLLM name them; they change no weight. The
    # one that the ops have, fa_k.scale, is read: MlaWeights.kv_cache_scale.
    r"fa_[qkv]\.(scale|offset)",
    r"((mla_)?attn\.)*([qkv]|kv)_scale",
    r"[kv]_proj\.([kv]_scale|kv_cache_(scale|offset))",
)

_PROJECTION = r"(indexer\.)?(q|q_a|q_b|kv_a|kv_b|kv_a_proj_with_mqa|o|wq_b|wk|weights)(_proj)?"

# What other tensors probably are, and why they cannot be ignored.
_REFUSED = (
    (rf"{_PROJECTION}\.bias", "expected a projection without bias"),
    (
        r".*\.(weight_scale|weight_scale_inv|weight_offset|input_scale|input_offset|deq_scale|"
        r"quant_bias|scales|qzeros|g_idx)",
        "belongs to a quantised weight, and the weight beside it is not one",
    ),
    (r"(.*\.)?lora_.*", "an adapter: expected it merged into the weights"),
    (r"indexer\.[qk]_rot(\..*)?", "a rotation of the indexer's queries and keys: no op has one"),
    (r"(.*[._])?(gate|g)(_proj)?(\..*)?", "a gate: no op has one"),
    (r"sinks?(\..*)?", "attention sinks, which the softmax has to add"),
    (r"(.*[._])?(layer)?norm(\..*)?", "of a norm that no op has"),
)


def is_irrelevant(name: str) -> bool:
    """Whether the tensor `name` of an attention module changes no result of the ops."""
    return any(re.fullmatch(pattern, name) for pattern in _IRRELEVANT)


def why_refused(name: str, has_indexer: bool) -> str:
    """What the tensor `name` probably is, for the error that refuses it.

    Args:
        name: its name within the attention module.
        has_indexer: whether the expected dimensions have an indexer.
    """
    if name.startswith("indexer.") and not has_indexer:
        return "expected a layer without an indexer, as the dimensions have none"
    for pattern, text in _REFUSED:
        if re.fullmatch(pattern, name):
            return text
    return "nothing here reads it, and it may change what attention computes"
