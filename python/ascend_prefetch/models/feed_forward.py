"""Feed-forward dimensions of the models: the MLP of dense layers and the experts of MoE layers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ascend_prefetch.shown import shown

from .hf_config import language_model
from .model_types import MODEL_TYPES

_LARGEST_SIZE = 2**31 - 1


@dataclass(frozen=True)
class ExpertDimensions:
    """The experts of a model's MoE layers.

    Attributes:
        count: routed experts of a layer.
        top_k: routed experts that a token chooses.
        intermediate_size: width of one expert.
        shared: shared experts, which every token uses; 0 for none.
    """

    count: int
    top_k: int
    intermediate_size: int
    shared: int


@dataclass(frozen=True)
class FeedForwardDimensions:
    """What follows the attention in a model's layers.

    Attributes:
        layers: decoder layers of the model; None where its configuration does not say.
        dense_layers: how many of them, the first ones, have an MLP in place of experts.
        intermediate_size: width of that MLP; None where the configuration does not say.
        experts: the experts of the others; None where there are none, or they are not known well
            enough to model.
        source: where the numbers come from.
        no_experts: why there are no experts, for errors.
    """

    layers: int | None
    dense_layers: int
    intermediate_size: int | None
    experts: ExpertDimensions | None
    source: str
    no_experts: str = ""

    @classmethod
    def from_hf_config(
        cls, config: str | os.PathLike[str] | Mapping[str, Any]
    ) -> FeedForwardDimensions:
        """Reads the dimensions from a Hugging Face configuration.

        Keys go by the names that transformers' configuration classes have for them (_KEYS). What
        the configuration does not state is None, never a default.

        Args:
            config: as for ModelDimensions.from_hf_config.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a JSON object, or a key is out of range.
        """
        config, source = language_model(config)
        return _FeedForwardKeys(config, source).read()


# The names of a size in transformers 5.24's configuration classes: those of DeepSeek, which most
# have, those of LongCat, and those of Kimi-Linear and Bailing.
_KEYS = {
    "layers": ("num_hidden_layers", "num_layers"),
    "intermediate_size": ("intermediate_size", "ffn_hidden_size"),
    "count": ("n_routed_experts", "num_local_experts", "num_experts"),
    "top_k": ("num_experts_per_tok", "num_experts_per_token", "moe_topk"),
    "expert_size": ("moe_intermediate_size", "expert_ffn_hidden_size"),
    "shared": ("n_shared_experts", "num_shared_experts"),
}
_ORDER_OF_ITS_OWN = "whose experts run beside a second attention of the same layer"


class _FeedForwardKeys:
    """The keys of a configuration about what follows the attention."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._config = config
        self._source = source

    def read(self) -> FeedForwardDimensions:
        layers = self._size("layers")
        dense, experts, why = layers or 0, None, "whose configuration names no experts"
        name = self._config.get("model_type")
        known = MODEL_TYPES.get(name) if isinstance(name, str) else None
        if known is not None and known.attentions_per_layer > 1:
            why = _ORDER_OF_ITS_OWN
        elif self._size("count") is not None:
            dense = self._dense_layers()
            experts, why = self._experts()
        return FeedForwardDimensions(
            layers=layers,
            dense_layers=dense,
            intermediate_size=self._size("intermediate_size"),
            experts=experts,
            source=self._source,
            no_experts=why,
        )

    def _experts(self) -> tuple[ExpertDimensions | None, str]:
        count, top_k, width = (self._size(name) for name in ("count", "top_k", "expert_size"))
        shared = self._size("shared", 0) or 0
        if count is None or top_k is None or width is None:
            missing = _KEYS["top_k" if top_k is None else "expert_size"][0]
            return None, f"whose configuration names experts but no {missing}"
        if top_k > count:
            raise ValueError(
                f"{self._source}: experts that a token chooses: expected at most the {count} of a "
                f"layer, got {top_k}"
            )
        return ExpertDimensions(count, top_k, width, shared), ""

    def _dense_layers(self) -> int:
        types = self._config.get("mlp_layer_types")
        if types is None:
            return self._whole("first_k_dense_replace", 0) or 0
        if not isinstance(types, list) or not all(kind in ("dense", "sparse") for kind in types):
            raise ValueError(
                f"{self._source}: key 'mlp_layer_types': expected a list of 'dense' and 'sparse', "
                f"got {shown(types)}"
            )
        return types.count("dense")

    def _size(self, name: str, least: int = 1) -> int | None:
        found = (self._whole(key, least) for key in _KEYS[name])
        return next((value for value in found if value is not None), None)

    def _whole(self, key: str, least: int) -> int | None:
        value = self._config.get(key)
        if value is None:
            return None
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= _LARGEST_SIZE:
            kind = "a positive integer" if least else "an integer of 0 or more"
            raise ValueError(f"{self._source}: key {key!r}: expected {kind}, got {shown(value)}")
        return int(value)


_HUGGING_FACE = "https://huggingface.co/{}/blob/main/config.json".format
_DEEPSEEK_EXPERTS = ExpertDimensions(count=256, top_k=8, intermediate_size=2048, shared=1)

FEED_FORWARDS: dict[str, FeedForwardDimensions] = {
    "deepseek-v3": FeedForwardDimensions(
        61, 3, 18432, _DEEPSEEK_EXPERTS, _HUGGING_FACE("deepseek-ai/DeepSeek-V3")
    ),
    "deepseek-v3.2": FeedForwardDimensions(
        61, 3, 18432, _DEEPSEEK_EXPERTS, _HUGGING_FACE("deepseek-ai/DeepSeek-V3.2")
    ),
    "glm-5": FeedForwardDimensions(78, 3, 12288, _DEEPSEEK_EXPERTS, _HUGGING_FACE("zai-org/GLM-5")),
    "kimi-k2": FeedForwardDimensions(
        61,
        1,
        18432,
        ExpertDimensions(count=384, top_k=8, intermediate_size=2048, shared=1),
        _HUGGING_FACE("moonshotai/Kimi-K2-Instruct"),
    ),
    # Experts run beside a second attention and a second MLP of the same layer, and some of those
    # that a token chooses compute nothing: an order of kernels of its own.
    "longcat-flash": FeedForwardDimensions(
        28, 28, 12288, None, _HUGGING_FACE("meituan-longcat/LongCat-Flash-Chat"), _ORDER_OF_ITS_OWN
    ),
    "longcat-flash-lite": FeedForwardDimensions(
        14, 14, 6144, None, _HUGGING_FACE("meituan-longcat/LongCat-Flash-Lite"), _ORDER_OF_ITS_OWN
    ),
    "glm-4-moe-lite": FeedForwardDimensions(
        47,
        1,
        10240,
        ExpertDimensions(count=64, top_k=4, intermediate_size=1536, shared=1),
        _HUGGING_FACE("zai-org/GLM-4.7-Flash"),
    ),
    "deepseek-v2": FeedForwardDimensions(
        60,
        1,
        12288,
        ExpertDimensions(count=160, top_k=6, intermediate_size=1536, shared=2),
        _HUGGING_FACE("deepseek-ai/DeepSeek-V2"),
    ),
    "deepseek-v2-lite": FeedForwardDimensions(
        27,
        1,
        10944,
        ExpertDimensions(count=64, top_k=6, intermediate_size=1408, shared=2),
        _HUGGING_FACE("deepseek-ai/DeepSeek-V2-Lite"),
    ),
}
"""By the names of MODELS."""
