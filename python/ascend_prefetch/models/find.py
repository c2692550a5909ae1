"""A model by its name: a preset, another name of one, or the model's own files."""

from __future__ import annotations

import os
from pathlib import Path

from ascend_prefetch.shown import shown

from .dimensions import ModelDimensions
from .feed_forward import FEED_FORWARDS, ExpertDimensions, FeedForwardDimensions
from .presets import ALIASES, MODELS


def model_name(text: str) -> str:
    """The name of a preset, or the path of a config.json or of the directory that holds one.

    Other names of a preset (ALIASES) are taken in any case and with the owner before them, as on
    huggingface.co: R1, DeepSeek-V3.1, moonshotai/Kimi-K2.6. What is both a path and such a name
    with an owner is the path.

    Raises:
        ValueError: it is none of these.
    """
    if text in MODELS:
        return text
    is_path = bool(text) and os.path.lexists(text)
    owner, _, name = text.rpartition("/")
    if "/" in owner or (owner and is_path):
        name = ""
    preset = ALIASES.get(name.lower())
    if preset is not None:
        return preset
    if is_path:
        return text
    raise ValueError(
        f"model: expected a config.json, a directory that has one, or one of {', '.join(MODELS)} "
        f"or their releases (R1, Kimi-K2.6, ...), got {shown(text)}"
    )


def get_model(name: str) -> ModelDimensions:
    """The attention dimensions of a model.

    Args:
        name: as for model_name.

    Raises:
        FileNotFoundError: a directory has no config.json.
        ValueError: there is no such model, or its configuration is refused: see
            ModelDimensions.from_hf_config.
    """
    found = model_name(name)
    return MODELS[found] if found in MODELS else ModelDimensions.from_hf_config(Path(found))


def get_feed_forward(name: str) -> FeedForwardDimensions:
    """The feed-forward dimensions of a model.

    Args:
        name: as for model_name.

    Raises:
        FileNotFoundError: a directory has no config.json.
        ValueError: there is no such model, or a key of its configuration is out of range.
    """
    found = model_name(name)
    if found in FEED_FORWARDS:
        return FEED_FORWARDS[found]
    return FeedForwardDimensions.from_hf_config(Path(found))


def get_experts(name: str) -> ExpertDimensions:
    """The experts of a model's MoE layers.

    Args:
        name: as for model_name.

    Raises:
        FileNotFoundError: a directory has no config.json.
        ValueError: there is no such model, or its MoE layers are not modelled.
    """
    feed_forward = get_feed_forward(name)
    if feed_forward.experts is None:
        raise ValueError(f"kind: expected dense for {name}, {feed_forward.no_experts}, got moe")
    return feed_forward.experts
