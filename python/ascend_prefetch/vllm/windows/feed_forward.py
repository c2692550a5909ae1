"""The weights that are read behind the all-reduce that follows o_proj."""

from __future__ import annotations

from typing import Any

import torch

from .. import neighbours
from ..fallback import say_once
from ..watch import Watch


def first_weights(
    model: Any, place: neighbours.Place, watch: Watch
) -> list[tuple[str, torch.Tensor]]:
    """The gate and the shared experts' gate_up of a layer, or a dense layer's gate_up, by name.

    Args:
        model: the model that runs, whose modules have the weights; None for none.
        place: of the layer.
        watch: where the weights are added.

    Returns:
        The weights that there are; none where the modules have other names.
    """
    path = ".".join(part for part in (place.model, "layers", str(place.number), "mlp") if part)
    try:
        mlp = model.get_submodule(path)
    except AttributeError:  # of None too
        say_once(f"{type(model).__name__} has no {path}", so="nothing is prefetched behind o_proj")
        return []
    shared = getattr(mlp, "shared_experts", None)
    named = (
        ("gate", getattr(mlp, "gate", None)),
        ("shared_gate_up", getattr(shared, "gate_up_proj", None)),
        ("gate_up", getattr(mlp, "gate_up_proj", None)),
    )
    weights = [
        (name, watch.tensor(linear, "weight")) for name, linear in named if linear is not None
    ]
    return [(name, weight) for name, weight in weights if weight is not None]
