"""Model types: properties of their attention that a configuration does not state."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ascend_prefetch.shown import shown


@dataclass(frozen=True)
class ModelType:
    """The attention of one model type, as far as its configuration leaves it open.

    Attributes:
        source: the modelling code that the properties were read from.
        rope_interleaved: True where rope pairs neighbouring elements, False where it pairs the
            two halves.
        reads_rope_interleave: True where the code reads the key rope_interleave, which then takes
            precedence; otherwise a key that contradicts rope_interleaved is refused.
        indexer_rope_interleaved: the same for the indexer, unless the key indexer_rope_interleave
            says otherwise; None where the model has no indexer, whose keys are then refused.
        scales_latents: True where both latents are multiplied by (hidden_size / rank)^0.5, unless
            the key mla_scale_q_lora or mla_scale_kv_lora is false.
        attentions_per_layer: attention modules of one decoder layer of a checkpoint.
        v_head_dim_of_hidden: True where v_head_dim may be absent, and is then
            hidden_size / num_attention_heads.
        eps_key: the key of the norms' epsilon.
        use_rope: False where nothing is rotated, whatever the size of the rope part.
        rotary_of_head: True where partial_rotary_factor is a share of the whole head,
            qk_nope_head_dim and qk_rope_head_dim, rather than of the rope part.
        scales_queries: True where queries are multiplied by a factor of their position, as
            query_scaling reads it.
        understood: further keys of the attention that are known not to change what the ops compute.
    """

    source: str
    rope_interleaved: bool = True
    reads_rope_interleave: bool = False
    indexer_rope_interleaved: bool | None = None
    scales_latents: bool = False
    attentions_per_layer: int = 1
    v_head_dim_of_hidden: bool = False
    eps_key: str = "rms_norm_eps"
    use_rope: bool = True
    rotary_of_head: bool = False
    scales_queries: bool = False
    understood: frozenset[str] = frozenset()


@dataclass(frozen=True)
class QueryScaling:
    """Queries are multiplied by 1 + beta ln(1 + floor(position / original_positions)).

    Source: transformers 5.24, models/mistral4/modeling_mistral4.py, get_llama_4_attn_scale.

    Attributes:
        beta: positive.
        original_positions: number of positions whose queries stay as they are.
    """

    beta: float
    original_positions: int


_TRANSFORMERS = "transformers 5.24, models/{0}/modeling_{0}.py".format
_LONGCAT = ModelType(
    # transformers' class always scales; vLLM's reads the keys that can turn scaling off.
    f"{_TRANSFORMERS('longcat_flash')}; vllm 0.23, model_executor/models/longcat_flash.py",
    scales_latents=True,
    attentions_per_layer=2,
    understood=frozenset({"mla_scale_q_lora", "mla_scale_kv_lora"}),
)

MODEL_TYPES: dict[str, ModelType] = {
    "axk1": ModelType(_TRANSFORMERS("axk1"), reads_rope_interleave=True),
    "deepseek_v2": ModelType(_TRANSFORMERS("deepseek_v2")),
    "deepseek_v3": ModelType(_TRANSFORMERS("deepseek_v3"), reads_rope_interleave=True),
    "deepseek_v32": ModelType(_TRANSFORMERS("deepseek_v32"), indexer_rope_interleaved=False),
    "glm4_moe_lite": ModelType(_TRANSFORMERS("glm4_moe_lite"), reads_rope_interleave=True),
    "glm_moe_dsa": ModelType(_TRANSFORMERS("glm_moe_dsa"), indexer_rope_interleaved=True),
    "kimi_k2": ModelType("vllm 0.23, model_executor/models/deepseek_v2.py"),
    # Of its MLA layers; the others are linear attention.
    "kimi_linear": ModelType(
        _TRANSFORMERS("kimi_linear"),
        use_rope=False,
        understood=frozenset({"linear_attn_config", "mla_use_nope"}),
    ),
    "longcat_flash": _LONGCAT,
    # It has other embeddings but the same attention.
    "longcat_flash_ngram": _LONGCAT,
    "minicpm3": ModelType(
        _TRANSFORMERS("minicpm3"), rope_interleaved=False, v_head_dim_of_hidden=True
    ),
    "mistral4": ModelType(
        _TRANSFORMERS("mistral4"),
        reads_rope_interleave=True,
        rotary_of_head=True,
        scales_queries=True,
    ),
    # transformers has a separate configuration class for it, but uses DeepSeek-V3's model.
    "sarvam_mla": ModelType(_TRANSFORMERS("deepseek_v3"), reads_rope_interleave=True),
    "youtu": ModelType(_TRANSFORMERS("youtu"), reads_rope_interleave=True),
}
"""The model types that ModelDimensions.from_hf_config knows."""

INEXPRESSIBLE: dict[str, str] = {
    "axk2": "q_b_proj reads two latents, and a gate multiplies the values",
    "bailing_hybrid": "a gate (g_proj) multiplies the heads before o_proj",
    "dots3_note_text": "the rope part of the keys has a norm, and a gate multiplies the heads",
    "glm5_next_text": "queries and keys have no rope part, and the indexer pools its keys",
    "hy_v4": "a gate (gate_proj) multiplies the values, and the indexer rotates its last elements",
    "hy_v4_vl_text": "a gate (gate_proj) multiplies the values, and attention has sinks",
    "mistral_large4_text": "some layers have no rope, or the keys of another layer",
}
"""Model types that the ops cannot express, why: as the code of transformers 5.24 has it."""

# Later releases of transformers, and earlier ones.
_ROPE_KEYS = ("rope_parameters", "rope_scaling")

# Keys of the attention that are read elsewhere, or concern the cos and sin tables, the softmax or
# training.
_UNDERSTOOD = frozenset(
    {
        "attention_dropout",
        "attention_softmax_in_fp32",
        "indexer_rope_interleave",
        "kv_lora_rank",
        "num_attention_heads",
        "q_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "rope_interleave",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
    }
)
# A key with one of these words is about how attention is run, not about what it computes.
_RUNNING_WORDS = {"cache", "flash", "implementation", "dropout"}
_ATTENTION_WORDS = {"attention", "attn", "kv", "mla", "nope", "q", "qk", "qkv", "query"}
_ATTENTION_WORDS |= {"rope", "rotary"}
# Words for parts of attention, but also of much else: a key with one of them is about attention
# only if it also names a norm, a bias or a gate.
_PART_WORDS = {"k", "v", "o", "key", "value", "head", "heads"}
_GATE_WORDS = {"gate", "gates", "gated", "gating"}
_CHANGE_WORDS = {"bias", "biases", "norm", "norms", "layernorm", "rmsnorm"} | _GATE_WORDS
# In a key with one of these words a gate, a bias or a norm belongs to experts, to a feed-forward
# network, or to what follows the last layer.
_ELSEWHERE_WORDS = {"router", "routed", "routing", "expert", "experts", "moe", "shared", "topk"}
_ELSEWHERE_WORDS |= {"top", "score", "scoring", "mlp", "ffn", "ff", "feed", "glu", "swiglu"}
_ELSEWHERE_WORDS |= {"lm", "mtp", "classifier", "cls", "vision", "ngram"}
_BIAS_KEYS = {"add_bias_linear", "attention_bias", "bias", "enable_bias", "key_bias", "qkv_bias"}
_BIAS_KEYS |= {"query_bias", "use_attention_bias", "use_bias", "use_qkv_bias", "value_bias"}
_GATE_KEYS = {"gated_attention", "head_gate", "output_gate", "use_head_gate", "use_output_gate"}
_GATE_KEYS |= {"gate", "use_gate"}
_REASONS = {
    **dict.fromkeys(_BIAS_KEYS, "the ops' projections have no biases"),
    **dict.fromkeys(_GATE_KEYS, "the ops have no gate of the attention's output"),
    "mla_use_nope": "the ops rotate, and this model does not",
    "use_qk_norm": "the ops have no norm of the heads' queries and keys",
    "llama_4_scaling_beta": "the ops do not scale queries by their position",
}


def model_type_of(
    config: Mapping[str, Any], source: str, given: str | ModelType | None
) -> ModelType:
    """The model type of a configuration, or the one that the caller gives.

    Args:
        config: a Hugging Face configuration.
        source: name of the configuration in errors.
        given: a type or the name of a known one, which replaces the configuration's; None to use
            that.

    Raises:
        ValueError: the type is unknown, or the ops cannot express it, or a key of the attention
            changes what it computes, or is unknown and might.
    """
    if isinstance(given, ModelType):
        found = given
    else:
        name = config.get("model_type") if given is None else given
        if not isinstance(name, str) or name not in MODEL_TYPES:
            raise ValueError(_unknown(config, source, name, given is None))
        found = MODEL_TYPES[name]
    _check_keys(config, source, found)
    return found


def _unknown(config: Mapping[str, Any], source: str, name: Any, configured: bool) -> str:
    known = ", ".join(MODEL_TYPES)
    if not configured:
        return f"model_type: expected a ModelType or one of {known}, got {name!r}"
    if name is None:
        return f"{source}: key 'model_type' is missing"
    if isinstance(name, str) and name in INEXPRESSIBLE:
        return (
            f"{source}: key 'model_type' is {name!r}: not what the ops compute: "
            f"{INEXPRESSIBLE[name]}; expected one of {known}: run this model's attention as it is"
        )
    return (
        f"{source}: model_type {name!r} is unknown: expected one of {known}; where its attention "
        "is that of one of these pass model_type='deepseek_v3', for example, else a ModelType that "
        "says what its modelling code does"
    )


def _check_keys(config: Mapping[str, Any], source: str, model_type: ModelType) -> None:
    for key, value in config.items():
        if not isinstance(key, str):
            raise ValueError(f"{source}: key {shown(key)}: expected a string")
        if key == "use_mla" and key not in model_type.understood:
            # The key is written as a boolean or as 0 and 1.
            if value is not None and not (isinstance(value, int) and value == 1):
                raise ValueError(
                    f"{source}: key 'use_mla': expected true, as the ops compute MLA alone, "
                    f"got {shown(value)}"
                )
            continue
        if key in model_type.understood or _is_off(value):
            continue
        if key in _REASONS or _is_of_attention(key, value):
            raise ValueError(_refusal(source, key, value))
    for name in _ROPE_KEYS:
        rope = config.get(name)
        if not isinstance(rope, Mapping):
            continue
        # The other keys in there determine rope's tables and the scale of the softmax.
        fits = {
            "llama_4_scaling_beta": model_type.scales_queries,
            "partial_rotary_factor": _is_of_rope_part(config, model_type, rope),
        }
        for key, harmless in fits.items():
            value = rope.get(key)
            if not _is_off(value) and not harmless and key not in model_type.understood:
                raise ValueError(_refusal(source, f"{name}.{key}", value))
    _check_rope(config, source, model_type)
    parts = (config.get("qk_nope_head_dim"), config.get("qk_rope_head_dim"))
    for key in ("qk_head_dim", "q_head_dim"):
        told = config.get(key)
        if told is None:
            continue
        if isinstance(told, bool) or not isinstance(told, int):
            raise ValueError(f"{source}: key {key!r}: expected an integer, got {shown(told)}")
        # A size that is not an integer is refused where the sizes are read.
        if all(isinstance(part, int) for part in parts):
            whole = int(parts[0] or 0) + int(parts[1] or 0)
            if told != whole:
                raise ValueError(
                    f"{source}: key {key!r}: expected {shown(whole)}, qk_nope_head_dim and "
                    f"qk_rope_head_dim together, got {shown(told)}"
                )


def _is_of_rope_part(
    config: Mapping[str, Any], model_type: ModelType, rope: Mapping[str, Any]
) -> bool:
    """Whether partial_rotary_factor says that the rope part is rotated, all of it."""
    factor = rope.get("partial_rotary_factor")
    if not model_type.rotary_of_head:
        return bool(factor == 1)
    parts = (config.get("qk_rope_head_dim"), config.get("qk_nope_head_dim"))
    if not all(isinstance(part, int) and part > 0 for part in parts):
        return True  # refused where the sizes are read
    rope_dim, nope_dim = (int(part or 0) for part in parts)
    return bool(factor == rope_dim / (rope_dim + nope_dim))


def query_scaling(config: Mapping[str, Any], source: str) -> QueryScaling | None:
    """How queries grow with their position, of a type that scales them; None where beta is off.

    Raises:
        ValueError: the keys of it are missing or out of range.
    """
    name = next((name for name in _ROPE_KEYS if isinstance(config.get(name), Mapping)), None)
    if name is None:
        # transformers' class has a default then, which scales.
        raise ValueError(
            f"{source}: key 'rope_parameters' is missing: expected one, whose llama_4_scaling_beta "
            "scales queries by their position"
        )
    rope = config[name]
    beta, positions = (
        rope.get(key) for key in ("llama_4_scaling_beta", "original_max_position_embeddings")
    )
    if _is_off(beta) or beta == 0:
        return None
    number = isinstance(beta, int | float) and not isinstance(beta, bool)
    if not number or not 0 < beta < math.inf:
        raise ValueError(
            f"{source}: key '{name}.llama_4_scaling_beta': expected a positive number, "
            f"got {shown(beta)}"
        )
    if isinstance(positions, bool) or not isinstance(positions, int) or positions < 1:
        raise ValueError(
            f"{source}: key '{name}.original_max_position_embeddings': expected a positive "
            f"integer, got {shown(positions)}"
        )
    return QueryScaling(float(beta), positions)


def _check_rope(config: Mapping[str, Any], source: str, model_type: ModelType) -> None:
    for key in ("rope_interleave", "indexer_rope_interleave"):
        if not isinstance(config.get(key), bool | None):
            raise ValueError(f"{source}: key {key!r}: expected a boolean, got {shown(config[key])}")
    if not model_type.use_rope and config.get("mla_use_nope") not in (None, True):
        raise ValueError(
            f"{source}: key 'mla_use_nope': expected true, as the code of this model type rotates "
            f"nothing, got {shown(config['mla_use_nope'])}"
        )
    told = config.get("rope_interleave")
    fixed = model_type.rope_interleaved
    if told not in (None, fixed) and not model_type.reads_rope_interleave:
        raise ValueError(
            f"{source}: key 'rope_interleave': expected {fixed}, as the code of this model type "
            f"has it and no key to change it, got {told}"
        )
    if model_type.indexer_rope_interleaved is None:
        for key in ("index_topk", "index_n_heads", "index_head_dim"):
            if not _is_off(config.get(key)):
                raise ValueError(
                    f"{source}: key {key!r} is {shown(config[key])}: this model type has no "
                    "indexer; pass model_type='deepseek_v32' where its attention is that model's"
                )


def _is_off(value: Any) -> bool:
    empty = isinstance(value, (Mapping, list)) and not value
    return value is None or value is False or empty


def _is_of_attention(key: str, value: Any) -> bool:
    if key in _UNDERSTOOD or key in ("qk_head_dim", "q_head_dim"):
        return False
    words = set(re.split(r"[^a-z0-9]+", key.lower()))
    if words & _RUNNING_WORDS:
        return False
    if not words & _ATTENTION_WORDS:
        changed_part = words & _PART_WORDS and words & _CHANGE_WORDS
        return bool(changed_part or words & _GATE_WORDS) and not words & _ELSEWHERE_WORDS
    if {"partial", "rotary"} <= words and value == 1:
        return False
    return not (isinstance(value, str) and value.lower() == "mla")


def _refusal(source: str, key: str, value: Any) -> str:
    reason = _REASONS.get(key.split(".")[-1])
    if reason is not None:
        return f"{source}: key {key!r} is {shown(value)}: {reason}"
    return (
        f"{source}: key {key!r} is {shown(value)}: not understood, and it may change what "
        "attention computes; where it does not, pass as model_type a ModelType with the key in "
        "`understood`"
    )
