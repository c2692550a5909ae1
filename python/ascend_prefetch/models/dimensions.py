"""Attention dimensions of the models with multi-head latent attention (MLA)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ascend_prefetch.shown import shown

from .hf_config import language_model
from .model_types import ModelType, QueryScaling, model_type_of, query_scaling

# The largest size of a tensor dimension in torch, an int64.
_LARGEST_SIZE = 2**63 - 1


@dataclass(frozen=True)
class IndexerDimensions:
    """Dimensions of the indexer of a sparse-attention model.

    Attributes:
        num_heads: indexer query heads; replicated, not split, under tensor parallelism.
        head_dim: elements per indexer query head and per cached indexer key.
        top_k: maximum number of cached tokens that one query token attends to.
        rope_interleaved: True where rope pairs neighbouring elements, False where it pairs the
            two halves.

    Raises:
        ValueError: a size is not a positive integer.
    """

    num_heads: int
    head_dim: int
    top_k: int
    rope_interleaved: bool

    def __post_init__(self) -> None:
        for field in ("num_heads", "head_dim", "top_k"):
            _check_positive_int(f"indexer.{field}", getattr(self, field))


@dataclass(frozen=True)
class ModelDimensions:
    """Attention dimensions of one model before tensor parallelism. Sizes count elements.

    Attributes:
        name: preset name, or the model type of the configuration it was read from.
        hidden_size: elements per token between layers.
        num_heads: query heads of the whole model.
        q_lora_rank: width of the query latent; None where queries are projected straight from
            the hidden states.
        kv_lora_rank: width of the key-value latent, which the cache holds beside the rope keys.
        qk_nope_head_dim: query and key elements per head that rope leaves alone.
        qk_rope_head_dim: query and key elements per head that rope rotates.
        v_head_dim: value elements per head.
        rms_norm_eps: epsilon of the latent norms, as vLLM takes it from the configuration. In
            transformers the latent norms of most models use 1e-6 regardless of the configuration.
        rope_interleaved: True where rope pairs neighbouring elements, False where it pairs the
            two halves.
        source: where the numbers come from.
        indexer: dimensions of the indexer; None for dense attention.
        q_lora_scale: factor of the normed query latent (LongCat). load_mla_weights folds it into
            the norm weights.
        kv_lora_scale: factor of the normed key-value latent, folded in the same way.
        attentions_per_layer: attention modules of one decoder layer of a checkpoint.
        use_rope: False where nothing is rotated. The caller then passes cos of ones and sin of
            zeros, which leave every element as it is.
        query_scaling: how queries grow with their position; None where they do not. The caller
            multiplies q_nope and q_rope, the prolog's results, by its factor.

    Raises:
        ValueError: a size is not a positive integer, qk_rope_head_dim is odd, rms_norm_eps or a
            scale is not positive and finite, or there is an indexer but no query latent.
    """

    name: str
    hidden_size: int
    num_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    rms_norm_eps: float
    rope_interleaved: bool
    source: str
    indexer: IndexerDimensions | None = None
    q_lora_scale: float = 1.0
    kv_lora_scale: float = 1.0
    attentions_per_layer: int = 1
    use_rope: bool = True
    query_scaling: QueryScaling | None = None

    def __post_init__(self) -> None:
        sizes = ["hidden_size", "num_heads", "kv_lora_rank"]
        sizes += ["qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "attentions_per_layer"]
        if self.q_lora_rank is not None:
            sizes.append("q_lora_rank")
        for field in sizes:
            _check_positive_int(field, getattr(self, field))
        if self.qk_rope_head_dim % 2:
            raise ValueError(
                f"qk_rope_head_dim: expected an even number, got {self.qk_rope_head_dim}"
            )
        for field in ("rms_norm_eps", "q_lora_scale", "kv_lora_scale"):
            value = getattr(self, field)
            if not isinstance(value, float) or not 0 < value < math.inf:
                raise ValueError(f"{field}: expected a positive float, got {shown(value)}")
        if self.indexer is not None and self.q_lora_rank is None:
            raise ValueError("q_lora_rank: expected a query latent for the indexer, got None")

    @property
    def qk_head_dim(self) -> int:
        """Query and key elements per head, rope included."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    def heads_per_rank(self, tp: int) -> int:
        """Query heads of each rank under tensor parallelism of degree `tp`.

        Raises:
            ValueError: `tp` is not a positive divisor of the number of heads.
        """
        whole = isinstance(tp, int) and not isinstance(tp, bool)
        if not whole or tp < 1 or self.num_heads % tp:
            raise ValueError(
                f"tp: expected a positive divisor of the {self.num_heads} heads of {self.name}, "
                f"got {shown(tp)}"
            )
        return self.num_heads // tp

    @classmethod
    def from_hf_config(
        cls,
        config: str | os.PathLike[str] | Mapping[str, Any],
        model_type: str | ModelType | None = None,
    ) -> ModelDimensions:
        """Reads the dimensions from a Hugging Face configuration.

        Sizes are read from the keys of DeepseekV3Config in transformers, the indexer's from those
        of DeepseekV32Config. Properties that have no key, above all how rope pairs elements, depend
        on the model type; MODEL_TYPES has the known ones. For another model the caller describes
        the attention by hand:

            ModelDimensions.from_hf_config(path, model_type="deepseek_v3")
            ModelDimensions.from_hf_config(path, ModelType("its code", rope_interleaved=False))

        Keys of the attention that change what it computes (biases, gates, norms of the heads, no
        rope), and unknown keys that might, are refused unless they are off (null or false). Keys
        about rope's tables and the softmax are accepted, as the caller provides cos, sin and
        attention.

        Of a model with several parts the language model is read: its text_config.

        Args:
            config: path of a config.json or of the directory that holds it, or its content.
            model_type: a type, or the name of a known one, that replaces the configuration's.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a JSON object, the model type or a key of its attention is
                not understood, or a key is missing or out of range.
        """
        config, source = language_model(config)
        form = model_type_of(config, source, model_type)

        def read(key: str) -> Any:
            if key not in config:
                raise ValueError(f"{source}: key {key!r} is missing")
            return config[key]

        def size(key: str) -> int:
            value = read(key)
            _check_positive_int(f"{source}: key {key!r}", value)
            return int(value)

        def told(key: str, otherwise: bool) -> bool:
            value = config.get(key)
            if not isinstance(value, bool | None):
                raise ValueError(f"{source}: key {key!r}: expected a boolean, got {shown(value)}")
            return otherwise if value is None else value

        indexer = None
        if form.indexer_rope_interleaved is not None:
            indexer = IndexerDimensions(
                num_heads=read("index_n_heads"),
                head_dim=read("index_head_dim"),
                top_k=read("index_topk"),
                # vLLM reads this key; transformers does not.
                rope_interleaved=told("indexer_rope_interleave", form.indexer_rope_interleaved),
            )

        def lora_scale(name: str) -> float:
            scaled = form.scales_latents and told(f"mla_scale_{name}", True)
            if not scaled or read(f"{name}_rank") is None:
                return 1.0
            return (size("hidden_size") / size(f"{name}_rank")) ** 0.5

        def v_head_dim() -> int:
            if not form.v_head_dim_of_hidden or config.get("v_head_dim") is not None:
                return size("v_head_dim")
            hidden, heads = size("hidden_size"), size("num_attention_heads")
            if hidden % heads:
                raise ValueError(
                    f"{source}: key 'hidden_size': expected a multiple of the {heads} "
                    f"num_attention_heads, as there is no v_head_dim, got {hidden}"
                )
            return hidden // heads

        return cls(
            name=str(config.get("model_type", "unnamed")),
            hidden_size=size("hidden_size"),
            num_heads=size("num_attention_heads"),
            q_lora_rank=None if read("q_lora_rank") is None else size("q_lora_rank"),
            kv_lora_rank=size("kv_lora_rank"),
            qk_nope_head_dim=size("qk_nope_head_dim"),
            qk_rope_head_dim=size("qk_rope_head_dim"),
            v_head_dim=v_head_dim(),
            rms_norm_eps=read(form.eps_key),
            rope_interleaved=told("rope_interleave", form.rope_interleaved),
            source=source,
            indexer=indexer,
            q_lora_scale=lora_scale("q_lora"),
            kv_lora_scale=lora_scale("kv_lora"),
            attentions_per_layer=form.attentions_per_layer,
            use_rope=form.use_rope,
            query_scaling=query_scaling(config, source) if form.scales_queries else None,
        )


def _check_positive_int(name: str, value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 1 <= value <= _LARGEST_SIZE:
        raise ValueError(f"{name}: expected a positive integer, got {shown(value)}")
