"""Hides our key from AscendConfig, which from 0.27 on refuses keys that it does not know."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from ascend_prefetch.policy import KEY

from .signatures import MARK


def hide_settings(module: Any) -> None:
    """Hooks AscendConfig so that its constructor never sees our key.

    Written for AscendConfig(**additional_config) of 0.27.1rc1 to 0.30.0rc2.
    AscendConfig(vllm_config) of releases up to 0.26 only looks up the keys that it knows, and is
    left alone.

    pydantic replaces the constructor when it completes the class, at the first instance or later.
    Therefore __new__, which runs before the constructor, is hooked, and it hooks the constructor.
    """
    config = module.AscendConfig
    if hasattr(config.__new__, MARK) or _looks_up(config):
        return
    new = config.__new__

    def __new__(cls: Any, /, *args: Any, **kwargs: Any) -> Any:
        _drop_key(cls)
        return new(cls) if new is object.__new__ else new(cls, *args, **kwargs)

    setattr(__new__, MARK, True)
    config.__new__ = __new__


def _drop_key(config: Any) -> None:
    """Wraps the constructor of this class so that it drops our key before the original runs."""
    original = config.__init__
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        kwargs.pop(KEY, None)
        original(self, *args, **kwargs)

    setattr(__init__, MARK, True)
    config.__init__ = __init__


def hides_settings(module: Any) -> str | None:
    """None where AscendConfig never sees our key; else one line with what was not as expected."""
    config = getattr(module, "AscendConfig", None)
    if config is None:
        return f"looked for {module.__name__}.AscendConfig, found none"
    if hasattr(config.__new__, MARK) or _looks_up(config):
        return None
    return f"looked for a constructor of {module.__name__}.AscendConfig to hook, found none"


def _looks_up(config: Any) -> bool:
    """Whether the constructor takes vllm_config rather than the keys of additional_config."""
    return list(inspect.signature(config.__init__).parameters) == ["self", "vllm_config"]
