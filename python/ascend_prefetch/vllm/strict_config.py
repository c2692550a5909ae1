"""AscendConfig is not given our key: from 0.27 on it refuses keys that it does not know."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from ascend_prefetch.policy import KEY

from .signatures import MARK


def hide_settings(module: Any) -> None:
    """Written for AscendConfig(**additional_config) of 0.27.1rc1 to 0.30.0rc2. That of releases up
    to 0.26, AscendConfig(vllm_config), looks up what it knows, and is left alone.

    pydantic gives the class another constructor when it completes it, at the first instance or
    later: what is hooked for good is __new__, which comes before the constructor and hooks that.
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
    """The constructor of this class takes our key, and says nothing of it to its own."""
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
    """None where AscendConfig never sees our key; else what was looked for, in one line."""
    config = getattr(module, "AscendConfig", None)
    if config is None:
        return f"looked for {module.__name__}.AscendConfig, found none"
    if hasattr(config.__new__, MARK) or _looks_up(config):
        return None
    return f"looked for a constructor of {module.__name__}.AscendConfig to hook, found none"


def _looks_up(config: Any) -> bool:
    """Whether it takes vLLM's configuration rather than every key of additional_config."""
    return list(inspect.signature(config.__init__).parameters) == ["self", "vllm_config"]
