"""Hugging Face configurations: the file, and the language model in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ascend_prefetch.files import read_json

# The model type of a language model that does not say its own (transformers 5.24,
# models/kimi_k25/configuration_kimi_k25.py).
_NESTED_TYPES = {"kimi_k25": "deepseek_v3"}


def language_model(
    config: str | os.PathLike[str] | Mapping[str, Any],
) -> tuple[Mapping[str, Any], str]:
    """The configuration of the language model, and its name in errors.

    Args:
        config: path of a config.json or of the directory that holds it, or its content. Of a
            configuration with a text_config that is taken.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a JSON object.
    """
    if isinstance(config, Mapping):
        source = "configuration"
    else:
        path = Path(config)
        if path.is_dir():
            path = path / "config.json"
            if not os.path.lexists(path):
                raise FileNotFoundError(f"{path.parent}: expected a config.json in it, found none")
        config, source = read_object(path), str(path)
    nested = config.get("text_config")
    # Only a multi-modal configuration has one; the sizes beside it are those of no attention.
    if not isinstance(nested, Mapping) or "kv_lora_rank" in config:
        return config, source
    outer = config.get("model_type")
    if nested.get("model_type") is None and isinstance(outer, str) and outer in _NESTED_TYPES:
        nested = {**nested, "model_type": _NESTED_TYPES[outer]}
    return nested, f"{source}: text_config"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
