"""The families of models that patch supports, and what is particular to each one's attention."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import transformers
from torch import nn
from transformers import PreTrainedModel

from ascend_prefetch.models.model_types import INEXPRESSIBLE

from .signatures import WRITTEN_FOR

_HALVES = "apply_rotary_pos_emb"
_NEIGHBOURS = "apply_rotary_pos_emb_interleave"
_COMPLEX = "apply_rotary_emb"  # neighbours as complex numbers

# Configuration keys that the attention of every family reads. Except for those that patch and
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
_LEADING = ("hidden_states", "position_embeddings", "attention_mask")


class Family(NamedTuple):
    """A family of models: those of one modelling file of transformers.

    Attributes:
        prefix: what the names of its classes begin with, `Model`, `DecoderLayer` and so on.
        rotations: functions by which attention applies rope, none where it rotates nothing. If
            there are two, the configuration's key rope_interleave chooses between them.
        keys: keys of the configuration that its attention reads.
        leading: the first parameters of attention's forward, in this order.
        suffix: what the name of its attention class ends with.
        has_indexer: False for dense attention.
        indexer_rotations: functions by which the indexer applies rope.
        shares_selections: whether attention takes and returns top-k selections.
        sublayers: attention modules of a decoder layer, in a ModuleList where there are several.
        scales_latents: whether attention multiplies the queries by its mla_scale_q_lora, and the
            key-value latents by its mla_scale_kv_lora.
        scales_queries: whether attention multiplies the queries by a factor of their position.
        other_suffix: what the name of the class ends with that some layers have in place of this
            attention; None where all layers have it.
    """

    prefix: str
    rotations: frozenset[str] = frozenset({_HALVES, _NEIGHBOURS})
    keys: frozenset[str] = _KEYS
    leading: tuple[str, ...] = _LEADING
    suffix: str = "Attention"
    has_indexer: bool = False
    indexer_rotations: frozenset[str] = frozenset()
    shares_selections: bool = False
    sublayers: int = 1
    scales_latents: bool = False
    scales_queries: bool = False
    other_suffix: str | None = None

    @property
    def complex_tables(self) -> bool:
        """Whether rope's tables are one complex tensor in place of cosines and sines."""
        return self.rotations == {_COMPLEX}

    def interleaved(self, config: Any) -> bool:
        """Whether attention pairs neighbouring elements, according to the family's own code."""
        return _interleaved(self.rotations, config)

    def indexer_interleaved(self, config: Any) -> bool:
        """The same of the indexer."""
        return _interleaved(self.indexer_rotations, config)

    def attentions(self, decoder: Any) -> Sequence[Any]:
        """The attention modules of a decoder layer, in the order of their calls."""
        return [decoder.self_attn] if self.sublayers == 1 else list(decoder.self_attn)

    def behind(self, decoder: Any, sublayer: int) -> list[nn.Module]:
        """The modules that run between an attention module and the next one."""
        if self.sublayers == 1:
            return [decoder.mlp]
        # The experts of LongCat run behind the layer's first attention, before the next one.
        return [*([decoder.mlp] if sublayer == 0 else []), decoder.mlps[sublayer]]


def _interleaved(functions: frozenset[str], config: Any) -> bool:
    if len(functions) > 1:
        return bool(config.rope_interleave)
    return functions <= {_NEIGHBOURS, _COMPLEX}


_KEYED = _KEYS | {"rope_interleave"}

FAMILIES: dict[str, Family] = {
    "deepseek_v2": Family(
        "DeepseekV2",
        rotations=frozenset({_COMPLEX}),
        leading=("hidden_states", "attention_mask"),
    ),
    "deepseek_v3": Family("DeepseekV3", keys=_KEYED),
    "deepseek_v32": Family(
        "DeepseekV32",
        rotations=frozenset({_NEIGHBOURS}),
        keys=_KEYS | _INDEXER_KEYS,
        has_indexer=True,
        indexer_rotations=frozenset({_HALVES}),
    ),
    "glm4_moe_lite": Family("Glm4MoeLite", keys=_KEYED),
    "glm_moe_dsa": Family(
        "GlmMoeDsa",
        rotations=frozenset({_NEIGHBOURS}),
        keys=_KEYS | _INDEXER_KEYS | {"indexer_types"},
        has_indexer=True,
        indexer_rotations=frozenset({_NEIGHBOURS}),
        shares_selections=True,
    ),
    "longcat_flash": Family(
        "LongcatFlash",
        rotations=frozenset({_NEIGHBOURS}),
        keys=_KEYS | {"qk_head_dim"},
        suffix="MLA",
        sublayers=2,
        scales_latents=True,
    ),
    "youtu": Family("Youtu", keys=_KEYED),
    "axk1": Family("AXK1", keys=_KEYED),
    "mistral4": Family("Mistral4", keys=_KEYED, scales_queries=True),
    "minicpm3": Family("MiniCPM3", rotations=frozenset({_HALVES})),
    "kimi_linear": Family(
        "KimiLinear",
        rotations=frozenset(),
        leading=("hidden_states", "attention_mask"),
        other_suffix="DeltaAttention",
    ),
}
"""By the folder of transformers.models that has the modelling code."""

NESTING = {("kimi_k25", "Kimi_K25Model"), ("mistral3", "Mistral3Model")}
"""Models with other parts, whose language_model is of a class that the configuration chooses."""


def language_model(model: Any) -> tuple[Any, str, Family]:
    """The model whose layers are patched, the name of its family, and the family.

    Args:
        model: with or without a head; of a model with several parts the language model is taken.

    Raises:
        TypeError: it is of no family; says why the ops do not compute its attention, if that is
            known.
    """
    # Models of adapter libraries have a base_model too, namely the model with adapters in it.
    base = model.base_model if isinstance(model, PreTrainedModel) else model
    if (_package(base), type(base).__name__) in NESTING:
        base = base.language_model
    package = _package(base)
    family = FAMILIES.get(package)
    if family is not None and type(base).__name__ == f"{family.prefix}Model":
        return base, package, family
    names = ", ".join(known.prefix for known in FAMILIES.values())
    raise TypeError(f"model: expected one of {names}, got {type(model).__name__}{_reason(model)}")


def class_of(package: str, family: Family, suffix: str) -> type[Any]:
    """A class of the family's modelling code, which a model of it has imported.

    Raises:
        TypeError: this release of transformers has no such class.
    """
    code = sys.modules[f"transformers.models.{package}.modeling_{package}"]
    found: type[Any] | None = getattr(code, family.prefix + suffix, None)
    if found is None:
        raise TypeError(
            f"{code.__name__}: expected a class {family.prefix}{suffix}, which transformers "
            f"{transformers.__version__} does not have; the ops were put in for {WRITTEN_FOR}"
        )
    return found


def _package(model: Any) -> str:
    """The folder of transformers.models that defines the class of a model, or no name."""
    package = type(model).__module__.removeprefix("transformers.models.").partition(".")[0]
    known = type(model).__module__ == f"transformers.models.{package}.modeling_{package}"
    return package if known else ""


def _reason(model: Any) -> str:
    if not isinstance(model, PreTrainedModel):
        return ""
    name = model.config.get_text_config().model_type
    return f": not what the ops compute: {INEXPRESSIBLE[name]}" if name in INEXPRESSIBLE else ""
