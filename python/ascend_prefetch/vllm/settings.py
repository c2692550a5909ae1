"""Where the settings come from, and how they travel: vLLM's additional_config.

vLLM hands its configuration, additional_config included, to every process, and hashes it. So the
settings stay in it, settings from the environment are added to it, and they are hidden only from
the constructor that refuses unknown keys (see strict_config). An error in the settings is logged in
one line, and the server starts without this package.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ascend_prefetch.files import parse_json
from ascend_prefetch.policy import KEY, PrefetchConfig
from ascend_prefetch.shown import shown

from . import fallback
from .fallback import logger
from .strict_config import hides_settings

VARIABLE = "ASCEND_PREFETCH_SETTINGS"
"""Environment variable that holds the settings as JSON; the key in additional_config wins."""

OFF = {"enabled": False}

# How alike a key is that differs by a typo: one letter of fourteen too many, missing or another.
_ALIKE = 0.9


def from_environment() -> dict[str, Any] | None:
    """The settings in the environment, unchecked; None if there are none.

    Raises:
        ValueError: the variable is not a JSON object, or has a duplicate name.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    found = parse_json(os.fsencode(text), VARIABLE)
    if not isinstance(found, dict):
        raise ValueError(f"{VARIABLE}: expected a JSON object, got {shown(found)}")
    return found


def settle(vllm_config: Any) -> None:
    """Adds settings from the environment to a configuration and removes invalid ones.

    It runs before vLLM completes the configuration.

    Args:
        vllm_config: vLLM's VllmConfig; its additional_config is replaced, never changed in place.
    """
    additional = vllm_config.additional_config
    given = {} if additional is None else additional
    if not isinstance(given, Mapping):
        if os.environ.get(VARIABLE):
            fallback.stay_off(f"{VARIABLE}: additional_config is not a dict but a {type(given)}")
        return
    misspelt = [name for name in given if name != KEY and _means_ours(name)]
    if misspelt:
        names = ", ".join(shown(name) for name in misspelt)
        fallback.stay_off(f"additional_config: unknown key {names}, expected '{KEY}'")
        # vLLM Ascend of 0.27 and later does not start with a key that it does not know.
        kept = {name: value for name, value in given.items() if name not in misspelt}
        vllm_config.additional_config = {**kept, KEY: OFF}
    elif KEY not in given:
        _add_environment(vllm_config, given)
    else:
        try:
            settings = PrefetchConfig.from_additional_config(given)
        except ValueError as error:
            fallback.stay_off(str(error))
            vllm_config.additional_config = {**given, KEY: OFF}
        else:
            _name_conflict(settings, given)
    _keep_from_validation(vllm_config)


def current() -> PrefetchConfig | None:
    """The settings of the configuration that layers are being built for.

    None if the package is off, if its settings are wrong, or if no layers are being built: vLLM
    Ascend also asks for its attention classes whenever it replays a full graph.
    """
    from vllm.config import get_current_vllm_config_or_none

    config = get_current_vllm_config_or_none()
    if config is None:
        return None
    additional = fallback.attribute(config, "additional_config") or {}
    try:
        if not isinstance(additional, Mapping) or KEY not in additional:
            # The configuration was made before this plugin hooked its class, or by a vLLM whose
            # class it does not know.
            found = from_environment()
            if found is None:
                return None
            additional = {KEY: found}
        settings = PrefetchConfig.from_additional_config(additional)
    except ValueError as error:
        fallback.stay_off(str(error))
        return None
    return settings if settings.enabled else None


def _add_environment(vllm_config: Any, given: Mapping[str, Any]) -> None:
    try:
        found = from_environment()
        if found is None:
            return
        PrefetchConfig.from_additional_config({**given, KEY: found})
    except ValueError as error:
        fallback.stay_off(_of_environment(error))
        found = OFF
    vllm_config.additional_config = {**given, KEY: found}


def _means_ours(name: object) -> bool:
    """Whether a key is likely to be meant as ours: "ascend-prefetch", "AscendPrefetch", a typo."""
    if not isinstance(name, str):
        return False
    letters = "".join(filter(str.isalpha, name.lower()))
    ours = KEY.replace("_", "")
    return difflib.SequenceMatcher(None, letters, ours).ratio() >= _ALIKE


def _of_environment(error: Exception) -> str:
    text = str(error)
    return text if VARIABLE in text else f"{VARIABLE}: {text}"


def _name_conflict(settings: PrefetchConfig, given: Mapping[str, Any]) -> None:
    """Logs one line where the environment and the key differ."""
    try:
        found = from_environment()
        if found is None:
            return
        other = PrefetchConfig.from_additional_config({KEY: found})
    except ValueError as error:
        differences = _of_environment(error)
    else:
        names = [field.name for field in fields(PrefetchConfig)]
        pairs = [(name, getattr(settings, name), getattr(other, name)) for name in names]
        differences = ", ".join(f"{n} is {a} and {b}" for n, a, b in pairs if a != b)
    if differences and differences not in fallback.reasons():
        fallback.remember(differences)
        logger.warning(
            "ascend_prefetch: additional_config and %s contradict each other, the former counts: "
            "%s",
            VARIABLE,
            differences,
        )


def _keep_from_validation(vllm_config: Any) -> None:
    """Removes the key where the constructor that may refuse it could not be hooked."""
    additional = vllm_config.additional_config
    if not additional or KEY not in additional:
        return
    try:
        broken = hides_settings(importlib.import_module("vllm_ascend.ascend_config"))
    except Exception as error:  # importing a module of another release may raise anything
        broken = f"looked for vllm_ascend.ascend_config, found {type(error).__name__}: {error}"
    if broken is not None:
        fallback.stay_off(broken)
        vllm_config.additional_config = {k: v for k, v in additional.items() if k != KEY}
