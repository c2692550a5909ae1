"""The user's settings of prefetching: one namespaced dict in vLLM's --additional-config."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ascend_prefetch.shown import shown

KEY = "ascend_prefetch"
"""The key of the settings in additional_config."""

OLD_KEY = "weight_prefetch_config"
"""The key of vLLM Ascend's own settings up to 0.23; read with a DeprecationWarning."""

DEFAULT_RATIOS: Mapping[str, Mapping[str, float]] = {
    "attn": {"qkv": 1.0, "o": 1.0},
    "moe": {"gate_up": 0.8},
    "mlp": {"gate_up": 1.0, "down": 1.0},
}
"""The maximum share of a weight's bytes that is prefetched, by module and weight.

The values are those of vLLM Ascend.
"""

MAX_KV_LEN = 1 << 30
"""Maximum of captured_kv_len: a thousand times what models are made for, and fits 32 bits."""

_OLD_SETTINGS = ("enabled", "prefetch_ratio")


def _default_ratios() -> dict[str, dict[str, float]]:
    return {module: dict(ratios) for module, ratios in DEFAULT_RATIOS.items()}


@dataclass(frozen=True)
class PrefetchConfig:
    """The settings.

    Attributes:
        enabled: whether the package does anything at all.
        prefetch_ratio: the maximum share of a weight's bytes that is prefetched, from 0 to 1, by
            module and weight; the planner may decide on less. A module that is left out or empty,
            and a weight that is left out, has its default: see DEFAULT_RATIOS.
        prolog: whether mla_prolog and sfa_prolog replace the projections before attention.
        o_proj: whether o_proj replaces the projections after attention.
        next_layer: whether the next layer's fused_qkv_a is prefetched.
        windows: whether weights are prefetched in the windows between kernels: collectives, the
            combine of experts, sparse attention.
        window_lengths: a file that `python -m ascend_prefetch windows` made of a profile, with the
            lengths of the windows; None for published lengths.
        ab: whether graphs are captured twice, with the fused ops and without, so that the switch
            chooses between them on a live server.
        captured_kv_len: cached tokens per request that are assumed under graph capture to decide
            what stays in L2, as the lengths of the requests are dummies then. From 1 to
            MAX_KV_LEN.
        release: release of vLLM Ascend as major and minor, such as "0.23", for a build from source,
            whose version does not tell; None to find it out.

    Raises:
        ValueError: an unknown key or a value out of range.
    """

    enabled: bool = False
    prefetch_ratio: Mapping[str, Mapping[str, float]] = field(default_factory=_default_ratios)
    prolog: bool = True
    o_proj: bool = True
    next_layer: bool = True
    windows: bool = True
    window_lengths: str | None = None
    ab: bool = False
    captured_kv_len: int = 4096
    release: str | None = None

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(f"{KEY}.{name}: expected true or false, got {shown(value)}")
        _check_length(f"{KEY}.captured_kv_len", self.captured_kv_len)
        _check_release(f"{KEY}.release", self.release)
        _check_path(f"{KEY}.window_lengths", self.window_lengths)
        ratios = _checked_ratios(f"{KEY}.prefetch_ratio", self.prefetch_ratio)
        object.__setattr__(self, "prefetch_ratio", ratios)

    @classmethod
    def from_additional_config(cls, additional_config: Mapping[str, Any] | None) -> PrefetchConfig:
        """The settings in vLLM's additional_config; all defaults where it has none.

        The old key `weight_prefetch_config` {enabled, prefetch_ratio} is read as well, with a
        DeprecationWarning.

        Raises:
            ValueError: a key is unknown, a value is out of range, or both keys are given and
                differ. The message is one line with the key, what is allowed and what was given.
        """
        if additional_config is None:
            return cls()
        _check_mapping("additional_config", additional_config)
        if OLD_KEY not in additional_config:
            return cls._parsed(KEY, additional_config.get(KEY, {}), _SETTINGS)
        warnings.warn(
            f"additional_config: '{OLD_KEY}' is deprecated, use '{KEY}' with the same content",
            DeprecationWarning,
            stacklevel=2,
        )
        old = cls._parsed(OLD_KEY, additional_config[OLD_KEY], _OLD_SETTINGS)
        if KEY not in additional_config:
            return old
        new = cls._parsed(KEY, additional_config[KEY], _SETTINGS)
        for name, value in new._old_settings().items():
            other = old._old_settings()[name]
            if value != other:
                raise ValueError(
                    f"additional_config: '{KEY}' and '{OLD_KEY}' contradict each other: {name} is "
                    f"{value} and {other}; keep '{KEY}' only"
                )
        return new

    def _old_settings(self) -> dict[str, float]:
        """The settings that the old key can hold, by name."""
        settings: dict[str, float] = {"enabled": self.enabled}
        for module, ratios in self.prefetch_ratio.items():
            settings |= {f"prefetch_ratio.{module}.{name}": ratios[name] for name in ratios}
        return settings

    @classmethod
    def _parsed(cls, key: str, settings: Any, allowed: tuple[str, ...]) -> PrefetchConfig:
        _check_mapping(key, settings)
        _check_keys(key, settings, allowed)
        checked = dict(settings)
        for name in _SWITCHES:
            if name in checked and not isinstance(checked[name], bool):
                raise ValueError(
                    f"{key}.{name}: expected true or false, got {shown(checked[name])}"
                )
        if "prefetch_ratio" in checked:
            name = f"{key}.prefetch_ratio"
            checked["prefetch_ratio"] = _checked_ratios(name, checked["prefetch_ratio"])
        return cls(**checked)


_SWITCHES = ("enabled", "prolog", "o_proj", "next_layer", "windows", "ab")
_SETTINGS = (*_SWITCHES, "prefetch_ratio", "captured_kv_len", "release", "window_lengths")


def _checked_ratios(key: str, ratios: Any) -> dict[str, dict[str, float]]:
    """All ratios: the given ones, and the defaults of the others."""
    _check_mapping(key, ratios)
    _check_keys(key, ratios, tuple(DEFAULT_RATIOS))
    checked = _default_ratios()
    for module, given in ratios.items():
        _check_mapping(f"{key}.{module}", given)
        _check_keys(f"{key}.{module}", given, tuple(DEFAULT_RATIOS[module]))
        for weight, ratio in given.items():
            number = isinstance(ratio, (int, float)) and not isinstance(ratio, bool)
            if not number or not 0 <= ratio <= 1:  # NaN fails this comparison too
                raise ValueError(
                    f"{key}.{module}.{weight}: expected a number from 0 to 1, got {shown(ratio)}"
                )
            checked[module][weight] = float(ratio)
    return checked


def _check_length(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_KV_LEN:
        raise ValueError(
            f"{key}: expected a whole number from 1 to {MAX_KV_LEN}, got {shown(value)}"
        )


def _check_release(key: str, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"\d+\.\d+", value)):
        raise ValueError(f'{key}: expected major and minor such as "0.23", got {shown(value)}')


def _check_path(key: str, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise ValueError(f"{key}: expected the path of a file, got {shown(value)}")


def _check_mapping(key: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}: expected a dict, got {type(value).__name__} {shown(value)}")


def _check_keys(key: str, settings: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in settings:
        if name not in allowed:
            raise ValueError(
                f"{key}: unknown key {shown(name)}, expected one of {', '.join(allowed)}"
            )
