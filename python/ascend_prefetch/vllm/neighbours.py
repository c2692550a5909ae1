"""Which attention layer follows which, and what passes through L2 in between."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

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

    They are those of the loaded experts, and of a dense layer's MLP by the model's configuration.

    Attributes:
        dense: bytes that every step reads.
        expert: bytes of one local expert; 0 in a dense layer.
        experts: number of experts on this rank.
        chosen: maximum number of experts that are chosen per token of this rank.
    """

    def __init__(self, vllm_config: Any, place: Place) -> None:
        """
        Raises:
            UpstreamChanged: a value cannot be read. With a guess the planner might prefetch bytes
                that other reads evict from L2 before their use.
        """
        self.expert = self.experts = self.chosen = 0
        text = vllm_config.model_config.hf_config
        text = getattr(text, "text_config", None) or text
        parallel = vllm_config.parallel_config
        moe = _experts_of(vllm_config, place)
        if moe is None:
            if _has_experts(text, place.number):
                raise UpstreamChanged(f"layer {place.number} of {place.model} has no experts")
            size = 3 * _number(text, "hidden_size") * _number(text, "intermediate_size")
            ranks = max(1, _number(parallel, "tensor_parallel_size"))
            self.dense = size * _itemsize(vllm_config, place) // ranks
            return
        self.dense = _gate_bytes(moe, text) + _shared_bytes(moe, text)
        self.experts, self.expert = _routed(getattr(moe, "routed_experts", moe))
        # Experts serve the tokens of all data-parallel ranks.
        ranks = _number(parallel, "data_parallel_size")
        self.chosen = _number(text, "num_experts_per_tok") * ranks

    def bytes(self, tokens: int) -> int:
        """The maximum number of bytes that a step of `tokens` tokens reads."""
        return self.dense + self.expert * min(self.experts, tokens * self.chosen)


def _experts_of(vllm_config: Any, place: Place) -> Any | None:
    """What vLLM keeps of a layer's experts by name in its static forward context; None if dense.

    It is the layer of experts; from vLLM 0.26 on it is their runner, whose routed_experts has the
    weights.
    """
    prefix = _name(place) + "."
    for name, layer in vllm_config.compilation_config.static_forward_context.items():
        if not name.startswith(prefix):
            continue
        if "experts" in name.removeprefix(prefix).split(".") or hasattr(layer, "w13_weight"):
            return layer
    return None


def _name(place: Place) -> str:
    return ".".join(part for part in (place.model, "layers", str(place.number)) if part)


def _has_experts(text: Any, number: int) -> bool:
    """Whether the model's configuration gives this decoder layer experts."""
    first = getattr(text, "first_k_dense_replace", 0) or 0
    every = getattr(text, "moe_layer_freq", 1) or 1
    return bool(getattr(text, "n_routed_experts", 0)) and number >= first and number % every == 0


# Each expert's weights where upstream has made lists of them: load balancing exchanges single
# experts, and two of its fused ops want lists.
_LISTS = ("{}_weight_list", "cann_mega_moe_{}_weight_list")


def _routed(experts: Any) -> tuple[int, int]:
    """Number of local experts, and bytes of one."""
    counts, size = set(), 0
    for stem in ("w13", "w2"):
        found = [getattr(experts, name.format(stem), None) for name in _LISTS]
        sizes = [_of_one(weights) for weights in (*found, getattr(experts, f"{stem}_weight", None))]
        known = [one for one in sizes if one is not None]
        if not known:
            raise UpstreamChanged(f"{type(experts).__name__} has no {stem}_weight")
        counts |= {count for count, _ in known}
        size += max(of_one for _, of_one in known)  # a step reads one of them
    if len(counts) != 1:
        raise UpstreamChanged(f"{type(experts).__name__} has {sorted(counts)} experts")
    return counts.pop(), size


def _of_one(weights: Any) -> tuple[int, int] | None:
    """Number of experts and bytes of one; weights are a list by expert or [experts, ...]."""
    if isinstance(weights, (list, tuple)) and weights:
        if len(weights) > 1 or weights[0].dim() < 3:
            return len(weights), max(one.nbytes for one in weights)
        weights = weights[0]
    if not isinstance(weights, torch.Tensor) or weights.dim() == 0 or not weights.shape[0]:
        return None
    return weights.shape[0], weights.nbytes // weights.shape[0]


def _gate_bytes(moe: Any, text: Any) -> int:
    """Bytes of the gate, in the precision in which it is read."""
    gate = getattr(moe, "_gate", None)
    weight = getattr(gate, "weight_fp32", getattr(gate, "weight", None))
    if isinstance(weight, torch.Tensor):
        return weight.nbytes
    # The model runs it; upstream computes it in float32.
    return _number(text, "n_routed_experts") * _number(text, "hidden_size") * 4


def _shared_bytes(moe: Any, text: Any) -> int:
    """Bytes of the shared experts; 0 where there are none or they are among the routed ones."""
    if not attribute(text, "n_shared_experts", "the model's configuration"):
        return 0
    shared: Any = attribute(moe, "_shared_experts")
    shared = getattr(shared, "_layer", shared)  # from vLLM 0.23 on in a wrapper
    return 0 if shared is None else sum(weight.nbytes for weight in shared.parameters())


def _itemsize(vllm_config: Any, place: Place) -> int:
    """Bytes of an element of a dense layer's MLP; where it is not known, of unquantised ones."""
    dtype = getattr(vllm_config.model_config, "dtype", torch.bfloat16)
    description = getattr(getattr(vllm_config, "quant_config", None), "quant_description", None)
    if isinstance(description, Mapping):
        names = (f"{_name(place)}.mlp.{part}_proj.weight" for part in ("gate", "up", "down"))
        kinds = [description.get(name) for name in names]
        if all(isinstance(kind, str) and kind.startswith(("W8", "W4")) for kind in kinds):
            return 1
    return int(dtype.itemsize)


def _number(owner: Any, name: str) -> int:
    """A configuration value that must be an integer."""
    value = attribute(owner, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UpstreamChanged(f"{type(owner).__name__}.{name} is {value!r}")
    return value
