"""Why a call or a layer goes the way of upstream, said once per reason."""

from __future__ import annotations

import logging

# Below vLLM's own logger, whose handlers and level it shares.
logger = logging.getLogger("vllm.ascend_prefetch")

_said: set[str] = set()


class Unsupported(Exception):
    """What the fused ops do not do, or not here; its text is the reason that is logged."""


def say_once(reason: str, so: str = "vLLM Ascend's own path is taken") -> None:
    """Logs a reason, the first time it is one, and what is done because of it."""
    if reason not in _said:
        _said.add(reason)
        logger.info("ascend_prefetch: %s: %s", so, reason)


def no_prefetch(error: Exception) -> None:
    """Logs what stands against a prefetch: ops run without it."""
    say_once(f"{type(error).__name__}: {error}", so="nothing is prefetched")


def reasons() -> tuple[str, ...]:
    """The reasons that have been said in this process, sorted."""
    return tuple(sorted(_said))


def forget() -> None:
    """Lets every reason be said again."""
    _said.clear()
