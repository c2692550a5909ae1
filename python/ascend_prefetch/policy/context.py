"""The running forward pass as the policy sees it; the framework's plugin supplies it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)(?:\.|$)")


class StepContext(NamedTuple):
    """One forward pass.

    Attributes:
        step: an object that lives as long as the pass and belongs to it alone.
        num_tokens: number of rows of the pass; None if unknown.
        layers: the decoder layers of the model, by number; None where there are none.
        layer: number of the running layer, if the framework tells it; None to use the names that
            the call sites give.
        first_layer: number of the first layer that runs on this rank.
    """

    step: object
    num_tokens: int | None = None
    layers: Sequence[torch.nn.Module] | None = None
    layer: int | None = None
    first_layer: int = 0


def layer_of(prefix: object) -> int | None:
    """The layer in a name such as "model.layers.3.self_attn.o_proj"; None without one."""
    found = _LAYER.search(prefix) if isinstance(prefix, str) else None
    return int(found[1]) if found else None


def layer_at(context: StepContext | None, number: int | None) -> object | None:
    """A decoder layer; None where there is no such layer."""
    if context is None or context.layers is None or number is None or number < 0:
        return None
    try:
        return context.layers[number]
    except (IndexError, KeyError, TypeError):
        return None


def find(owner: Any, *paths: str) -> Any:
    """The first of several dotted attributes that exists and is not None; else None."""
    for path in paths:
        found = owner
        for name in path.split("."):
            found = getattr(found, name, None)
            if found is None:
                break
        if found is not None:
            return found
    return None


def experts_weight(layer: object) -> torch.Tensor | None:
    """gate_up of all experts of a decoder layer; None without experts."""
    return find(
        layer, *(f"{name}.experts.w13_weight" for name in ("mlp", "moe", "block_sparse_moe"))
    )


def output_weights(layer: object) -> Iterator[object]:
    """The weights of the output projections of a decoder layer's attention."""
    for attention in ("self_attn", "attention", "attn"):
        for projection in ("o_proj", "out_proj", "dense"):
            weight = find(layer, f"{attention}.{projection}.weight")
            if weight is not None:
                yield weight
