"""Which attention layer follows which, and what passes through L2 in between."""

from __future__ import annotations

import re
import weakref
from typing import Any, NamedTuple

from .fallback import UpstreamChanged, attribute

_LAYER = re.compile(r"^(.*?)\.?\blayers\.(\d+)\.(.*)$")
_layers: weakref.WeakValueDictionary[Place, Any] = weakref.WeakValueDictionary()


class Place(NamedTuple):
    """The place of an attention layer: "model.layers.3.self_attn.attn" is ("model", 3, ...).

    Attributes:
        model: the part of the name before "layers".
        number: number of the decoder layer.
        inside: the rest of the name, which tells a model's layers from those of its draft model.
    """

    model: str
    number: int
    inside: str


def place_of(layer_name: str | None) -> Place | None:
    """The place that a name gives; None without a number, or where a layer has two attentions."""
    found = _LAYER.match(layer_name or "")
    if found is None or re.search(r"\d", found[3]):
        return None
    return Place(found[1], int(found[2]), found[3])


def register(layer_name: str | None, impl: object) -> Place | None:
    """Remembers a layer by its name, weakly, and returns its place."""
    place = place_of(layer_name)
    if place is not None:
        _layers[place] = impl
    return place


def next_layer(place: Place | None) -> Any | None:
    """The next decoder layer's attention; None after the last layer."""
    return None if place is None else _layers.get(place._replace(number=place.number + 1))


def all_layers() -> list[Any]:
    """All layers of this process that register() was told of and that are still alive."""
    return list(_layers.values())


class FeedForward:
    """The bytes of weights that are read between a layer's o_proj and the next fused_qkv_a.

    They are computed from the model's configuration and, for experts, from the loaded layer.

    Attributes:
        dense: bytes that every step reads.
        expert: bytes of one local expert; 0 in a dense layer.
        experts: number of experts on this rank.
        chosen: maximum number of experts that are chosen per token of this rank.
    """

    def __init__(self, vllm_config: Any, place: Place, itemsize: int) -> None:
        """
        Raises:
            UpstreamChanged: a value cannot be read. With a guess the planner might prefetch bytes
                that other reads evict from L2 before their use.
        """
        self.dense = self.expert = self.experts = self.chosen = 0
        text = vllm_config.model_config.hf_config
        text = getattr(text, "text_config", None) or text
        hidden = _number(text, "hidden_size")
        moe = _experts_of(vllm_config, place)
        if moe is None:
            width = _number(text, "intermediate_size")
        else:
            # In models without shared experts it is None or 0.
            shared = attribute(text, "n_shared_experts", "the model's configuration") or 0
            width = _number(text, "moe_intermediate_size") * int(shared)  # type: ignore[call-overload]
            weights: list[Any] = [getattr(moe, name, None) for name in ("w13_weight", "w2_weight")]
            if any(w is None or w.dim() == 0 or not w.shape[0] for w in weights):
                raise UpstreamChanged(f"{type(moe).__name__} has no w13_weight and w2_weight")
            self.experts = weights[0].shape[0]
            self.expert = sum(w.nbytes // w.shape[0] for w in weights)
            self.chosen = _number(text, "num_experts_per_tok")
        parallel = vllm_config.parallel_config
        ranks = _number(parallel, "tensor_parallel_size")
        self.dense = 3 * hidden * width * itemsize // max(1, ranks)
        # Experts serve the tokens of all data-parallel ranks.
        self.chosen *= _number(parallel, "data_parallel_size")

    def bytes(self, tokens: int) -> int:
        """The maximum number of bytes that a step of `tokens` tokens reads."""
        return self.dense + self.expert * min(self.experts, tokens * self.chosen)


def _experts_of(vllm_config: Any, place: Place) -> Any | None:
    """The layer's routed experts, which vLLM keeps by name in its static forward context.

    From vLLM 0.26 on the context holds a runner, whose routed_experts has the weights.
    """
    prefix = ".".join(part for part in (place.model, "layers", str(place.number)) if part) + "."
    for name, layer in vllm_config.compilation_config.static_forward_context.items():
        if not name.startswith(prefix):
            continue
        if "experts" in name.removeprefix(prefix).split(".") or hasattr(layer, "w13_weight"):
            return getattr(layer, "routed_experts", layer)
    return None


def _number(owner: Any, name: str) -> int:
    """A configuration value that must be an integer."""
    value = attribute(owner, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UpstreamChanged(f"{type(owner).__name__}.{name} is {value!r}")
    return value
