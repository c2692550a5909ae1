"""Where the settings come from, and how they travel: vLLM's additional_config.

vLLM hands its configuration to every process, with additional_config in it, and hashes it. So the
settings stay there, those of the environment are put there, and only the constructor that refuses
unknown keys is not shown them (see strict_config). Whatever is wrong with them is one line, and the
server starts without this package.
"""

from __future__ import annotations

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
"""Of the environment: what the key would have, as JSON. The key wins."""

OFF = {"enabled": False}


def from_environment() -> dict[str, Any] | None:
    """The settings in the environment, unchecked; None without any.

    Raises:
        ValueError: not a JSON object, or one with a name twice.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    found = parse_json(os.fsencode(text), VARIABLE)
    if not isinstance(found, dict):
        raise ValueError(f"{VARIABLE}: expected a JSON object, got {shown(found)}")
    return found


def settle(vllm_config: Any) -> None:
    """Before vLLM completes a configuration: settings of the environment join it, wrong ones go.

    Args:
        vllm_config: its VllmConfig, whose additional_config is replaced, never changed.
    """
    additional = vllm_config.additional_config
    given = {} if additional is None else additional
    if not isinstance(given, Mapping):
        if os.environ.get(VARIABLE):
            fallback.stay_off(f"{VARIABLE}: additional_config is not a dict but a {type(given)}")
        return
    if KEY not in given:
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

    None where it is off, where its settings are wrong, and where no layers are being built: vLLM
    Ascend asks for its classes with every full graph that it replays as well.
    """
    from vllm.config import get_current_vllm_config_or_none

    config = get_current_vllm_config_or_none()
    if config is None:
        return None
    additional = fallback.attribute(config, "additional_config") or {}
    try:
        if not isinstance(additional, Mapping) or KEY not in additional:
            # Made before this plugin was loaded, or by a vLLM that has no such configuration.
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


def _of_environment(error: Exception) -> str:
    text = str(error)
    return text if VARIABLE in text else f"{VARIABLE}: {text}"


def _name_conflict(settings: PrefetchConfig, given: Mapping[str, Any]) -> None:
    """One line where the environment says something else than the key."""
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
    """Takes the key out for good where the constructor that may refuse it could not be hooked."""
    additional = vllm_config.additional_config
    if not additional or KEY not in additional:
        return
    try:
        broken = hides_settings(importlib.import_module("vllm_ascend.ascend_config"))
    except Exception as error:  # whatever a module of another release does when it is imported
        broken = f"looked for vllm_ascend.ascend_config, found {type(error).__name__}: {error}"
    if broken is not None:
        fallback.stay_off(broken)
        vllm_config.additional_config = {k: v for k, v in additional.items() if k != KEY}
